//! `signer ctl`: asks a running signer for something, and prints the answer.

mod arguments;
mod client;
mod show;

use std::fs::OpenOptions;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cli::{Exit, Failure};
use extension_engine::Limits;
use rustix::fs::OFlags;
use serde::Serialize;

pub(crate) use arguments::CtlArguments;
pub use arguments::CtlOptions;
use arguments::{Call, NewModule};
use client::Client;
#[cfg(test)]
pub(crate) use client::Connection;

use crate::control::protocol as proto;
use proto::swap_module_request::To;

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::environment(format_args!("can't wait for events: {error}")))?;
    runtime.block_on(ask(options, print))?;
    Ok(Exit::Done)
}

async fn ask(options: &CtlOptions, print: &mut Sink<'_>) -> Result<(), Failure> {
    let mut client = Client::connect(&options.directory, options.patience()).await?;
    let json = options.json;
    let text = match &options.call {
        Call::Status => said(json, &client.call(|c| c.status(proto::StatusRequest {})).await?, show::status),
        Call::Modules => {
            said(json, &client.call(|c| c.list_modules(proto::ListModulesRequest {})).await?, show::modules)
        }
        Call::Swap { method, to, runtime } => {
            let to = match to {
                Some(NewModule::File(path)) => Some(To::Module(read(path, &mut client).await?)),
                Some(NewModule::BuiltIn) => Some(To::BuiltIn(proto::BuiltIn {})),
                Some(NewModule::Previous) => Some(To::Previous(proto::Previous {})),
                None => None,
            };
            let runtime = runtime.map(|runtime| runtime.to_string());
            let request = proto::SwapModuleRequest { method: method.to_string(), to, runtime };
            said(json, &client.call(|c| c.swap_module(request)).await?, show::swapped)
        }
        Call::Limits(changes) => {
            said(json, &client.call(|c| c.set_limits(*changes)).await?, |_| show::done("limits changed"))
        }
        Call::Rotate { key } => {
            let request = proto::RotateKeyRequest { path: key.as_deref().map(absolute).transpose()? };
            said(json, &client.call(|c| c.rotate_key(request)).await?, show::rotated)
        }
        Call::Drain => {
            let words = "draining: what is claimed is finished, then the signer ends";
            said(json, &client.call(|c| c.drain(proto::DrainRequest {})).await?, |_| show::done(words))
        }
        Call::Watch => return watch(&mut client, json, print).await,
    };
    print(&text?).map(drop)
}

/// Prints events until the signer ends, or nobody reads them.
async fn watch(client: &mut Client, json: bool, print: &mut Sink<'_>) -> Result<(), Failure> {
    let mut events = client.watch().await?;
    while let Some(event) = client.next(&mut events).await? {
        if print(&said(json, &event, show::event)?)?.is_break() {
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
async fn read(path: &Path, client: &mut Client) -> Result<proto::NewModule, Failure> {
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
    let limits = client.call(|c| c.status(proto::StatusRequest {})).await?.limits;
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
