//! The command line.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};
use clap::{Args, Parser, Subcommand};
use cli::{Failure, LogOptions, Method, Placement, ProgressOptions};
use extension_engine::Runtime;
use shmem_layout::{RingPath, STALL_SECONDS, VERSION, WaitStrategy, parse_stall_after};

use super::{Options, SupervisorOptions, WorkOptions, WorkerOptions};
use crate::cache_command::{CacheArguments, CacheCommand};
use crate::control::ControlArguments;
use crate::ctl::CtlArguments;
use crate::limits::LimitArguments;
use crate::metrics::MetricsArguments;
use crate::release_check::ReleaseCheckOptions;
use crate::{KeySource, PrepareOptions};

const EXAMPLES: &str = "\
Examples:
  A key, and what the consumer is told of it:
    signer keygen key.pem
    signer public-key --key key.pem
  Sign in two processes, each on its own processor; serve `signer ctl`:
    signer --ring /dev/shm/mine/ring --key key.pem \\
      --workers 2 --cpu 0-1 --control /dev/shm/mine/control
  A module of yours in the place of the built-in one, with less time and memory:
    signer --ring /dev/shm/mine/ring --key key.pem \\
      --module ecdsa=mine.wasm --deadline 100 --memory-limit 16

Exit codes:
  0  done
  1  a record failed, or interrupted
  2  bad arguments or input
  3  environment: no usable ring or runtime, or nothing moves in the ring";

/// Signs the messages in a ring, in place.
///
/// A supervisor reads the key and starts worker processes, which alone know the ring; one that dies is started again. What
/// signs is an extension: a WebAssembly module on a runtime of your choice, or the same code natively. Ends when the ring is
/// closed and everything in it is answered.
#[derive(Parser)]
#[command(name = "signer", version = VERSION, after_long_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
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
    /// Print the public key of a secret key: 66 hexadecimal digits (compressed SEC1)
    PublicKey {
        /// The secret key: a file of mode 0600, or an open descriptor fd:N
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
    /// The secret key: a file of mode 0600, or an open descriptor fd:N
    ///
    /// It holds a PKCS#8 or SEC1 PEM, or 64 hexadecimal digits; `signer keygen` makes one
    #[arg(long, value_name = "FILE", required = true, help_heading = "Signing", display_order = 0)]
    key: Option<KeySource>,
    /// Processes that sign, 1 to 64
    #[arg(long, value_name = "COUNT", help_heading = "Signing", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Write a summary of what was signed to this file, in JSON
    #[arg(long, value_name = "FILE", help_heading = "Operation")]
    report: Option<PathBuf>,
    #[command(flatten)]
    control: ControlArguments,
    #[command(flatten)]
    metrics: MetricsArguments,
    #[command(flatten)]
    progress: ProgressOptions,
}

#[derive(Args)]
struct WorkArguments {
    /// The ring: a file, or shm:NAME
    ///
    /// A file lies in a folder of yours with mode 700; shm:NAME is a POSIX shared memory segment. `ringctl create` makes either
    #[arg(long, required = true, help_heading = "Ring")]
    ring: Option<RingPath>,
    /// What runs the extensions [default: wasmtime]
    #[arg(long, help_heading = "Signing", value_parser = cli::one_of::<Runtime>(Runtime::ALL.map(Runtime::name)))]
    runtime: Option<Runtime>,
    /// The same by number: 0 wasmtime, 1 wasm3, 2 native; 3 swaps the module with the method
    ///
    /// With 3 a worker keeps one instance in all, and swaps its module whenever the method changes
    #[arg(long, value_name = "NUMBER", help_heading = "Signing", value_parser = clap::value_parser!(u8).range(0..=3))]
    runner: Option<u8>,
    /// A wasm file in the place of the built-in module NAME: ecdsa, schnorr or null
    #[arg(long = "module", value_name = "NAME=PATH", help_heading = "Modules", value_parser = OsStringValueParser::new().try_map(module))]
    modules: Vec<(Method, PathBuf)>,
    #[command(flatten)]
    cache: CacheArguments,
    /// Records to claim at once at most, 1 to 4096; fewer where they would take more than about 5 ms
    #[arg(long, value_name = "COUNT", help_heading = "Signing", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// How to wait for the other roles: `block` sleeps, `spin` and `yield` never do, `adaptive` learns
    ///
    /// `adaptive` spins where records come within 8 µs of each other, goes on without sleep up to 130 µs, and sleeps where they
    /// come more seldom.
    /// `spin` and `yield` take a processor each for as long as the role runs
    #[arg(long, value_name = "STRATEGY", default_value_t, value_parser = cli::one_of::<WaitStrategy>(WaitStrategy::ALL.map(WaitStrategy::name)))]
    #[arg(help_heading = "Ring")]
    wait: WaitStrategy,
    /// Seconds in which something is pending in the ring and nothing moves, before giving up with exit code 3; 0: never
    #[arg(long, value_name = "SECONDS", help_heading = "Ring", default_value = STALL_SECONDS, value_parser = parse_stall_after)]
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
            metrics: self.metrics.metrics,
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

/// The two halves of `NAME=PATH`.
pub(crate) fn module(argument: OsString) -> Result<(Method, PathBuf), String> {
    let bytes = argument.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').ok_or("it has the form NAME=PATH")?;
    let name = &bytes[..equals];
    let method = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    let method = method.ok_or("NAME is ecdsa, schnorr or null")?;
    if bytes[equals + 1..].is_empty() {
        return Err("PATH is empty".to_owned());
    }
    Ok((method, OsString::from_vec(bytes[equals + 1..].to_vec()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helps_examples_are_accepted() {
        let examples = cli::examples::<Arguments>();
        assert_eq!(examples.len(), 7);
        for example in examples {
            Options::from_arguments(&example).map_err(|failure| (example, failure)).unwrap();
        }
    }

    #[test]
    fn clap_finds_no_fault_in_the_flags() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
