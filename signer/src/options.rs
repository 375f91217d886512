//! What the signer is asked for, once it is checked.

mod arguments;

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use cli::{LogOptions, Method, Placement, ProgressOptions};
use extension_engine::{Limits, Runtime};
use shmem_layout::{RingPath, WaitStrategy};

use crate::cache_command::{CacheArguments, CacheCommand};
use crate::ctl::CtlOptions;
use crate::limits;
use crate::metrics::Address;
use crate::release_check::ReleaseCheckOptions;
use crate::{KeySource, PrepareOptions};
pub(crate) use arguments::module;

/// What the signer is asked to do.
#[derive(Debug)]
pub enum Options {
    /// Sign, with worker processes.
    Supervise(SupervisorOptions),
    /// Be a worker.
    Work(WorkerOptions),
    /// Compile and test a module.
    Prepare(PrepareOptions),
    /// Make a key in a new file.
    Keygen(PathBuf),
    /// Print the public key of a key.
    PublicKey(KeySource),
    /// Ask a running signer for something.
    Ctl(CtlOptions),
    /// Show or change the module cache.
    Cache(CacheCommand),
}

/// What the supervisor needs to know.
#[derive(Debug)]
pub struct SupervisorOptions {
    /// Where the key is.
    pub key: KeySource,
    /// How many workers.
    pub workers: usize,
    /// Where the summary goes.
    pub report: Option<PathBuf>,
    /// The private folder that the control plane is served in, if it is.
    pub control: Option<PathBuf>,
    /// Where metrics are served, if they are.
    pub metrics: Option<Address>,
    /// Whether it shows how far it is.
    pub progress: ProgressOptions,
    /// What the workers do.
    pub work: WorkOptions,
}

/// What a worker needs to know.
#[derive(Debug)]
pub struct WorkerOptions {
    /// The socket that leads to the supervisor; the key comes first.
    pub control: RawFd,
    /// The page of statistics.
    pub stats: RawFd,
    /// The supervisor's process id.
    pub supervisor: i32,
    /// What to do.
    pub work: WorkOptions,
}

/// What the workers do.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// The ring.
    pub ring: RingPath,
    /// What runs the extensions.
    pub runtime: Runtime,
    /// Whether a worker holds one instance in all, and swaps its module whenever the method changes.
    pub is_swapping: bool,
    /// Files that replace built-in modules.
    pub modules: Vec<(Method, PathBuf)>,
    /// Where compiled modules are kept.
    pub cache: CacheArguments,
    /// Records to claim at once at most.
    pub batch: usize,
    /// How to wait for records.
    pub wait: WaitStrategy,
    /// How long an ended stream may go without moving before its end.
    pub stall_after: Duration,
    /// Where they run: of several, each on one of the processors.
    pub placement: Placement,
    /// What a module may use.
    pub limits: Limits,
    /// Whether signatures are verified before they are released.
    pub release_check: ReleaseCheckOptions,
    /// What is said.
    pub log: LogOptions,
}

impl WorkOptions {
    /// The arguments that say the same.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        add("--ring", self.ring.to_string().into());
        add("--runtime", self.runtime.to_string().into());
        if self.is_swapping {
            add("--runner", "3".into());
        }
        for (method, path) in &self.modules {
            let mut value = OsString::from(format!("{method}="));
            value.push(path);
            add("--module", value);
        }
        add("--batch", self.batch.to_string().into());
        add("--wait", self.wait.to_string().into());
        arguments.extend(self.cache.to_arguments());
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        let seconds = if self.stall_after == Duration::MAX { 0.0 } else { self.stall_after.as_secs_f64() };
        add("--stall", seconds.to_string().into());
        if let Some(cpus) = &self.placement.cpus {
            add("--cpu", cpus.to_string().into());
        }
        if self.placement.prefault {
            arguments.push("--prefault".into());
        }
        arguments.extend(self.release_check.to_arguments().map(OsString::from));
        arguments.extend(limits::to_arguments(&self.limits));
        arguments.extend(self.log.to_arguments().into_iter().map(OsString::from));
        arguments
    }
}
