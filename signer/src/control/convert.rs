//! What the supervisor's words are in the protocol, and the other way round.

use std::path::PathBuf;
use std::time::Duration;

use cli::Method;
use extension_engine::{Limits, PAGE_LEN};
use tonic::Status;

use super::api::{self, Command, LimitChanges, Reason, Refused, Replacement};
use super::protocol as proto;
use super::protocol::swap_module_request::To;

/// Bytes of a module's label, or of a key's path.
const PATH_LEN_MAX: usize = 4096;

/// Whole milliseconds.
pub(super) fn ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

fn ns(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// # Errors
/// The method or the runtime doesn't exist, the module is longer than `len_max` bytes, or its label is no name.
pub(super) fn swap(request: proto::SwapModuleRequest, len_max: u64) -> Result<Command, Status> {
    let named = |method: &Method| method.name() == request.method;
    let method = Method::ALL.into_iter().find(named).ok_or_else(|| {
        Status::invalid_argument(format!("method {:?}: there are ecdsa, schnorr and null", request.method))
    })?;
    let runtime = request.runtime.as_deref().map(str::parse).transpose();
    let runtime = runtime.map_err(|error| Status::invalid_argument(format!("runtime: {error}")))?;
    let to = match request.to {
        Some(To::Module(module)) => {
            let label = name("the module's label", module.label)?;
            if module.wasm.len() as u64 > len_max {
                return Err(Status::invalid_argument(format!(
                    "{label}: the module has {} bytes, and may have {len_max}; change the limit, or the module",
                    module.wasm.len()
                )));
            }
            Replacement::Module { label, bytes: module.wasm }
        }
        Some(To::BuiltIn(_)) => Replacement::BuiltIn,
        Some(To::Previous(_)) => Replacement::Previous,
        None if runtime.is_none() => {
            return Err(Status::invalid_argument("neither a module nor a runtime: there is nothing to swap"));
        }
        None => Replacement::Present,
    };
    Ok(Command::Swap { method, to, runtime })
}

/// # Errors
/// Nothing is to be changed, or to what there can't be.
pub(super) fn limits(request: &proto::SetLimitsRequest) -> Result<Command, Status> {
    let Limits { memory, deadline, stack, module_len, compile } = Limits::MAX;
    let changes = LimitChanges {
        memory: within("memory_bytes", request.memory_bytes, memory)?,
        deadline: within("deadline_ms", request.deadline_ms, ms(deadline))?.map(Duration::from_millis),
        stack: within("stack_bytes", request.stack_bytes, stack)?,
        module_len: within("module_bytes", request.module_bytes, module_len)?,
        compile: within("compile_ms", request.compile_ms, ms(compile))?.map(Duration::from_millis),
    };
    if changes == LimitChanges::default() {
        return Err(Status::invalid_argument("no limit is given: there is nothing to change"));
    }
    match changes.memory {
        Some(bytes) if bytes % PAGE_LEN != 0 => Err(Status::invalid_argument(format!(
            "memory_bytes {bytes}: memory is had in whole pages of {PAGE_LEN} bytes"
        ))),
        _ => Ok(Command::SetLimits(changes)),
    }
}

fn within<T>(field: &str, value: Option<T>, max: T) -> Result<Option<T>, Status>
where
    T: Copy + Default + PartialOrd + std::fmt::Display,
{
    match value {
        Some(value) if value == T::default() || value > max => {
            Err(Status::invalid_argument(format!("{field} {value}: it may be 1 to {max}")))
        }
        _ => Ok(value),
    }
}

/// # Errors
/// The path is not absolute: the signer's folder is not the client's.
pub(super) fn rotate(request: proto::RotateKeyRequest) -> Result<Command, Status> {
    let path = request.path.map(|path| name("the key's path", path)).transpose()?.map(PathBuf::from);
    match path {
        Some(path) if !path.is_absolute() => {
            Err(Status::invalid_argument(format!("key file {}: give an absolute path", path.display())))
        }
        path => Ok(Command::RotateKey { path }),
    }
}

/// `text`, if it can stand in a message of one line.
fn name(what: &str, text: String) -> Result<String, Status> {
    match text {
        text if text.is_empty() => Err(Status::invalid_argument(format!("{what} is empty"))),
        text if text.len() > PATH_LEN_MAX => {
            Err(Status::invalid_argument(format!("{what} has more than {PATH_LEN_MAX} bytes")))
        }
        text if text.contains(char::is_control) => {
            Err(Status::invalid_argument(format!("{what} {text:?} has control characters in it")))
        }
        text => Ok(text),
    }
}

impl From<Refused> for Status {
    fn from(Refused { reason, message }: Refused) -> Self {
        match reason {
            Reason::Invalid => Status::invalid_argument(message),
            Reason::NotNow => Status::failed_precondition(message),
            Reason::Unavailable => Status::unavailable(message),
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
            limits: Some((&status.limits).into()),
            memory_locked: status.memory_locked,
            workers: status.workers.into_iter().map(Into::into).collect(),
            methods: status.methods.into_iter().map(Into::into).collect(),
            counters: Some(status.counters.into()),
        }
    }
}

impl From<&Limits> for proto::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory,
            deadline_ms: ms(limits.deadline),
            stack_bytes: limits.stack,
            module_bytes: limits.module_len,
            compile_ms: ms(limits.compile),
        }
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
            variant: module.variant.into(),
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
