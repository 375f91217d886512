//! The command line, and what it means once it is checked.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};
use clap::{Args, Parser, Subcommand};
use cli::{Failure, LogOptions, Method, Placement, ProgressOptions};
use extension_engine::{Limits, Runtime};
use shmem_layout::{RingPath, STALL_SECONDS, VERSION, WaitStrategy, parse_stall_after};

use crate::cache_command::{CacheArguments, CacheCommand};
use crate::control::ControlArguments;
use crate::ctl::{CtlArguments, CtlOptions};
use crate::limits::{self, LimitArguments};
use crate::release_check::ReleaseCheckOptions;
use crate::{KeySource, PrepareOptions};

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

#[derive(Parser)]
#[command(name = "signer", version = VERSION, about = "Signs the messages in a ring in place")]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done; 1 a record failed, or interrupted; 2 bad arguments or input; 3 environment."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    supervisor: SupervisorArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new secret key in FILE, and print its public key
    Keygen {
        /// The file; it must not be there yet
        file: PathBuf,
    },
    /// Print the public key of a secret key: compressed SEC1, in hexadecimal digits
    PublicKey {
        /// As for signing
        #[arg(long, value_name = "FILE")]
        key: KeySource,
    },
    /// Ask a running signer for something: its status, another module, other limits, another key, its end
    Ctl(CtlArguments),
    /// Show, clear or fill the directory of compiled modules
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        control: RawFd,
        #[arg(long)]
        stats: RawFd,
        #[arg(long)]
        supervisor: i32,
        #[command(flatten)]
        work: WorkArguments,
    },
    #[command(hide = true)]
    Prepare {
        #[arg(long)]
        control: RawFd,
        #[arg(long)]
        supervisor: i32,
        #[arg(long)]
        nice: bool,
        #[command(flatten)]
        limits: LimitArguments,
        #[command(flatten)]
        cache: CacheArguments,
        #[command(flatten)]
        log: LogOptions,
    },
}

#[derive(Args)]
struct SupervisorArguments {
    #[command(flatten)]
    work: WorkArguments,
    /// The secret key: a PKCS#8 or SEC1 PEM or 64 hexadecimal digits, in a file of mode 0600 or an open descriptor fd:N
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<KeySource>,
    /// How many processes sign
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Write a summary of what was signed, in JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    control: ControlArguments,
    #[command(flatten)]
    progress: ProgressOptions,
}

#[derive(Args)]
struct WorkArguments {
    /// The ring: a file, or shm:NAME
    #[arg(long, required = true)]
    ring: Option<RingPath>,
    /// What signs: native, wasmtime (the default), wasmi or wasm3
    #[arg(long)]
    runtime: Option<Runtime>,
    /// The same by number: 0 wasmtime, 1 wasm3, 2 native; 3 keeps one instance and swaps its module with the method
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=3))]
    runner: Option<u8>,
    /// A wasm file in the place of a built-in module; NAME is ecdsa, schnorr or null
    #[arg(long = "module", value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(module))]
    modules: Vec<(Method, PathBuf)>,
    #[command(flatten)]
    cache: CacheArguments,
    /// Records to claim at once at most; fewer where they would take more than about 5 ms
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// How to wait for records: spin, yield, block or adaptive
    #[arg(long, value_name = "STRATEGY", default_value_t)]
    wait: WaitStrategy,
    /// Seconds that something may be pending in the ring without anything moving; then exit code 3. 0: for ever
    #[arg(long, value_name = "SECONDS", default_value = STALL_SECONDS, value_parser = parse_stall_after)]
    stall: Duration,
    #[command(flatten)]
    placement: Placement,
    #[command(flatten)]
    release_check: ReleaseCheckOptions,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    log: LogOptions,
}

impl ValueParserFactory for KeySource {
    type Parser = clap::builder::MapValueParser<OsStringValueParser, fn(OsString) -> KeySource>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().map(KeySource::from)
    }
}

