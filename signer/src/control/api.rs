//! What the control plane asks of the supervisor, and what it is told.

use std::path::PathBuf;
use std::time::Duration;

use cli::Method;
use extension_engine::{Limits, Runtime};

/// A call, and where its answer goes.
pub(crate) struct Request {
    /// What is asked for.
    pub command: Command,
    /// Takes the answer, once; it never blocks. Who has hung up hears nothing.
    pub reply: Box<dyn FnOnce(Result<Answer, Refused>) + Send>,
}

/// What can be asked of a signer.
#[derive(Debug)]
pub(crate) enum Command {
    /// [`Answer::Status`].
    Status,
    /// [`Answer::Modules`].
    ListModules,
    /// [`Answer::Swapped`], when every worker has switched.
    Swap {
        /// Whose module.
        method: Method,
        /// What takes its place.
        to: Replacement,
        /// What runs it; none for the runtime that runs the method now.
        runtime: Option<Runtime>,
    },
    /// [`Answer::Done`], when every worker has been replaced by one that has these limits.
    SetLimits(LimitChanges),
    /// [`Answer::Rotated`], when every worker has been replaced by one that has the new key.
    RotateKey {
        /// An absolute path; none to read again where the present key came from.
        path: Option<PathBuf>,
    },
    /// [`Answer::Done`] at once; the signer then finishes what its workers have claimed, and ends.
    Drain,
}

/// What takes a module's place.
#[derive(Debug)]
pub(crate) enum Replacement {
    /// This module.
    Module {
        /// What messages call it: the path that the operator gave.
        label: String,
        /// The binary.
        bytes: Vec<u8>,
    },
    /// The built-in module, or the native code.
    BuiltIn,
    /// What it has now: to change the runtime alone.
    Present,
    /// What it had before: a rollback.
    Previous,
}

/// Limits to be changed; see [`extension_engine::Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitChanges {
    pub memory: Option<u64>,
    pub deadline: Option<Duration>,
    pub stack: Option<u32>,
    pub module_len: Option<u64>,
    pub compile: Option<Duration>,
}

impl LimitChanges {
    /// `limits` with these changes.
    pub fn applied_to(&self, limits: &Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(limits.memory),
            deadline: self.deadline.unwrap_or(limits.deadline),
            stack: self.stack.unwrap_or(limits.stack),
            module_len: self.module_len.unwrap_or(limits.module_len),
            compile: self.compile.unwrap_or(limits.compile),
        }
    }
}

/// What the supervisor answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(Box<Status>),
    Modules(Vec<ModuleEntry>),
    Swapped(Swapped),
    Rotated {
        /// The new public key: compressed SEC1, in hexadecimal digits.
        public_key: String,
    },
    Done,
}

/// Why nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub reason: Reason,
    /// One line.
    pub message: String,
}

/// The kinds of refusal, as gRPC has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `INVALID_ARGUMENT`: a bad module, key or limit.
    Invalid,
    /// `FAILED_PRECONDITION`: not now: draining, nothing to roll back to, another change under way.
    NotNow,
    /// `UNAVAILABLE`: the machine did not give what it needs, or a worker died of it.
    Unavailable,
}

/// A signer at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub version: String,
    pub pid: u32,
    pub ring: String,
    /// Since the start.
    pub uptime: Duration,
    pub draining: bool,
    /// Compressed SEC1, in hexadecimal digits.
    pub public_key: String,
    /// The generation of the last swap.
    pub generation: u32,
    pub limits: extension_engine::Limits,
    /// Whether the workers' memory may not be swapped out: all of it, the key's page, or nothing.
    pub memory_locked: String,
    pub workers: Vec<WorkerStatus>,
    pub methods: Vec<ModuleEntry>,
    pub counters: Counters,
}

/// A worker's place.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerStatus {
    pub number: u32,
    /// 0 while there is no process.
    pub pid: u32,
    /// `starting`, `ready`, `waiting to start`, `ended`.
    pub state: &'static str,
    pub generation: u32,
    pub signed: u64,
    pub failed: u64,
    pub deaths: u64,
    /// Why the last one died; empty if none has.
    pub last_death: String,
}

/// All workers since the start, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub signed: u64,
    pub failed: u64,
    pub batches: u64,
    /// Memories restored after an error status.
    pub restores: u64,
    /// Instances replaced after a trap, a missed deadline or a full heap.
    pub replacements: u64,
    pub worker_deaths: u64,
    pub swaps: u64,
    /// Compiled modules found in memory, found on disk, and not found.
    pub cache_memory_hits: u64,
    pub cache_disk_hits: u64,
    pub cache_misses: u64,
}

/// A module that serves a method, or has.
#[derive(Clone, Debug)]
pub(crate) struct ModuleEntry {
    pub method: Method,
    pub generation: u32,
    pub runtime: Runtime,
    /// Empty for the native code, as is `variant`.
    pub sha256: String,
    pub variant: String,
    /// Its path, or the name of the built-in one.
    pub label: String,
    /// Whether it serves now.
    pub present: bool,
    /// Milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// A swap that was made.
#[derive(Clone, Debug)]
pub(crate) struct Swapped {
    pub module: ModuleEntry,
    /// Validating, compiling or fetching, and the known-answer test, in a process of its own.
    pub prepare: Duration,
    /// Until every worker had an instance of it ready.
    pub install: Duration,
    /// From the commit until every worker had switched.
    pub switch: Duration,
}

/// Something that happened, for who watches.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// `worker-started`, `worker-died`, `swapped`, `limits-set`, `key-rotated`, `refused`, `draining`, `warning`.
    pub kind: &'static str,
    pub worker: Option<u32>,
    pub method: Option<Method>,
    pub generation: Option<u32>,
    /// One line.
    pub text: String,
}
