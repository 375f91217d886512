//! The supervisor: starts workers, starts those again that die, and ends when they have signed everything.
//!
//! One thread. It sleeps until a worker's socket ends, which is how it learns that the worker is gone, a signal
//! arrives, or it is time to start somebody again.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cli::{Exit, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::key::Key;
use crate::report::Report;
use crate::stats::{Page, Stats};
use crate::{SupervisorOptions, descriptors};

/// After this many deaths in a row, in all of which the worker got nowhere, there is no point in another start.
const DEATHS_MAX: u32 = 10;

/// The first and the longest wait before a worker that got nowhere is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long a worker that was told to stop may take over its batch.
const GRACE: Duration = Duration::from_secs(3);

/// Supervises until every worker is done.
pub(crate) fn run(options: &SupervisorOptions) -> Result<Exit, Failure> {
    let key = options.key.read()?;
    // Before anything is signed, so that nothing is signed in vain.
    let report =
        options.report.as_ref().map(|path| Ok((path, File::create(path).map_err(|e| cant_write(path, &e))?)));
    let report = report.transpose()?;
    let mut supervisor = Supervisor::new(options, &key).map_err(Failure::environment)?;
    let outcome = supervisor.supervise();
    if let Some((path, file)) = report {
        supervisor.report().write(file).map_err(|error| cant_write(path, &error))?;
    }
    outcome
}

fn cant_write(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::environment(format_args!("report {}: {error}", path.display()))
}

struct Supervisor<'a> {
    options: &'a SupervisorOptions,
    key: &'a Key,
    seats: Vec<Seat>,
    deaths: u64,
    /// Set by a signal, which also makes `signals` readable.
    stop: Arc<AtomicBool>,
    signals: UnixStream,
    /// Why everybody is told to stop, and when those who don't are killed.
    ending: Option<(Failure, Instant)>,
}

/// The place of one worker, which one process after another may take.
struct Seat {
    page: Page,
    state: State,
    /// What its workers had achieved at the last death.
    progress: Progress,
    /// Deaths in a row without any.
    fruitless_deaths: u32,
}

/// Records answered, and how far into the ring claims have got: a record that kills its worker again and again is
/// given up in the end, and the next one is progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    answered: u64,
    claimed_end: u64,
}

enum State {
    Running(Worker),
    /// To be started then.
    Due(Instant),
    /// Has answered all there was, or was told to stop.
    Ended,
}

struct Worker {
    child: Child,
    control: UnixStream,
    /// What it says before it ends early.
    last_words: Vec<u8>,
}

impl<'a> Supervisor<'a> {
    fn new(options: &'a SupervisorOptions, key: &'a Key) -> io::Result<Self> {
        // The flag first: who finds the socket readable finds the flag set.
        let stop = cli::stop_on_signals()?;
        let (signals, waker) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        let seat = |_| {
            let state = State::Due(Instant::now());
            Ok(Seat { page: Page::new()?, state, progress: Progress::default(), fruitless_deaths: 0 })
        };
        let seats = (0..options.workers).map(seat).collect::<io::Result<_>>()?;
        Ok(Self { options, key, seats, deaths: 0, stop, signals, ending: None })
    }

    fn supervise(&mut self) -> Result<Exit, Failure> {
        loop {
            self.start_who_is_due();
            if self.seats.iter().all(|seat| matches!(seat.state, State::Ended)) {
                break;
            }
            self.sleep();
            self.listen();
            self.heed_time_and_signals();
        }
        let total = |of: fn(&Stats) -> u64| self.seats.iter().map(|seat| of(&seat.page)).sum::<u64>();
        let (signed, failed) = (total(Stats::signed), total(Stats::failed));
        match self.ending.take() {
            Some((failure, _)) => Err(failure),
            None if failed > 0 => Err(Failure::failed(format_args!(
                "{failed} of {} records could not be signed",
                signed + failed
            ))),
            None => Ok(Exit::Done),
        }
    }

    fn start_who_is_due(&mut self) {
        let now = Instant::now();
        for number in 0..self.seats.len() {
            if matches!(self.seats[number].state, State::Due(time) if time <= now) {
                match self.start(&self.seats[number].page) {
                    Ok(worker) => self.seats[number].state = State::Running(worker),
                    Err(error) => {
                        self.seats[number].state = State::Ended;
                        self.end(Failure::environment(format_args!("can't start worker {number}: {error}")));
                    }
                }
            }
        }
    }