impl Options {
    /// What the command line asks for.
    ///
    /// # Errors
    /// Bad arguments: says which, and what they may be.
    pub fn from_command_line() -> Result<Self, Failure> {
        Self::from_arguments(std::env::args_os())
    }

    /// As [`Options::from_command_line`], from `arguments`, of which the first is the program's name.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn from_arguments(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Failure> {
        let arguments: Arguments = cli::parse_from(arguments)?;
        Ok(match arguments.command {
            Some(Command::Keygen { file }) => Self::Keygen(file),
            Some(Command::PublicKey { key }) => Self::PublicKey(key),
            Some(Command::Ctl(ctl)) => Self::Ctl(ctl.check()?),
            Some(Command::Cache { command }) => Self::Cache(command),
            Some(Command::Worker { control, stats, supervisor, work }) => {
                Self::Work(WorkerOptions { control, stats, supervisor, work: work.check()? })
            }
            Some(Command::Prepare { control, supervisor, nice, limits, cache, log }) => {
                Self::Prepare(PrepareOptions {
                    control,
                    supervisor,
                    is_nice: nice,
                    limits: limits.check()?,
                    cache,
                    log,
                })
            }
            None => Self::Supervise(arguments.supervisor.check()?),
        })
    }
}

impl SupervisorArguments {
    fn check(self) -> Result<SupervisorOptions, Failure> {
        Ok(SupervisorOptions {
            key: self.key.ok_or_else(|| missing("--key"))?,
            workers: self.workers.into(),
            report: self.report,
            control: self.control.control,
            progress: self.progress,
            work: self.work.check()?,
        })
    }
}

impl WorkArguments {
    fn check(self) -> Result<WorkOptions, Failure> {
        let (runtime, is_swapping) = runtime(self.runtime, self.runner)?;
        for (i, (method, _)) in self.modules.iter().enumerate() {
            if self.modules[..i].iter().any(|(earlier, _)| earlier == method) {
                return Err(Failure::bad_input(format_args!("--module {method}=… was given twice")));
            }
        }
        let batch = self.batch.into();
        Ok(WorkOptions {
            ring: self.ring.ok_or_else(|| missing("--ring"))?,
            runtime,
            is_swapping,
            modules: self.modules,
            cache: self.cache,
            batch,
            wait: self.wait,
            stall_after: self.stall,
            placement: self.placement,
            limits: self.limits.check()?,
            release_check: self.release_check,
            log: self.log,
        })
    }
}

/// An argument that only subcommands do without.
fn missing(flag: &str) -> Failure {
    Failure::bad_input(format_args!("{flag} is missing; see --help"))
}

/// What `--runtime` and `--runner` say together.
fn runtime(runtime: Option<Runtime>, runner: Option<u8>) -> Result<(Runtime, bool), Failure> {
    let (chosen, is_swapping) = match (runtime, runner) {
        (Some(runtime), None) => (runtime, false),
        (Some(runtime), Some(3)) => (runtime, true),
        (None, None | Some(0)) => (Runtime::Wasmtime, false),
        (None, Some(1)) => (Runtime::Wasm3, false),
        (None, Some(2)) => (Runtime::Native, false),
        (None, Some(_)) => (Runtime::Wasmtime, true),
        (Some(_), Some(runner)) => {
            return Err(Failure::bad_input(format_args!(
                "--runner {runner} names a runtime, as --runtime does: give one of the two"
            )));
        }
    };
    if is_swapping && chosen == Runtime::Native {
        return Err(Failure::bad_input("--runner 3 swaps modules, and --runtime native runs none"));
    }
    chosen.is_available().map_err(Failure::bad_input)?;
    Ok((chosen, is_swapping))
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

/// The two halves of `NAME=PATH`.
pub(crate) fn module(argument: OsString) -> Result<(Method, PathBuf), String> {
    let bytes = argument.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').ok_or("it has the form NAME=PATH")?;
    let name = &bytes[..equals];
    let method = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    let method = method.ok_or("NAME is ecdsa, schnorr or null")?;
    Ok((method, OsString::from_vec(bytes[equals + 1..].to_vec()).into()))
}
