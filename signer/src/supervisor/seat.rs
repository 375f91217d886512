//! A worker's process, and its place, which one process after another may take.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::assignment::Assignments;
use crate::key::Key;
use crate::orders::{self, Order, Word};
use crate::stats::{Page, Stats, Totals};
use crate::{WorkOptions, descriptors, kin};

/// The first and the longest wait before a worker that got nowhere is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What a worker may say that is no line, and the longest line.
const WORDS_MAX: usize = 8192;

/// The place of one worker.
pub(super) struct Seat {
    pub state: State,
    /// A worker on standby, to take the place of the one that is there.
    pub standby: Option<Worker>,
    /// What its earlier workers counted, whose pages are gone.
    pub past: Totals,
    /// The page of the present worker, or of the last one: who takes a dead one's place goes on counting.
    pub page: Page,
    /// What its workers had achieved at the last death.
    progress: Progress,
    /// Deaths in a row without any.
    pub fruitless_deaths: u32,
    pub deaths: u64,
    pub last_death: String,
}

pub(super) enum State {
    Running(Worker),
    /// To be started then.
    Due(Instant),
    /// Has answered all there was, or was told to stop.
    Ended,
}

/// Records answered, and how far into the ring claims have got: a record that kills its worker again and again is
/// given up in the end, and the next one is progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    answered: u64,
    claimed_end: u64,
}

impl Seat {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            state: State::Due(Instant::now()),
            standby: None,
            past: Totals::default(),
            page: Page::new()?,
            progress: Progress::default(),
            fruitless_deaths: 0,
            deaths: 0,
            last_death: String::new(),
        })
    }

    /// The worker, if there is one.
    pub fn worker(&self) -> Option<&Worker> {
        match &self.state {
            State::Running(worker) => Some(worker),
            _ => None,
        }
    }

    /// As [`worker`](Self::worker).
    pub fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.state {
            State::Running(worker) => Some(worker),
            _ => None,
        }
    }

    /// What its workers have counted, all of them.
    pub fn totals(&self) -> Totals {
        self.past + self.page.totals()
    }

    /// Notes a death, and says how long to wait before the next start.
    pub fn note_death(&mut self, death: &str) -> Duration {
        let progress = Progress::of(&self.page);
        self.fruitless_deaths = if progress == self.progress { self.fruitless_deaths + 1 } else { 0 };
        self.progress = progress;
        self.deaths += 1;
        death.clone_into(&mut self.last_death);
        backoff(self.fruitless_deaths)
    }

    /// The worker on standby takes the place, whose last worker is gone.
    pub fn hand_over(&mut self) {
        if let Some(mut standby) = self.standby.take() {
            standby.say(&Order::Go);
            if let Some(page) = standby.page.take() {
                self.past = self.past + self.page.totals();
                (self.page, self.progress) = (page, Progress::default());
            }
            self.state = State::Running(standby);
        }
    }
}

/// A process.
pub(super) struct Worker {
    pub child: Child,
    control: UnixStream,
    /// What it has said since the last whole line.
    words: Vec<u8>,
    /// What it has said that is no word, before it ends.
    last_words: Vec<u8>,
    /// While it is on standby.
    page: Option<Page>,
    pub is_ready: bool,
    /// What it has been told to make ready, and what is.
    pub told: u32,
    pub installed: u32,
    /// What its batches are signed with.
    pub generation: u32,
}

/// What worker `number` is told of `work`.
fn of_worker(number: usize, work: &WorkOptions) -> WorkOptions {
    let mut work = work.clone();
    work.placement.cpus = work.placement.cpus.map(|cpus| cpus.nth(number));
    work
}

/// What came of listening.
pub(super) enum Heard {
    Words(Vec<Word>),
    /// It is gone, with its last words.
    End(String),
}

impl Worker {
    /// Executes this very program again, and hands it one end of a socket, with the key and `assignments` in it. One
    /// on standby gets a page of its own, any other one `page`.
    pub fn start(
        number: usize,
        work: &WorkOptions,
        key: &Key,
        assignments: &Assignments,
        page: Option<&Page>,
    ) -> io::Result<Self> {
        let own = if page.is_none() { Some(Page::new()?) } else { None };
        let (child, mut control) = kin::start("worker", |command| {
            command.args(of_worker(number, work).to_arguments());
            if let Some(page) = page.or(own.as_ref()) {
                descriptors::hand_on(command, "--stats", page.descriptor()?);
            }
            Ok(())
        })?;
        // If it is dead already, its socket says so.
        let _ = control.write_all(key.bytes());
        let mut worker = Self {
            child,
            control,
            words: Vec::new(),
            last_words: Vec::new(),
            page: own,
            is_ready: false,
            told: 0,
            installed: 0,
            generation: assignments.generation,
        };
        worker.say(&Order::Start { assignments: Box::new(assignments.clone()), standby: page.is_none() });
        Ok(worker)
    }

    /// The socket, which is readable when there is something to hear.
    pub fn control(&self) -> &UnixStream {
        &self.control
    }

    /// Tells it. If it is dead, its socket says so.
    pub fn say(&mut self, order: &Order) {
        let _ = orders::say(&self.control, order);
    }

    /// Takes in what it says, without waiting.
    pub fn listen(&mut self) -> Heard {
        let mut heard = Vec::new();
        if !kin::has_spoken(&self.control) {
            return Heard::Words(heard);
        }
        let mut bytes = [0; 4096];
        match self.control.read(&mut bytes) {
            Ok(0) => {
                self.last_words.append(&mut self.words);
                return Heard::End(String::from_utf8_lossy(&self.last_words).trim().to_owned());
            }
            Ok(len) => {
                self.words.extend_from_slice(&bytes[..len.min(WORDS_MAX.saturating_sub(self.words.len()))])
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Heard::End(error.to_string()),
        }
        while let Some(end) = self.words.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.words.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(word) => heard.push(word),
                Err(_) => self.last_words = line,
            }
        }
        Heard::Words(heard)
    }

    /// Asks it to end after its batch.
    pub fn terminate(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // If it is dead already, its socket says so. Its id is its own until we have waited for it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for the end of one that is gone, or about to be.
    pub fn reap(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Ends it, and waits for that.
    pub fn end(mut self) -> io::Result<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait()
    }
}

impl Progress {
    fn of(stats: &Stats) -> Self {
        let totals = stats.totals();
        Self { answered: totals.signed() + totals.failed(), claimed_end: stats.claimed_end.get() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_got_somewhere_is_started_at_once_and_others_ever_later_up_to_a_second() {
        let waits = [0, 1, 2, 3, 7, 8, 10, u32::MAX].map(|deaths| backoff(deaths).as_millis());
        assert_eq!(waits, [0, 10, 20, 40, 640, 1000, 1000, 1000]);
    }
}
