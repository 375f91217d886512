//! A load: a ring with two producers, a signer and a consumer at work, and how it comes to its end and is judged.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use cli::{Exit, Failure};
use rustix::process::Signal;
use shmem_layout::{Ring, RingError, attach};

use super::judge::{Judgement, judge};
use super::ledger::Ledger;
use super::process::{Process, kill_processes_of, manner, processes_of};
use super::rng::Rng;
use super::session::Session;
use super::site::Site;

/// A load that delivers nothing for so long is wedged.
pub const WEDGED_AFTER: Duration = Duration::from_secs(20);

/// How long a member may take to be gone after its process has ended: the kernel lets locks go late.
const GONE_WITHIN: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The sources, each with a producer of its own.
pub const SOURCES: [&str; 2] = ["alpha", "beta"];

/// The exit code of a producer that was told to stop.
const INTERRUPTED: i32 = 1;

/// Whether a part may have ended like this while the load comes to its end. A producer that has only just been started dies of
/// the signal that tells it to stop.
fn is_in_order(part: Part, status: ExitStatus) -> bool {
    let was_starting = matches!(part, Part::Producer(_)) && status.signal() == Some(Signal::TERM.as_raw());
    was_starting || matches!(status.code(), Some(0 | INTERRUPTED))
}

/// What a load is like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What signs.
    pub runtime: String,
    /// What it signs.
    pub method: &'static str,
    /// More arguments of the signer, and of the consumer.
    pub signer_arguments: Vec<String>,
    /// As the last.
    pub consumer_arguments: Vec<String>,
    /// How many workers.
    pub workers: u64,
    /// Threads of the consumer that verify: with one, the consumer is what the others wait for.
    pub verify_threads: u64,
    /// Slots.
    pub capacity: u64,
    /// Signers that may die with a record in hand.
    pub max_attempts: u64,
    /// Lengths of the messages.
    pub sizes: Range<u64>,
    /// Messages a second from each producer; `None` for all that the ring takes.
    pub rate: Option<u64>,
    /// Lines in each ledger: more than the load can deliver.
    pub lines: u64,
}

/// One of the processes that the campaign starts. Workers are the signer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The producer of this source.
    Producer(usize),
    /// The signer's supervisor.
    Signer,
    /// The consumer.
    Consumer,
}

impl Part {
    /// All, the consumer first, so that nobody waits for it.
    pub const ALL: [Part; 4] = [Part::Consumer, Part::Signer, Part::Producer(0), Part::Producer(1)];

    fn index(self) -> usize {
        match self {
            Part::Producer(source) => source,
            Part::Signer => 2,
            Part::Consumer => 3,
        }
    }
}

/// Why a load has failed.
#[derive(Debug)]
pub enum Trouble {
    /// It is the programs' fault, in words.
    Fault(String),
    /// Nothing moves any more.
    Wedged(String),
    /// The campaign itself can't go on.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure.exit {
            Exit::Failed => Self::Fault(failure.message),
            _ => Self::Failure(failure),
        }
    }
}

impl From<RingError> for Trouble {
    fn from(error: RingError) -> Self {
        Self::Fault(error.to_string())
    }
}

/// What loads came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Lines in the journals.
    pub delivered: u64,
    /// Lines of the ledgers that are not.
    pub lost: u64,
    /// Lines that are there twice.
    pub doubled: u64,
    /// Lines with a wrong message or signature.
    pub unverified: u64,
    /// Lines without a signature, because signers died with them.
    pub failed: u64,
    /// Slots whose producer died while writing.
    pub void: u64,
    /// Loads in which nothing moved any more.
    pub wedged: u64,
}

impl Totals {
    /// Adds what another load came to.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.unverified += other.unverified;
        self.failed += other.failed;
        self.void += other.void;
        self.wedged += other.wedged;
    }
}

/// A load, all of whose processes end with it.
pub struct Load {
    site: Site,
    ring: Ring,
    shape: Shape,
    ledgers: Vec<Ledger>,
    /// By [`Part::index`].
    processes: [Option<Process>; 4],
    watch: Watch,
}

impl Load {
    /// Makes ring and ledgers. Nobody is at work yet.
    ///
    /// # Errors
    /// They can't be made.
    pub fn new(session: &Session, shape: Shape, rng: &mut Rng) -> Result<Self, Failure> {
        let site = Site::new(session)?;
        let number = |flag: &str, value: u64| [flag.to_owned(), value.to_string()];
        let arguments = [
            number("--capacity", shape.capacity),
            number("--message-capacity", shape.sizes.end.max(64)),
            number("--max-attempts", shape.max_attempts),
        ];
        site.create_ring(&arguments.concat())?;
        let ring = attach(&site.ring_path())
            .map_err(|error| Failure::failed(format_args!("a new ring can't be attached to: {error}")))?;
        let mut ledgers = Vec::new();
        for source in SOURCES {
            ledgers.push(Ledger::write(&site, source, shape.lines, shape.sizes.clone(), rng)?);
        }
        Ok(Self { site, ring, shape, ledgers, processes: [const { None }; 4], watch: Watch::new() })
    }

