//! A round: one ring under load, and stops of its roles.

use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use rustix::process::Signal;
use shmem_layout::{Held, Owner, Ring, RingError};

use crate::support::load::{Load, Part, SOURCES, Shape, Totals, Trouble};
use crate::support::process::{children_of, signal_child_of};
use crate::support::rng::Rng;
use crate::support::session::Session;

/// Roles of one ring that are stopped at once, at most.
const AT_ONCE: usize = 2;

/// How long somebody of a ring may be stopped without a break: well below the time after which a wait is a stall.
const SPAN_MAX: Duration = Duration::from_secs(40);

/// How long everybody may take to join.
const JOINED_WITHIN: Duration = Duration::from_secs(20);

/// How long to wait for a member to have something in its hands before it is stopped.
const LIE_IN_WAIT: Duration = Duration::from_millis(20);

const TICK: Duration = Duration::from_millis(1);

/// What was stopped, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stops {
    /// All.
    pub count: u64,
    /// Of a producer, a worker, the supervisor, the consumer.
    of: [u64; 4],
    /// Of somebody with claims in its hands.
    holding: u64,
    /// Longer than ten seconds.
    long: u64,
    /// Claims taken from somebody alive.
    pub takeovers: u64,
}

impl Stops {
    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        for (of, other) in self.of.iter_mut().zip(other.of) {
            *of += other;
        }
        self.holding += other.holding;
        self.long += other.long;
        self.takeovers += other.takeovers;
    }
}

impl fmt::Display for Stops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of: [producers, workers, supervisors, consumers], holding, long, .. } = self;
        write!(
            f,
            "stopped: producers {producers}, workers {workers}, supervisors {supervisors}, consumers {consumers}; \
             {holding} had claims in their hands, {long} were stopped for over 10 s"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Part(Part),
    /// A worker, by its process id.
    Worker(u32),
}

/// A round to be run.
pub struct Plan {
    shape: Shape,
    durations: Vec<Duration>,
    rng: Rng,
}

impl Plan {
    /// Draws a round of `stops` stops.
    pub fn draw(runtime: &str, stops: u64, longest: Duration, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        let durations: Vec<_> =
            (0..stops).map(|_| rng.log_duration(Duration::from_micros(200)..longest)).collect();
        let rate = if matches!(runtime, "wasmi" | "wasm3") { 300 } else { 4000 };
        let seconds = durations.iter().sum::<Duration>().as_secs() + 20;
        let shape = Shape {
            runtime: runtime.into(),
            method: "ecdsa",
            signer_arguments: Vec::new(),
            consumer_arguments: Vec::new(),
            workers: rng.within(1..3),
            verify_threads: rng.within(1..3),
            capacity: rng.choose(&[64, 256, 1024]),
            max_attempts: 3,
            sizes: 32..64,
            rate: Some(rate),
            // A schedule goes on while its producer is stopped.
            lines: rate * seconds,
        };
        Self { shape, durations, rng }
    }

    /// Runs it, in this thread.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn run(mut self, session: &Session) -> Result<(Stops, Totals), Failure> {
        let load = Load::new(session, self.shape, &mut self.rng)?;
        let mut stopper = Stopper {
            load,
            rng: self.rng,
            stops: Stops::default(),
            stopped: Vec::new(),
            workers: Vec::new(),
            members: Vec::new(),
            span: Instant::now(),
        };
        let trouble = stopper.stop_all(self.durations);
        for stopped in std::mem::take(&mut stopper.stopped) {
            stopper.signal(stopped.who, Signal::CONT);
        }
        let Stopper { load, stops, .. } = stopper;
        Ok((stops, load.finish(session, trouble)?))
    }
}

/// Somebody who is stopped.
struct Stopped {
    who: Who,
    until: Instant,
    /// What was in its hands when it stood still.
    held: Vec<Held>,
    owner: Option<Owner>,
}

struct Stopper {
    load: Load,
    rng: Rng,
    stops: Stops,
    stopped: Vec<Stopped>,
    workers: Vec<u32>,
    /// The members that everybody is from the first to the last: process id, and index and generation.
    members: Vec<(u32, Owner)>,
    /// Since when somebody has been stopped.
    span: Instant,
}

impl Stopper {
    fn stop_all(&mut self, mut durations: Vec<Duration>) -> Result<(), Trouble> {
        for part in Part::ALL {
            self.load.start(part)?;
        }
        self.await_members()?;
        let mut next = Instant::now();
        while !(durations.is_empty() && self.stopped.is_empty()) {
            let now = Instant::now();
            if let Some(number) = self.stopped.iter().position(|stopped| stopped.until <= now) {
                let stopped = self.stopped.swap_remove(number);
                self.go_on(stopped)?;
            }
            if now >= next && self.stopped.len() < AT_ONCE {
                if let Some(duration) = durations.pop() {
                    self.stop(duration)?;
                }
                next = Instant::now() + self.rng.duration(Duration::ZERO..Duration::from_millis(60));
            }
            self.see_that_nobody_is_robbed_or_ends()?;
            thread::sleep(TICK);
        }
        if members(self.load.ring())? != self.members {
            return Err(Trouble::Fault("the members are not those that they were at first".into()));
        }
        Ok(())
    }

