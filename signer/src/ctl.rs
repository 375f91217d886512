//! `signer ctl`: asks a running signer for something, and prints the answer.

mod arguments;
mod show;

use std::fs::OpenOptions;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cli::{Exit, Failure};
use control_protocol::protocol as proto;
use control_protocol::protocol::swap_module_request::To;
use control_protocol::{Call, Client, Reply};
use extension_engine::Limits;
use rustix::fs::OFlags;
use serde::Serialize;

pub(crate) use arguments::CtlArguments;
pub use arguments::CtlOptions;
use arguments::{NewModule, Task};

use crate::control::socket_path;

/// Where the output goes; `Break` when nobody reads it any more.
type Sink<'a> = dyn FnMut(&str) -> Result<ControlFlow<()>, Failure> + 'a;

/// Asks, and prints.
///
/// # Errors
/// Exit code 1: the signer refused or failed, in its own words. 2: a bad argument or file. 3: no signer is there.
pub(crate) fn run(options: &CtlOptions) -> Result<Exit, Failure> {
    run_with(options, &mut cli::print_more)
}

/// As [`run`], with the output to `print`.
pub(crate) fn run_with(options: &CtlOptions, print: &mut Sink<'_>) -> Result<Exit, Failure> {
    let CtlOptions { directory, json, task, .. } = options;
    let socket = socket_path(directory)?;
    let mut client = Client::connect(&socket, &directory.display().to_string(), options.patience())?;
    let call = match task {
        Task::Watch => return watch(client, *json, print).map(|()| Exit::Done),
        Task::Status => Call::Status,
        Task::Modules => Call::ListModules,
        Task::Swap { method, to, runtime } => {
            let to = match to {
                Some(NewModule::File(path)) => Some(To::Module(read(path, &mut client)?)),
                Some(NewModule::BuiltIn) => Some(To::BuiltIn(proto::BuiltIn {})),
                Some(NewModule::Previous) => Some(To::Previous(proto::Previous {})),
                None => None,
            };
            let runtime = runtime.map(|runtime| runtime.to_string());
            Call::SwapModule(proto::SwapModuleRequest { method: method.to_string(), to, runtime })
        }
        Task::Limits(changes) => Call::SetLimits(*changes),
        Task::Rotate { key } => {
            Call::RotateKey(proto::RotateKeyRequest { path: key.as_deref().map(absolute).transpose()? })
        }
        Task::Drain => Call::Drain,
    };
    let text = match client.call(call)? {
        Reply::Status(status) => said(*json, &*status, show::status),
        Reply::Modules(modules) => said(*json, &modules, show::modules),
        Reply::Swapped(swapped) => said(*json, &swapped, show::swapped),
        Reply::KeyRotated(rotated) => said(*json, &rotated, show::rotated),
        Reply::Done => said(*json, &proto::SetLimitsResponse {}, |_| show::done(task)),
    };
    print(&text?).map(|_| Exit::Done)
}

/// Prints events until the signer ends, or nobody reads them.
fn watch(client: Client, json: bool, print: &mut Sink<'_>) -> Result<(), Failure> {
    for event in client.watch()? {
        if print(&said(json, &event?, show::event)?)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// An answer, for people or for machines.
fn said<T: Serialize>(json: bool, answer: &T, show: impl FnOnce(&T) -> String) -> Result<String, Failure> {
    if !json {
        return Ok(show(answer));
    }
    let line = serde_json::to_string(answer);
    line.map(|line| line + "\n").map_err(|error| Failure::environment(format_args!("the answer: {error}")))
}

/// The module at `path`, unless it is longer than the signer takes.
fn read(path: &Path, client: &mut Client) -> Result<proto::NewModule, Failure> {
    let refused = |reason: &dyn std::fmt::Display| {
        Failure::bad_input(format_args!("module {}: {reason}", path.display()))
    };
    let cant_read = |error: std::io::Error| refused(&format_args!("can't read it: {error}"));
    // Without waiting for a FIFO's other end.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cant_read)?;
    if !file.metadata().map_err(cant_read)?.is_file() {
        return Err(refused(&"it is no file"));
    }
    let limits = match client.call(Call::Status)? {
        Reply::Status(status) => status.limits,
        _ => None,
    };
    let len_max = limits.map_or(Limits::MAX.module_len, |limits| limits.module_bytes);
    let mut wasm = Vec::new();
    file.take(len_max.saturating_add(1)).read_to_end(&mut wasm).map_err(cant_read)?;
    if wasm.len() as u64 > len_max {
        return Err(refused(&format_args!(
            "it is longer than the signer's limit of {len_max} bytes; `limits --module-limit KIB` changes that"
        )));
    }
    Ok(proto::NewModule { label: absolute(path)?, wasm })
}

/// `path`, as who runs in another folder has to name it.
fn absolute(path: &Path) -> Result<String, Failure> {
    let refused =
        |reason: &dyn std::fmt::Display| Failure::bad_input(format_args!("{}: {reason}", path.display()));
    let absolute = std::path::absolute(path).map_err(|error| refused(&error))?;
    absolute.into_os_string().into_string().map_err(|_| refused(&"the path is not UTF-8; use one that is"))
}