    /// Executes this very program again, and hands it one end of a socket, with the key in it.
    fn start(&self, page: &Page) -> io::Result<Worker> {
        let (mut control, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("signer").arg("worker").args(self.options.work.to_arguments());
        command.args(["--supervisor", &std::process::id().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        descriptors::hand_on(&mut command, "--control", theirs.into());
        descriptors::hand_on(&mut command, "--stats", page.descriptor()?);
        let child = command.spawn()?;
        // With our copy of the worker's end, so that there is an end when it dies.
        drop(command);
        // If it is dead already, its socket says so.
        let _ = control.write_all(self.key.bytes());
        Ok(Worker { child, control, last_words: Vec::new() })
    }

    /// Sleeps until a worker says something or dies, a signal arrives, or a time has come.
    fn sleep(&self) {
        let workers = self.seats.iter().filter_map(|seat| match &seat.state {
            State::Running(worker) => Some(&worker.control),
            _ => None,
        });
        let sockets = workers.chain([&self.signals]);
        let mut polled: Vec<_> =
            sockets.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)).collect();
        let due = self.seats.iter().filter_map(|seat| match seat.state {
            State::Due(time) => Some(time),
            _ => None,
        });
        let next = due.chain(self.ending.iter().map(|(_, time)| *time)).min();
        let timeout = next.and_then(|time| {
            // A ms more, so that the time has come when we wake.
            Timespec::try_from(time.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).ok()
        });
        // A signal may interrupt it; whatever the reason, what follows looks at everything.
        let _ = poll(&mut polled, timeout.as_ref());
    }

    /// Hears the workers out, and sees to those who are gone.
    fn listen(&mut self) {
        for number in 0..self.seats.len() {
            let State::Running(worker) = &mut self.seats[number].state else { continue };
            if worker.has_ended() {
                let (words, pid) =
                    (String::from_utf8_lossy(&worker.last_words).into_owned(), worker.child.id());
                match worker.child.wait() {
                    Ok(status) => self.see_off(number, pid, status, words),
                    Err(error) => {
                        self.seats[number].state = State::Ended;
                        self.end(Failure::environment(format_args!(
                            "can't wait for worker {number}: {error}"
                        )));
                    }
                }
            }
        }
    }

    /// Decides what follows from a worker's end.
    fn see_off(&mut self, number: usize, pid: u32, status: ExitStatus, words: String) {
        self.seats[number].state = State::Ended;
        let words = match words.is_empty() {
            true => format!("worker {number} (pid {pid}) {}", manner(status)),
            false => words,
        };
        match status.code() {
            Some(0) => {}
            Some(2) => self.end(Failure::bad_input(words)),
            Some(3) => self.end(Failure::environment(words)),
            _ if self.ending.is_some() => {}
            _ => self.start_again(number, pid, status),
        }
    }

    fn start_again(&mut self, number: usize, pid: u32, status: ExitStatus) {
        self.deaths += 1;
        let seat = &mut self.seats[number];
        let progress = Progress::of(&seat.page);
        seat.fruitless_deaths = if progress == seat.progress { seat.fruitless_deaths + 1 } else { 0 };
        seat.progress = progress;
        let death = format!("worker {number} (pid {pid}) {}", manner(status));
        if seat.fruitless_deaths >= DEATHS_MAX {
            return self.end(Failure::environment(format_args!(
                "{death}; {DEATHS_MAX} in a row got nowhere, so it is given up"
            )));
        }
        let wait = backoff(seat.fruitless_deaths);
        seat.state = State::Due(Instant::now() + wait);
        // A closed standard error must not stop the signing.
        let _ = writeln!(io::stderr(), "signer: {death}; starting another one");
    }

    /// Tells everybody to stop. The first reason is the one that counts.
    fn end(&mut self, failure: Failure) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((failure, Instant::now() + GRACE));
        for seat in &mut self.seats {
            match &seat.state {
                State::Running(worker) => worker.terminate(),
                State::Due(_) => seat.state = State::Ended,
                State::Ended => {}
            }
        }
    }

    fn heed_time_and_signals(&mut self) {
        if self.stop.load(Ordering::Relaxed) && self.ending.is_none() {
            let mut byte = [0];
            let _ = self.signals.read(&mut byte);
            self.end(Failure::failed("interrupted"));
        }
        if self.ending.as_ref().is_some_and(|(_, time)| *time <= Instant::now()) {
            for seat in &mut self.seats {
                if let State::Running(worker) = &mut seat.state {
                    // If it is dead already, its socket says so.
                    let _ = worker.child.kill();
                }
            }
        }
    }

    fn report(&self) -> Report {
        let pages: Vec<&Stats> = self.seats.iter().map(|seat| &*seat.page).collect();
        Report::new(self.options, self.deaths, &pages)
    }
}

impl Worker {
    /// Takes in what the worker says, if anything; true at the end of its socket.
    fn has_ended(&mut self) -> bool {
        const WORDS_MAX: usize = 4096;
        let mut polled = [PollFd::from_borrowed_fd(self.control.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(poll(&mut polled, Some(&now)), Ok(1)) {
            return false;
        }
        let mut words = [0; 512];
        match self.control.read(&mut words) {
            Ok(0) => true,
            Ok(len) => {
                let room = WORDS_MAX - self.last_words.len();
                self.last_words.extend_from_slice(&words[..len.min(room)]);
                false
            }
            Err(error) => error.kind() != ErrorKind::Interrupted,
        }
    }

    fn terminate(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // If it is dead already, its socket says so. Its id is its own until we have waited for it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Progress {
    fn of(stats: &Stats) -> Self {
        Self { answered: stats.signed() + stats.failed(), claimed_end: stats.claimed_end.get() }
    }
}

/// How long to wait after so many deaths in a row without progress.
fn backoff(fruitless_deaths: u32) -> Duration {
    let (first, longest) = BACKOFF;
    match fruitless_deaths {
        0 => Duration::ZERO,
        deaths => (first * (1 << (deaths - 1).min(16))).min(longest),
    }
}

/// How a process died, in words.
fn manner(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match Signal::from_named_raw(signal) {
            Some(named) => format!("was killed by signal {signal} ({named:?})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, Some(101)) => "panicked".to_owned(),
        (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_got_somewhere_is_started_at_once_and_others_ever_later_up_to_a_second() {
        let waits = [0, 1, 2, 3, 7, 8, 10, u32::MAX].map(|deaths| backoff(deaths).as_millis());
        assert_eq!(waits, [0, 10, 20, 40, 640, 1000, 1000, 1000]);
    }

    #[test]
    fn a_death_is_told_in_words() {
        let words = [0x6500, 9, 0x0100].map(|raw| manner(ExitStatus::from_raw(raw)));
        assert_eq!(words[0], "panicked");
        assert!(words[1].starts_with("was killed by signal 9"), "{}", words[1]);
        assert_eq!(words[2], "ended with exit code 1");
    }
}