    /// Waits until everybody has joined and something was delivered.
    fn await_members(&mut self) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            let snapshot = self.load.ring().snapshot()?;
            let workers = self.load.id(Part::Signer).map(children_of).unwrap_or_default();
            self.members = members(self.load.ring())?;
            if self.members.len() == SOURCES.len() + 1 + workers.len()
                && snapshot.sources.iter().filter(|source| source.next > 0).count() == SOURCES.len()
            {
                self.workers = workers;
                return Ok(());
            }
            if started.elapsed() > JOINED_WITHIN {
                return Err(Trouble::Fault(format!("only {:?} have joined", self.members)));
            }
            thread::sleep(TICK);
        }
    }

    /// Stops somebody who is not stopped yet, workers above all.
    fn stop(&mut self, duration: Duration) -> Result<(), Trouble> {
        let worker = self.rng.choose(&self.workers);
        let who = loop {
            let who = match self.rng.within(0..100) {
                0..40 => Who::Worker(worker),
                40..60 => Who::Part(Part::Producer(self.rng.within(0..2) as usize)),
                60..85 => Who::Part(Part::Consumer),
                _ => Who::Part(Part::Signer),
            };
            if self.stopped.iter().all(|stopped| stopped.who != who) {
                break who;
            }
        };
        let pid = self.pid(who);
        let owner = self.members.iter().find(|(member, _)| *member == pid).map(|(_, owner)| *owner);
        if let (Some(owner), true) = (owner, self.rng.percent(70)) {
            let waited = Instant::now();
            while waited.elapsed() < LIE_IN_WAIT && held_by(self.load.ring(), owner)?.is_empty() {}
        }
        self.signal(who, Signal::STOP);
        let sent = Instant::now();
        while !is_stopped(pid) {
            if sent.elapsed() > JOINED_WITHIN {
                return Err(Trouble::Fault(format!("{who:?} does not stop")));
            }
        }
        let held = owner.map_or(Ok(Vec::new()), |owner| held_by(self.load.ring(), owner))?;
        if self.stopped.is_empty() {
            self.span = Instant::now();
        }
        let until = (Instant::now() + duration).min(self.span + SPAN_MAX);
        self.stops.count += 1;
        self.stops.of[match who {
            Who::Part(Part::Producer(_)) => 0,
            Who::Worker(_) => 1,
            Who::Part(Part::Signer) => 2,
            Who::Part(Part::Consumer) => 3,
        }] += 1;
        self.stops.holding += u64::from(!held.is_empty());
        self.stops.long += u64::from(until - Instant::now() > Duration::from_secs(10));
        self.stopped.push(Stopped { who, until, held, owner });
        Ok(())
    }

    /// What somebody had in its hands when it was stopped must be there still; then it may go on.
    fn go_on(&mut self, stopped: Stopped) -> Result<(), Trouble> {
        let held = stopped.owner.map_or(Ok(Vec::new()), |owner| held_by(self.load.ring(), owner))?;
        self.signal(stopped.who, Signal::CONT);
        self.load.forgive();
        if held == stopped.held {
            return Ok(());
        }
        self.stops.takeovers += 1;
        Err(Trouble::Fault(format!(
            "{:?} was robbed while it was stopped: of {:?} it has {held:?} left",
            stopped.who, stopped.held
        )))
    }

    fn see_that_nobody_is_robbed_or_ends(&mut self) -> Result<(), Trouble> {
        let tried =
            self.load.ring().held()?.into_iter().find(|held| held.attempts > 0 || held.recovery.is_some());
        if let Some(held) = tried {
            self.stops.takeovers += 1;
            return Err(Trouble::Fault(format!("a record of somebody alive was taken over: {held:?}")));
        }
        for part in Part::ALL {
            if let Some(status) = self.load.ended(part)? {
                return Err(self.load.fault(part, status));
            }
        }
        if self.load.id(Part::Signer).map(children_of).unwrap_or_default() != self.workers {
            return Err(Trouble::Fault("a worker has ended".into()));
        }
        if self.stopped.is_empty() {
            self.load.look()?;
        }
        Ok(())
    }

    fn pid(&self, who: Who) -> u32 {
        match who {
            Who::Part(part) => self.load.id(part).unwrap_or_default(),
            Who::Worker(pid) => pid,
        }
    }

    fn signal(&self, who: Who, signal: Signal) {
        match who {
            Who::Part(part) => self.load.signal(part, signal),
            Who::Worker(pid) => {
                signal_child_of(self.load.id(Part::Signer).unwrap_or_default(), pid, signal);
            }
        }
    }
}

fn held_by(ring: &Ring, owner: Owner) -> Result<Vec<Held>, RingError> {
    Ok(ring.held()?.into_iter().filter(|held| held.owner == owner).collect())
}

/// The living members.
fn members(ring: &Ring) -> Result<Vec<(u32, Owner)>, RingError> {
    let members = ring.members()?.into_iter().filter(|member| member.is_alive);
    Ok(members.map(|member| (member.pid, member.owner)).collect())
}

/// Whether the kernel says that process `pid` stands still: a signal is sent before it takes effect.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it is in brackets, and may itself hold some.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
