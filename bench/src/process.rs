//! Processes of a run: none outlives it, and none is waited for without end.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;

use crate::Result;

/// How long anything may take that should be there soon.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is killed when this is dropped, or when this process dies.
pub struct Process {
    name: String,
    child: Child,
    is_reaped: bool,
}

impl Process {
    /// Starts `command`, called `name` in what is said about it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        // SAFETY: `prctl` is a system call and no more: allowed between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { name: name.to_owned(), child, is_reaped: false })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended, for `limit` at most, and gives its CPU time with that of those it has waited for. An
    /// error if it didn't end well.
    pub fn finish(mut self, limit: Duration) -> Result<Duration> {
        let (status, cpu) = self.wait(limit)?;
        if status.success() { Ok(cpu) } else { Err(format!("{} ended with {status}", self.name).into()) }
    }

    /// Asks it to end, and waits for that, however it ends.
    pub fn stop(mut self) -> Result<Duration> {
        // SAFETY: the child has not been waited for, so its id is its own.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        Ok(self.wait(PATIENCE)?.1)
    }

    fn wait(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: zeroes are a valid rusage, and both are ours to be written.
            let (pid, usage) = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                let id = self.child.id().cast_signed();
                (libc::wait4(id, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
            };
            match pid {
                0 if started.elapsed() > limit => {
                    return Err(format!("{} has not ended after {limit:?}", self.name).into());
                }
                0 => std::thread::sleep(Duration::from_millis(1)),
                -1 => return Err(std::io::Error::last_os_error().into()),
                _ => {
                    self.is_reaped = true;
                    let time = |t: libc::timeval| {
                        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
                    };
                    return Ok((ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime)));
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// This binary again, in another role: told by lines, and answering with lines of JSON.
pub struct Peer {
    process: Process,
    input: Option<ChildStdin>,
    output: File,
}

impl Peer {
    /// Starts it with `arguments`.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_command(
            &arguments.join(" "),
            Command::new(std::env::current_exe()?).arg("role").args(arguments),
        )
    }

    /// Starts `command`, which is told and answers in the same way.
    pub fn start_command(name: &str, command: &mut Command) -> Result<Self> {
        let mut process = Process::start(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let input = process.child.stdin.take();
        let output = process.child.stdout.take().ok_or("it was started with a pipe")?;
        Ok(Self { process, input, output: File::from(std::os::fd::OwnedFd::from(output)) })
    }

    /// Tells it `line`.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let mut input = self.input.as_ref().ok_or("its input was closed")?;
        Ok(input.write_all(format!("{line}\n").as_bytes())?)
    }

    /// What it says next.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.line().map_err(|error| format!("{}: {error}", self.process.name))?;
        serde_json::from_str(&line).map_err(|error| format!("{}: {error}: {line}", self.process.name).into())
    }

    /// A byte at a time, so that `poll` always knows whether there is more: lines are short and few.
    fn line(&self) -> Result<String> {
        let mut line = Vec::new();
        let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        loop {
            if poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&limit))? == 0 {
                return Err(format!("says nothing for {PATIENCE:?}").into());
            }
            let mut byte = [0];
            if rustix::io::read(&self.output, &mut byte)? == 0 {
                return Err("has ended; what it said of it stands above".into());
            }
            if byte == *b"\n" {
                return Ok(String::from_utf8(line)?);
            }
            line.push(byte[0]);
        }
    }

    /// Closes its input, which ends it, and gives its CPU time.
    pub fn finish(mut self) -> Result<Duration> {
        self.input = None;
        self.process.finish(PATIENCE)
    }
}

/// In a role: the next line that it is told; none at the end.
pub fn told() -> Result<Option<String>> {
    let mut line = String::new();
    Ok((std::io::stdin().read_line(&mut line)? > 0).then(|| line.trim_end().to_owned()))
}

/// In a role: says something.
pub fn say(value: &impl serde::Serialize) -> Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes())?;
    Ok(output.flush()?)
}

/// The CPU time of this process so far.
pub fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Where folders in memory are made.
const MEMORY: &str = "/dev/shm";

/// What the names of a run's folders begin with; then comes its process id.
const PREFIX: &str = "ringseal-bench-";

/// A private folder in memory, gone when this is dropped.
pub fn work_folder() -> Result<tempfile::TempDir> {
    let place = Path::new(MEMORY);
    let place = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
    let private = std::fs::Permissions::from_mode(0o700);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).permissions(private).tempdir_in(place)?)
}

/// Removes what runs that were killed have left in memory: folders, and what iceoryx2 names after them.
pub fn remove_leftovers() {
    for entry in std::fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((_, rest)) = name.split_once(PREFIX) else { continue };
        let pid = rest.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let path = entry.path();
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }
}

/// Ends this process unless it is dropped in time: for what could wait for a dead peer without end.
pub struct Watchdog(#[allow(dead_code, reason = "dropped, and nothing else")] SyncSender<()>);

impl Watchdog {
    /// Barks after `limit`.
    pub fn new(name: String, limit: Duration) -> Result<Self> {
        let (alive, dropped) = sync_channel(0);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("ringseal-bench: {name} has taken more than {limit:?}");
                std::process::exit(1);
            }
        })?;
        Ok(Self(alive))
    }
}
