//! The programs as child processes, which never outlive the campaign.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, set_parent_process_death_signal, waitid,
};

/// How often a child that is waited for is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long a command that does one thing and ends may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A child process. It is killed when this is dropped, and by the kernel when the thread that started it ends.
pub struct Process {
    name: String,
    child: Child,
    said: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` as `name`, with what it says on standard error going to the end of the file `said`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(
        name: impl Display,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        said: PathBuf,
    ) -> Result<Self, Failure> {
        Self::start_with(name, program, arguments, said, &[])
    }

    /// As [`Process::start`], with more variables in its environment.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_with(
        name: impl Display,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        said: PathBuf,
        environment: &[(String, String)],
    ) -> Result<Self, Failure> {
        let name = name.to_string();
        let cant = |error: io::Error| Failure::environment(format_args!("can't start {name}: {error}"));
        let stderr = OpenOptions::new().append(true).create(true).open(&said).map_err(cant)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor locks.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let child = command.spawn().map_err(cant)?;
        Ok(Self { name, child, said, status: None })
    }

    /// What the campaign calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id: its own until it was waited for, and a dead child is waited for by this value alone.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, unless it was seen to have ended.
    pub fn signal(&self, signal: Signal) {
        if let (None, Some(pid)) = (self.status, Pid::from_raw(self.id().cast_signed())) {
            // It may have ended meanwhile: then there is nobody to receive it.
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Failure> {
        if self.status.is_none() {
            let waited = self.child.try_wait();
            self.status = waited.map_err(|error| {
                Failure::environment(format_args!("can't wait for {}: {error}", self.name))
            })?;
        }
        Ok(self.status)
    }

    /// How it ended; `None` if it hasn't within `limit`.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
        let started = Instant::now();
        loop {
            let status = self.try_wait()?;
            if status.is_some() || started.elapsed() >= limit {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// As [`Process::wait_for`], with the CPU time that it has used, and those of its children that are gone.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn wait_with_cpu_time(&mut self, limit: Duration) -> Result<Option<(ExitStatus, Duration)>, Failure> {
        let started = Instant::now();
        loop {
            // Dead, and still there to be asked.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let pid = Pid::from_raw(self.id().cast_signed());
            let ended = pid.map(|pid| waitid(WaitId::Pid(pid), options)).transpose();
            let ended = ended.map_err(|error| {
                Failure::environment(format_args!("can't wait for {}: {error}", self.name))
            })?;
            if ended.flatten().is_some() {
                let spent = cpu_time_with_children(self.id());
                return Ok(self.try_wait()?.map(|status| (status, spent)));
            }
            if started.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What it, and those before it with the same file, said on standard error.
    pub fn said(&self) -> String {
        fs::read(&self.said)
            .map_or_else(|error| error.to_string(), |said| String::from_utf8_lossy(&said).into_owned())
    }

    /// The last line of that.
    pub fn last_words(&self) -> String {
        self.said().lines().last().unwrap_or("").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a command that does one thing, and gives its exit code and what it said on standard output and standard error.
///
/// # Errors
/// It can't be started, or doesn't end, which for such a command is the environment's fault or a hang.
pub fn run(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Ran, Failure> {
    let at = |error: &dyn Display| Failure::environment(format_args!("{}: {error}", program.display()));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: as in `Process::start`.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    let mut child = command.spawn().map_err(|error| at(&error))?;
    let started = Instant::now();
    // What they say fits into a pipe, so that nobody has to read meanwhile.
    while child.try_wait().map_err(|error| at(&error))?.is_none() {
        if started.elapsed() >= COMMAND_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(at(&format_args!("has not ended for {COMMAND_LIMIT:?}")));
        }
        thread::sleep(LOOK_EVERY);
    }
    let output = child.wait_with_output().map_err(|error| at(&error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Ran { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// How a process ended, in words.
pub fn manner(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// The CPU time that a process has used, and those of its children that it has waited for; to within 20 ms.
pub fn cpu_time_with_children(pid: u32) -> Duration {
    /// What the kernel shows times in: 100 a second, wherever Linux runs.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, and ends with the last parenthesis. What follows is field 3.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u32 = fields.skip(14 - 3).take(4).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// The children of a process: a signer's workers.
pub fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Sends a signal to `child` if it is a child of `parent`, so that no stranger that has got its id is hit.
pub fn signal_child_of(parent: u32, child: u32, signal: Signal) -> bool {
    let pid = Pid::from_raw(child.cast_signed()).filter(|_| children_of(parent).contains(&child));
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// The processes that were started with this ring as an argument.
pub fn processes_of(ring: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_process_of(*pid, ring)).collect()
}

/// Kills the processes that were started with this ring, which is a run's own, as an argument.
pub fn kill_processes_of(ring: &Path) {
    for pid in processes_of(ring).into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Whether process `pid` was started with this ring as an argument. A dead one that nobody has waited for was not.
pub fn is_process_of(pid: u32, ring: &Path) -> bool {
    let ring = ring.as_os_str().as_encoded_bytes();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == ring)
}
