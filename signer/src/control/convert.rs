//! What the supervisor's words are in the protocol, and the other way round.

use std::path::PathBuf;
use std::time::Duration;

use control_protocol::protocol as proto;
use control_protocol::protocol::swap_module_request::To;
use control_protocol::{Call, Code, Refusal, Reply};
use extension_engine::{Limits, PAGE_LEN};

use super::api::{self, Answer, Command, LimitChanges, Reason, Refused, Replacement};

/// Bytes of a module's label, or of a key's path.
const PATH_LEN_MAX: usize = 4096;

/// Whole milliseconds.
fn ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

fn ns(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The command that a call is.
///
/// # Errors
/// What can be seen to be wrong with it.
pub(super) fn command(call: Call) -> Result<Command, String> {
    match call {
        Call::Status => Ok(Command::Status),
        Call::ListModules => Ok(Command::ListModules),
        Call::SwapModule(request) => swap(request),
        Call::SetLimits(request) => limits(&request),
        Call::RotateKey(request) => rotate(request),
        Call::Drain => Ok(Command::Drain),
    }
}

/// # Errors
/// The method or the runtime doesn't exist, or the module's label is no name.
fn swap(request: proto::SwapModuleRequest) -> Result<Command, String> {
    let method = request.method.parse();
    let method =
        method.map_err(|_| format!("method {:?}: there are ecdsa, schnorr and null", request.method))?;
    let runtime = request.runtime.as_deref().map(str::parse).transpose();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    let to = match request.to {
        Some(To::Module(module)) => {
            let label = name("the module's label", module.label)?;
            Replacement::Module { label, bytes: module.wasm }
        }
        Some(To::BuiltIn(_)) => Replacement::BuiltIn,
        Some(To::Previous(_)) => Replacement::Previous,
        None if runtime.is_none() => {
            return Err("neither a module nor a runtime: there is nothing to swap".into());
        }
        None => Replacement::Present,
    };
    Ok(Command::Swap { method, to, runtime })
}

/// # Errors
/// Nothing is to be changed, or to what there can't be.
fn limits(request: &proto::SetLimitsRequest) -> Result<Command, String> {
    let Limits { memory, deadline, stack, module_len, compile } = Limits::MAX;
    let changes = LimitChanges {
        memory: within("memory_bytes", request.memory_bytes, memory)?,
        deadline: within("deadline_ms", request.deadline_ms, ms(deadline))?.map(Duration::from_millis),
        stack: within("stack_bytes", request.stack_bytes, stack)?,
        module_len: within("module_bytes", request.module_bytes, module_len)?,
        compile: within("compile_ms", request.compile_ms, ms(compile))?.map(Duration::from_millis),
    };
    if changes == LimitChanges::default() {
        return Err("no limit is given: there is nothing to change".into());
    }
    match changes.memory {
        Some(bytes) if bytes % PAGE_LEN != 0 => {
            Err(format!("memory_bytes {bytes}: memory is had in whole pages of {PAGE_LEN} bytes"))
        }
        _ => Ok(Command::SetLimits(changes)),
    }
}

fn within<T>(field: &str, value: Option<T>, max: T) -> Result<Option<T>, String>
where
    T: Copy + Default + PartialOrd + std::fmt::Display,
{
    match value {
        Some(value) if value == T::default() || value > max => {
            Err(format!("{field} {value}: it may be 1 to {max}"))
        }
        _ => Ok(value),
    }
}

/// # Errors
/// The path is not absolute: the signer's folder is not the client's.
fn rotate(request: proto::RotateKeyRequest) -> Result<Command, String> {
    let path = request.path.map(|path| name("the key's path", path)).transpose()?.map(PathBuf::from);
    match path {
        Some(path) if !path.is_absolute() => {
            Err(format!("key file {}: give an absolute path", path.display()))
        }
        path => Ok(Command::RotateKey { path }),
    }
}

/// `text`, if it can stand in a message of one line.
fn name(what: &str, text: String) -> Result<String, String> {
    match text {
        text if text.is_empty() => Err(format!("{what} is empty")),
        text if text.len() > PATH_LEN_MAX => Err(format!("{what} has more than {PATH_LEN_MAX} bytes")),
        text if text.contains(char::is_control) => {
            Err(format!("{what} {text:?} has control characters in it"))
        }
        text => Ok(text),
    }
}

/// The reply that an answer is.
pub(super) fn reply(answer: Result<Answer, Refused>) -> Result<Reply, Refusal> {
    match answer {
        Ok(Answer::Status(status)) => Ok(Reply::Status(Box::new((*status).into()))),
        Ok(Answer::Modules(modules)) => {
            let modules = modules.into_iter().map(Into::into).collect();
            Ok(Reply::Modules(proto::ListModulesResponse { modules }))
        }
        Ok(Answer::Swapped(swapped)) => Ok(Reply::Swapped(swapped.into())),
        Ok(Answer::Rotated { public_key }) => Ok(Reply::KeyRotated(proto::RotateKeyResponse { public_key })),
        Ok(Answer::Done) => Ok(Reply::Done),
        Err(Refused { reason, message }) => {
            let code = match reason {
                Reason::Invalid => Code::InvalidArgument,
                Reason::NotNow => Code::FailedPrecondition,
                Reason::Unavailable => Code::Unavailable,
            };
            Err(Refusal { code, message })
        }
    }
}

impl From<api::Status> for proto::StatusResponse {
    fn from(status: api::Status) -> Self {
        Self {
            version: status.version,
            pid: status.pid,
            ring: status.ring,
            uptime_ms: ms(status.uptime),
            draining: status.draining,
            public_key: status.public_key,
            generation: status.generation,
            limits: Some(shown_limits(&status.limits)),
            memory_locked: status.memory_locked,
            workers: status.workers.into_iter().map(Into::into).collect(),
            methods: status.methods.into_iter().map(Into::into).collect(),
            counters: Some(status.counters.into()),
        }
    }
}

fn shown_limits(limits: &Limits) -> proto::Limits {
    proto::Limits {
        memory_bytes: limits.memory,
        deadline_ms: ms(limits.deadline),
        stack_bytes: limits.stack,
        module_bytes: limits.module_len,
        compile_ms: ms(limits.compile),
    }
}

impl From<api::WorkerStatus> for proto::Worker {
    fn from(worker: api::WorkerStatus) -> Self {
        let api::WorkerStatus { number, pid, state, generation, signed, failed, deaths, last_death } = worker;
        Self { number, pid, state: state.into(), generation, signed, failed, deaths, last_death }
    }
}

impl From<api::Counters> for proto::Counters {
    fn from(counters: api::Counters) -> Self {
        Self {
            signed: counters.signed,
            failed: counters.failed,
            batches: counters.batches,
            restores: counters.restores,
            replacements: counters.replacements,
            worker_deaths: counters.worker_deaths,
            swaps: counters.swaps,
            cache_memory_hits: counters.cache_memory_hits,
            cache_disk_hits: counters.cache_disk_hits,
            cache_misses: counters.cache_misses,
        }
    }
}

impl From<api::ModuleEntry> for proto::Module {
    fn from(module: api::ModuleEntry) -> Self {
        Self {
            method: module.method.to_string(),
            generation: module.generation,
            runtime: module.runtime.to_string(),
            sha256: module.sha256,
            variant: module.variant,
            label: module.label,
            present: module.present,
            since_unix_ms: module.since_unix_ms,
        }
    }
}

impl From<api::Swapped> for proto::SwapModuleResponse {
    fn from(swapped: api::Swapped) -> Self {
        Self {
            module: Some(swapped.module.into()),
            prepare_ns: ns(swapped.prepare),
            install_ns: ns(swapped.install),
            switch_ns: ns(swapped.switch),
        }
    }
}

impl From<api::Event> for proto::Event {
    fn from(event: api::Event) -> Self {
        Self {
            unix_ms: event.unix_ms,
            kind: event.kind.into(),
            worker: event.worker,
            method: event.method.map(|method| method.to_string()),
            generation: event.generation,
            text: event.text,
            missed: 0,
        }
    }
}
