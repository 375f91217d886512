//! The command line of `signer ctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use cli::{Failure, Method};
use control_protocol::protocol::SetLimitsRequest;
use extension_engine::Runtime;

/// How long a signer may take to say how it is.
const ASKING: Duration = Duration::from_secs(10);

/// How long a connection may take, and a change if nothing else is asked for: as long as the signer gives itself, with
/// the longest compilation.
const CHANGING: Duration = Duration::from_secs(4000);

/// What `signer ctl` is asked to do.
#[derive(Debug)]
pub struct CtlOptions {
    /// The folder that the signer serves in.
    pub(super) directory: PathBuf,
    /// Whether the answer is JSON.
    pub(super) json: bool,
    /// How long to wait for an answer, if not as long as usual.
    pub(super) timeout: Option<Duration>,
    pub(super) task: Task,
}

/// What is asked of the signer.
#[derive(Debug)]
pub(super) enum Task {
    Status,
    Modules,
    Swap { method: Method, to: Option<NewModule>, runtime: Option<Runtime> },
    Limits(SetLimitsRequest),
    Rotate { key: Option<PathBuf> },
    Drain,
    Watch,
}

/// What takes a module's place.
#[derive(Debug)]
pub(super) enum NewModule {
    File(PathBuf),
    BuiltIn,
    Previous,
}

impl CtlOptions {
    /// How long an answer may take.
    pub(super) fn patience(&self) -> Duration {
        let usual = match self.task {
            Task::Status | Task::Modules | Task::Drain | Task::Watch => ASKING,
            Task::Swap { .. } | Task::Limits(_) | Task::Rotate { .. } => CHANGING,
        };
        self.timeout.unwrap_or(usual)
    }
}

const EXAMPLES: &str = "\
Examples:
  A module of yours in the place of the one that signs, and back:
    signer ctl --control /dev/shm/mine/control swap ecdsa mine.wasm
    signer ctl --control /dev/shm/mine/control swap ecdsa --rollback
  Another key, read from the file that --key names, which was replaced:
    signer ctl --control /dev/shm/mine/control rotate

Exit codes:
  0  done
  1  the signer refused or failed
  2  bad arguments or input
  3  no signer is there";

/// Ask a running signer for something
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CtlArguments {
    /// The folder that the signer was given with --control
    #[arg(long, value_name = "DIR", global = true)]
    control: Option<PathBuf>,
    /// Answer with one JSON object (watch: one a line)
    #[arg(long, global = true)]
    json: bool,
    /// Seconds to wait for an answer [default: 10; for a change as long as it takes]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = seconds)]
    timeout: Option<Duration>,
    #[command(subcommand)]
    call: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How the signer is: workers, modules, limits, counters
    Status,
    /// The modules that serve, and those that did
    Modules,
    /// Put another module, another runtime or both in the place of what serves a method
    Swap(Swap),
    /// Change what modules may use; what is left out stays
    Limits(Limits),
    /// Read the key again, or another one
    Rotate {
        /// The new key's file [default: where the present one came from]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Finish what is claimed, and end
    Drain,
    /// Print what happens, until the signer ends
    Watch,
}

#[derive(Args)]
struct Swap {
    /// The method whose module is swapped
    #[arg(value_parser = cli::one_of::<Method>(Method::ALL.map(Method::name)))]
    method: Method,
    /// The new module: a wasm file
    #[arg(value_name = "PATH", conflicts_with_all = ["builtin", "rollback"])]
    path: Option<PathBuf>,
    /// Go back to the module that is built in
    #[arg(long, conflicts_with = "rollback")]
    builtin: bool,
    /// Go back to what served before
    #[arg(long)]
    rollback: bool,
    /// What runs it [default: what runs the method now]
    #[arg(long, value_parser = cli::one_of::<Runtime>(Runtime::ALL.map(Runtime::name)))]
    runtime: Option<Runtime>,
}

#[derive(Args)]
struct Limits {
    /// Memory of an extension, 1 to 4096 MiB
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=4096))]
    memory_limit: Option<u64>,
    /// CPU time of an extension for a record, 20 to 3600000 ms
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(20..=3_600_000))]
    deadline: Option<u64>,
    /// Stack of an extension's calls, 16 to 1024 KiB
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u32).range(16..=1024))]
    stack_limit: Option<u32>,
    /// Length of a module's file, 1 to 65536 KiB
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=65536))]
    module_limit: Option<u64>,
    /// CPU time for compiling a module, 1 to 3600 seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    compile_limit: Option<u64>,
}

impl CtlArguments {
    /// # Errors
    /// Something is missing.
    pub(crate) fn check(self) -> Result<CtlOptions, Failure> {
        let missing = || Failure::bad_input("--control DIR is missing: the folder that the signer was given");
        let task = match self.call {
            Command::Status => Task::Status,
            Command::Modules => Task::Modules,
            Command::Swap(swap) => swap.check()?,
            Command::Limits(limits) => limits.check()?,
            Command::Rotate { key } => Task::Rotate { key },
            Command::Drain => Task::Drain,
            Command::Watch => Task::Watch,
        };
        let directory = self.control.ok_or_else(missing)?;
        Ok(CtlOptions { directory, json: self.json, timeout: self.timeout, task })
    }
}

impl Swap {
    fn check(self) -> Result<Task, Failure> {
        let to = match self.path {
            Some(path) => Some(NewModule::File(path)),
            None if self.builtin => Some(NewModule::BuiltIn),
            None if self.rollback => Some(NewModule::Previous),
            None if self.runtime.is_some() => None,
            None => {
                let words = "swap needs PATH, --builtin, --rollback or --runtime: there is nothing to swap";
                return Err(Failure::bad_input(words));
            }
        };
        Ok(Task::Swap { method: self.method, to, runtime: self.runtime })
    }
}

impl Limits {
    fn check(self) -> Result<Task, Failure> {
        let changes = SetLimitsRequest {
            memory_bytes: self.memory_limit.map(|mib| mib << 20),
            deadline_ms: self.deadline,
            stack_bytes: self.stack_limit.map(|kib| kib << 10),
            module_bytes: self.module_limit.map(|kib| kib << 10),
            compile_ms: self.compile_limit.map(|seconds| seconds * 1000),
        };
        if changes == SetLimitsRequest::default() {
            return Err(Failure::bad_input("limits needs at least one limit to change; see --help"));
        }
        Ok(Task::Limits(changes))
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or("a number of seconds above 0")
}