    /// The same, with a signer that serves an operator from a folder `control`.
    ///
    /// # Errors
    /// They can't be made.
    pub fn with_control(session: &Session, shape: Shape, rng: &mut Rng) -> Result<Self, Failure> {
        let mut load = Self::new(session, shape, rng)?;
        let control = load.site.path("control").display().to_string();
        load.shape.signer_arguments.extend(["--control".to_owned(), control]);
        Ok(load)
    }

    /// The ring, attached to without a role.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where it happens.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Starts a part, for the first time or again.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&mut self, part: Part) -> Result<(), Failure> {
        let process = match part {
            Part::Producer(source) => {
                let rate = self.shape.rate.map(|rate| ["--rate".to_owned(), rate.to_string()]);
                let mut arguments = self.ledgers[source].arguments();
                arguments.extend(rate.into_iter().flatten());
                arguments.extend(["--method".to_owned(), self.shape.method.into()]);
                self.site.producer(SOURCES[source], &arguments)?
            }
            Part::Signer => {
                let mut arguments = vec!["--workers".to_owned(), self.shape.workers.to_string()];
                arguments.extend_from_slice(&self.shape.signer_arguments);
                self.site.signer(&self.shape.runtime, &arguments)?
            }
            Part::Consumer => {
                let mut arguments =
                    vec!["--verify-threads".to_owned(), self.shape.verify_threads.to_string()];
                arguments.extend_from_slice(&self.shape.consumer_arguments);
                self.site.consumer(&arguments)?
            }
        };
        self.processes[part.index()] = Some(process);
        Ok(())
    }

    /// The process of a part, if it was started.
    pub fn process(&mut self, part: Part) -> Option<&mut Process> {
        self.processes[part.index()].as_mut()
    }

    /// The process id of a part that was started and not waited for.
    pub fn id(&self, part: Part) -> Option<u32> {
        self.processes[part.index()].as_ref().map(Process::id)
    }

    /// Sends a part a signal.
    pub fn signal(&self, part: Part, signal: Signal) {
        if let Some(process) = &self.processes[part.index()] {
            process.signal(signal);
        }
    }

    /// How a part has ended, if it has.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn ended(&mut self, part: Part) -> Result<Option<ExitStatus>, Failure> {
        self.process(part).map_or(Ok(None), Process::try_wait)
    }

    /// Looks whether anything moves; to be asked all the time, and cheap.
    ///
    /// # Errors
    /// Nothing has, for [`WEDGED_AFTER`].
    pub fn look(&mut self) -> Result<(), Trouble> {
        self.watch.look(&self.ring)
    }

    /// Forgets for how long nothing has moved: somebody was kept from it on purpose.
    pub fn forgive(&mut self) {
        self.watch = Watch::new();
    }

    /// Says that a part ended that nobody has told to.
    pub fn fault(&mut self, part: Part, status: ExitStatus) -> Trouble {
        let process = self.process(part);
        let (name, words) = process.map_or((String::new(), String::new()), |process| {
            (format!("{} (pid {})", process.name(), process.id()), process.last_words())
        });
        Trouble::Fault(format!("{name} ended by itself with {}; last words {words:?}", manner(status)))
    }

    /// Lets the load come to its end, judges it, and says what was wrong. `trouble` is what was found before.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn finish(self, session: &Session, trouble: Result<(), Trouble>) -> Result<Totals, Failure> {
        self.finish_with(session, trouble, |site, ledgers| judge(&site.out(), site.public_key(), ledgers))
    }

    /// As [`Load::finish`], with another judge: it is given how many lines of each ledger must have been delivered.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn finish_with(
        mut self,
        session: &Session,
        trouble: Result<(), Trouble>,
        judge: impl FnOnce(&Site, &[(&Ledger, u64)]) -> Result<Judgement, Failure>,
    ) -> Result<Totals, Failure> {
        let mut totals = Totals::default();
        let mut complaints = Vec::new();
        match trouble.and_then(|()| self.end()) {
            Ok(asked) => {
                let ledgers: Vec<_> = self.ledgers.iter().zip(asked).collect();
                let judgement = judge(&self.site, &ledgers)?;
                totals.delivered = judgement.lines;
                (totals.lost, totals.doubled) = (judgement.lost, judgement.doubled);
                (totals.unverified, totals.void) = (judgement.unverified, judgement.void);
                totals.failed = judgement.failed.len() as u64;
                complaints.extend(judgement.complaints);
                if let Some((source, position, status)) = judgement.failed.first() {
                    complaints.push(format!("not signed: {source} {position}: {status}"));
                }
            }
            Err(Trouble::Wedged(what)) => {
                totals.wedged = 1;
                complaints.push(what);
            }
            Err(Trouble::Fault(what)) => complaints.push(what),
            Err(Trouble::Failure(failure)) => return Err(failure),
        }
        if !complaints.is_empty() {
            for complaint in complaints {
                session.complain(complaint);
            }
            self.processes = [const { None }; 4];
            // Workers that have outlived their supervisor are nobody's.
            kill_processes_of(&self.site.ring());
            session.say(format_args!("{:?}: {}", self.shape, self.site.keep()));
        }
        Ok(totals)
    }

    /// Stops the producers, lets each send a last few lines and end by itself, closes the ring, and waits for all to end.
    /// Gives how many lines of each source must have been delivered: what was asked for, and not what a ring says.
    fn end(&mut self) -> Result<Vec<u64>, Trouble> {
        self.forgive();
        for source in 0..SOURCES.len() {
            self.signal(Part::Producer(source), Signal::TERM);
        }
        for source in 0..SOURCES.len() {
            self.await_end(Part::Producer(source), &[0, 1])?;
        }
        let sources = self.ring.snapshot()?.sources;
        let mut asked = Vec::new();
        for (number, name) in SOURCES.iter().enumerate() {
            let next = sources.iter().find(|source| source.name == *name).map_or(0, |source| source.next);
            // Beyond all that may be in the ring.
            let messages = (next + self.shape.capacity + 100).min(self.shape.lines);
            let mut arguments = self.ledgers[number].arguments();
            arguments.extend(["--messages".to_owned(), messages.to_string()]);
            arguments.extend(["--method".to_owned(), self.shape.method.into()]);
            self.processes[number] = Some(self.site.producer(name, &arguments)?);
            asked.push(messages);
        }
        for source in 0..SOURCES.len() {
            self.await_end(Part::Producer(source), &[0])?;
        }
        self.site.close_ring()?;
        self.await_end(Part::Signer, &[0])?;
        self.await_end(Part::Consumer, &[0])?;
        self.await_nobody()?;
        Ok(asked)
    }

    /// Waits until a part has ended with one of `codes`. What the others wait for may be gone meanwhile: nobody may fail.
    fn await_end(&mut self, part: Part, codes: &[i32]) -> Result<(), Trouble> {
        loop {
            for other in Part::ALL {
                let status = self.ended(other)?;
                if let Some(status) = status.filter(|status| !is_in_order(other, *status)) {
                    return Err(self.fault(other, status));
                }
            }
            match self.ended(part)? {
                Some(status) if codes.contains(&status.code().unwrap_or(INTERRUPTED)) => return Ok(()),
                Some(status) => return Err(self.fault(part, status)),
                None if self.process(part).is_none() => return Ok(()),
                None => {}
            }
            self.look()?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until no member lives and no process of the load is left.
    fn await_nobody(&self) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            let alive = self.ring.members()?.iter().filter(|member| member.is_alive).count();
            let left = processes_of(&self.site.ring());
            if alive == 0 && left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > GONE_WITHIN {
                return Err(Trouble::Fault(format!("left behind: {alive} members, processes {left:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// How far the sources have got, and since when they are no further.
struct Watch {
    delivered: u64,
    moved: Instant,
    looked: Instant,
}

impl Watch {
    const EVERY: Duration = Duration::from_millis(100);

    fn new() -> Self {
        let now = Instant::now();
        Self { delivered: 0, moved: now, looked: now }
    }

    fn look(&mut self, ring: &Ring) -> Result<(), Trouble> {
        if self.looked.elapsed() < Self::EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        let snapshot = ring.snapshot()?;
        let delivered = snapshot.sources.iter().map(|source| source.next).sum();
        if delivered != self.delivered {
            (self.delivered, self.moved) = (delivered, self.looked);
        }
        if self.moved.elapsed() < WEDGED_AFTER {
            return Ok(());
        }
        let (slots, held) = (snapshot.slots, snapshot.held);
        Err(Trouble::Wedged(format!(
            "wedged: nothing was delivered for {WEDGED_AFTER:?}; slots {slots:?}, held {held:?}"
        )))
    }
}
