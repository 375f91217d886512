//! `signer prepare`: a process of its own that compiles a module, into the cache, and tries it with keys that guard
//! nothing. Whatever the module does to it, nobody else is hurt.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use cli::{Exit, Failure, LogOptions};
use extension_engine::{Limits, Settings, compile};
use rustix::process::{Resource, Rlimit, Signal, setpriority_process, setrlimit};

use crate::assignment::Assignment;
use crate::cache_command::{CacheArguments, open_cache_when_needed};
use crate::manner::manner;
use crate::{WorkOptions, kin, known_answers, limits, orders};

/// What the child is told.
#[derive(Debug)]
pub struct PrepareOptions {
    /// The socket that leads to the supervisor.
    pub control: RawFd,
    /// The supervisor's process id.
    pub supervisor: i32,
    /// Whether there is somebody whose work goes before this.
    pub is_nice: bool,
    /// What the module may use.
    pub limits: Limits,
    /// Where what was compiled is kept.
    pub cache: CacheArguments,
    /// What is said.
    pub log: LogOptions,
}

/// What the known-answer test may take beside the compilation, on the slowest runtime.
const TEST_TIME: Duration = Duration::from_secs(5);

/// Memory for the compiler, in bytes.
const COMPILER_MEMORY: u64 = 1 << 30;

/// Does it, and tells the supervisor why not, if not.
pub(crate) fn run(options: &PrepareOptions) -> Result<Exit, Failure> {
    let mut control = attach(options).map_err(|error| {
        Failure::environment(format_args!("a module is prepared by `signer` alone: {error}"))
    })?;
    let outcome = hear(&control).map_err(|error| error.to_string()).and_then(|assignment| {
        let cache = open_cache_when_needed(&options.cache);
        let settings = Settings { limits: options.limits.clone(), cache };
        let replacement = assignment.replacement(&settings.limits).map_err(|error| error.to_string())?;
        let name = assignment.method.name();
        let program = compile(assignment.runtime, name, replacement.as_ref(), &settings);
        let program = program.map_err(|error| error.to_string())?;
        known_answers::check(&*program, assignment.method)
            .map_err(|why| format!("module {}: {why}", assignment.label))
    });
    Ok(match outcome {
        Ok(()) => Exit::Done,
        Err(why) => {
            // Without a supervisor there is nobody to tell.
            let _ = control.write_all(why.as_bytes());
            Exit::BadInput
        }
    })
}

/// Takes the socket, and puts on the fetters.
fn attach(options: &PrepareOptions) -> io::Result<UnixStream> {
    let control = kin::attach(options.control, options.supervisor)?;
    let (seconds, memory) =
        (cpu_seconds(&options.limits), COMPILER_MEMORY.saturating_add(options.limits.memory));
    // A second more to the hard limit, so that the signal tells what it was.
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) })?;
    if options.is_nice {
        setpriority_process(None, kin::NICENESS)?;
    }
    Ok(control)
}

/// CPU time that a preparation may take, in whole seconds.
fn cpu_seconds(limits: &Limits) -> u64 {
    (limits.compile + TEST_TIME).as_secs() + 1
}

fn hear(control: &UnixStream) -> io::Result<Assignment> {
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// The supervisor's side: a preparation under way.
pub(crate) struct Preparation {
    child: Child,
    socket: UnixStream,
    words: Vec<u8>,
    cpu_seconds: u64,
    label: String,
}

impl Preparation {
    /// Starts to prepare `assignment`.
    ///
    /// # Errors
    /// There is no process to be had.
    pub fn start(assignment: &Assignment, work: &WorkOptions, is_nice: bool) -> io::Result<Self> {
        let (child, socket) = kin::start("prepare", |command| {
            command.args(is_nice.then_some("--nice"));
            command.args(limits::to_arguments(&work.limits)).args(work.cache.to_arguments());
            command.args(work.log.to_arguments());
            Ok(())
        })?;
        // If it is dead already, its socket says so.
        let _ = orders::say(&socket, assignment);
        let (cpu_seconds, label) = (cpu_seconds(&work.limits), assignment.label.clone());
        Ok(Self { child, socket, words: Vec::new(), cpu_seconds, label })
    }

    /// The socket, which is readable when there is something to hear.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// How it came out, if it has.
    pub fn poll(&mut self) -> Option<Result<(), String>> {
        kin::has_spoken(&self.socket).then(|| self.hear()).flatten()
    }

    /// How it came out, if it has; waits while there is nothing to hear.
    pub fn hear(&mut self) -> Option<Result<(), String>> {
        const WORDS_MAX: usize = 4096;
        let mut words = [0; 512];
        match self.socket.read(&mut words) {
            Ok(0) => {}
            Ok(len) => {
                let room = WORDS_MAX - self.words.len();
                self.words.extend_from_slice(&words[..len.min(room)]);
                return None;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return None,
            Err(_) => {}
        }
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return Some(Err(format!("module {}: {error}", self.label))),
        };
        Some(match (status.code(), self.words.is_empty()) {
            (Some(0), _) => Ok(()),
            (_, false) => Err(String::from_utf8_lossy(&self.words).into_owned()),
            _ => Err(format!("module {}: {}", self.label, self.died_of(status))),
        })
    }

    fn died_of(&self, status: ExitStatus) -> String {
        use std::os::unix::process::ExitStatusExt;
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return format!(
                "to compile and to test it takes more than {} s of CPU time (see --compile-limit)",
                self.cpu_seconds
            );
        }
        format!("the process that was to compile and to test it {}", manner(status))
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
