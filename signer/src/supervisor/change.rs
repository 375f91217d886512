//! What an operator changes while records are signed: one thing at a time, all of it or nothing.
//!
//! A **swap** puts a module in the place of another in every worker: it is prepared in a process of its own, made ready
//! by each worker beside what serves, committed to disk, and switched to. A new **key** and new **limits** come with new
//! workers: they stand by, with everything ready, until the old ones have finished their batches and are gone, so that
//! no process has ever known two keys.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use cli::Method;
use extension_engine::{Limits, Module, Runtime};

use super::seat::{Seat, State, Worker};
use super::{GRACE, Supervisor, say};
use crate::KeySource;
use crate::assignment::{Assignment, unix_ms};
use crate::control::api::{Answer, Command, Event, LimitChanges, Reason, Refused, Replacement, Swapped};
use crate::key::Key;
use crate::limits;
use crate::orders::Order;
use crate::prepare::Preparation;

/// How long workers may take to make something ready, or to switch: longer than a batch, and than any pause that is
/// worth waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a preparation may take that has other limits of its own: one that was stopped, by a debugger or a mistake.
const PREPARATION: Duration = Duration::from_secs(110);

/// Takes the answer.
pub(super) type Reply = Box<dyn FnOnce(Result<Answer, Refused>) + Send>;

/// A change under way.
pub(super) struct Change {
    reply: Option<Reply>,
    /// When its present step began.
    since: Instant,
    step: Step,
}

enum Step {
    Prepare {
        next: Assignment,
        preparation: Preparation,
    },
    Install {
        next: Assignment,
        prepare: Duration,
    },
    Switch {
        next: Assignment,
        prepare: Duration,
        install: Duration,
    },
    /// Workers on standby are started.
    StandBy(NewTerms),
    /// The old ones finish.
    HandOver(NewTerms),
}

/// What new workers come with.
enum NewTerms {
    Key(Key),
    Limits(Limits),
}

impl Change {
    fn new(reply: Reply, step: Step) -> Self {
        Self { reply: Some(reply), since: Instant::now(), step }
    }

    /// Whether old workers end, to be followed by those on standby.
    pub fn is_handing_over(&self) -> bool {
        matches!(self.step, Step::HandOver(_))
    }

    /// The socket of the process that prepares, if one does.
    pub fn socket(&self) -> Option<&UnixStream> {
        match &self.step {
            Step::Prepare { preparation, .. } => Some(preparation.socket()),
            _ => None,
        }
    }

    /// When its present step has taken too long.
    pub fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Prepare { .. } => Some(self.since + PREPARATION),
            Step::HandOver(_) => Some(self.since + GRACE),
            _ => Some(self.since + PATIENCE),
        }
    }

    fn answer(&mut self, answer: Result<Answer, Refused>) {
        if let Some(reply) = self.reply.take() {
            reply(answer);
        }
    }
}

pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Refused {
    Refused { reason, message: message.into() }
}

impl Supervisor<'_> {
    /// Begins what `command` asks for, or refuses it.
    pub(super) fn begin(&mut self, command: Command, reply: Reply) {
        if self.ending.is_some() {
            return reply(Err(refused(Reason::NotNow, "the signer ends")));
        }
        if self.change.is_some() {
            return reply(Err(refused(Reason::NotNow, "another change is under way: wait for it")));
        }
        let step = match command {
            Command::Swap { method, to, runtime } => self.begin_swap(method, to, runtime),
            Command::SetLimits(changes) => self.begin_limits(&changes),
            Command::RotateKey { path } => {
                self.begin_rotation(path.map_or_else(|| self.options.key.clone(), KeySource::File))
            }
            Command::Status | Command::ListModules | Command::Drain => return,
        };
        match step {
            Ok(step) => self.change = Some(Change::new(reply, step)),
            Err(refusal) => reply(Err(refusal)),
        }
    }

    fn begin_swap(&self, method: Method, to: Replacement, runtime: Option<Runtime>) -> Result<Step, Refused> {
        let invalid = |error: &dyn std::fmt::Display| refused(Reason::Invalid, error.to_string());
        let present = self.assignments.of(method);
        if self.work.is_swapping {
            return Err(refused(Reason::NotNow, "--runner 3 swaps modules by itself"));
        }
        let runtime = runtime.unwrap_or(present.runtime);
        runtime.is_available().map_err(|error| invalid(&error))?;
        let next = match to {
            Replacement::BuiltIn => Assignment::built_in(method, runtime).map_err(|e| invalid(&e))?,
            Replacement::Module { label, bytes } => self.keep(method, runtime, label, bytes)?,
            Replacement::Present => present.on(runtime).map_err(|error| invalid(&error))?,
            Replacement::Previous => match self.assignments.before(method) {
                Some(previous) => previous.clone(),
                None => return Err(refused(Reason::NotNow, format!("{method} has had no other module yet"))),
            },
        };
        let generation = self.assignments.generation.checked_add(1);
        let generation =
            generation.ok_or_else(|| refused(Reason::NotNow, "there are no more generations"))?;
        let next = Assignment { generation, since_unix_ms: unix_ms(), ..next };
        let preparation = Preparation::start(&next, &self.work, true)
            .map_err(|error| refused(Reason::Unavailable, format!("can't prepare a module: {error}")))?;
        Ok(Step::Prepare { next, preparation })
    }

    /// Puts a module that came over the wire into the store.
    fn keep(
        &self,
        method: Method,
        runtime: Runtime,
        label: String,
        bytes: Vec<u8>,
    ) -> Result<Assignment, Refused> {
        let invalid = |error: &dyn std::fmt::Display| refused(Reason::Invalid, error.to_string());
        if runtime == Runtime::Native {
            let error = extension_engine::EngineError::NativeModule(label);
            return Err(invalid(&error));
        }
        let module = Module::from_bytes(label, bytes, &self.work.limits).map_err(|error| invalid(&error))?;
        let store =
            self.store.as_ref().ok_or_else(|| refused(Reason::NotNow, "there is no control directory"))?;
        let path = store
            .keep(&hex::encode(module.sha256()), module.bytes())
            .map_err(|error| refused(Reason::Unavailable, format!("can't keep the module: {error}")))?;
        Ok(Assignment::new(method, runtime, Some(&module), Some(path.into_os_string())))
    }

    fn begin_limits(&mut self, changes: &LimitChanges) -> Result<Step, Refused> {
        let limits = limits::checked(&changes.applied_to(&self.work.limits))
            .map_err(|failure| refused(Reason::Invalid, failure.message))?;
        self.stand_by(NewTerms::Limits(limits))
    }

    fn begin_rotation(&mut self, source: KeySource) -> Result<Step, Refused> {
        let key = source.read().map_err(|failure| refused(Reason::Invalid, failure.message))?;
        self.stand_by(NewTerms::Key(key))
    }

    /// Starts a worker on standby beside each one that is there.
    fn stand_by(&mut self, terms: NewTerms) -> Result<Step, Refused> {
        let (mut work, mut key) = (self.work.clone(), &self.key);
        match &terms {
            NewTerms::Key(new) => key = new,
            NewTerms::Limits(limits) => work.limits = limits.clone(),
        }
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if matches!(seat.state, State::Ended) {
                continue;
            }
            match Worker::start(&work, key, &self.assignments, None) {
                Ok(worker) => seat.standby = Some(worker),
                Err(error) => {
                    dismiss(&mut self.seats);
                    let why = format!("can't start another worker {number}: {error}");
                    return Err(refused(Reason::Unavailable, why));
                }
            }
        }
        Ok(Step::StandBy(terms))
    }

    /// Takes the change under way as far as it will go.
    pub(super) fn further_change(&mut self) {
        while let Some(change) = self.change.take() {
            let before = std::mem::discriminant(&change.step);
            self.change = self.further(change);
            if self.change.as_ref().is_none_or(|change| std::mem::discriminant(&change.step) == before) {
                break;
            }
        }
    }

    /// The change after its next step; none when it is over.
    fn further(&mut self, mut change: Change) -> Option<Change> {
        let took = change.since.elapsed();
        let is_late = change.deadline().is_some_and(|deadline| deadline <= Instant::now());
        let step = match change.step {
            Step::Prepare { next, mut preparation } => match preparation.poll() {
                None if is_late => Err(refused(Reason::Unavailable, "it could not be prepared in time")),
                None => Ok(Step::Prepare { next, preparation }),
                Some(Ok(())) => Ok(Step::Install { next, prepare: took }),
                Some(Err(why)) => Err(refused(Reason::Invalid, why)),
            },
            Step::Install { next, prepare } => {
                if self.install(&next) {
                    return self.commit(change.reply, next, prepare, took);
                }
                match is_late {
                    false => {
                        let step = Step::Install { next, prepare };
                        return Some(Change { step, ..change });
                    }
                    true => Err(refused(Reason::Unavailable, "a worker did not make it ready in time")),
                }
            }
            Step::Switch { next, prepare, install } => {
                let running = || self.seats.iter().filter_map(Seat::worker);
                if running().all(|worker| worker.generation >= next.generation) || is_late {
                    if is_late {
                        say("a worker has not switched yet; it will at its next batch");
                    }
                    if let Some(reply) = change.reply {
                        let module = next.entry(true);
                        reply(Ok(Answer::Swapped(Swapped { module, prepare, install, switch: took })));
                    }
                    return None;
                }
                return Some(Change { step: Step::Switch { next, prepare, install }, ..change });
            }
            Step::StandBy(terms) => {
                let mut standbys = self.seats.iter().filter_map(|seat| seat.standby.as_ref());
                if standbys.all(|worker| worker.is_ready) {
                    self.tell_off();
                    Ok(Step::HandOver(terms))
                } else if is_late {
                    Err(refused(Reason::Unavailable, "the new workers did not get ready in time"))
                } else {
                    return Some(Change { step: Step::StandBy(terms), ..change });
                }
            }
            Step::HandOver(terms) => {
                if self.seats.iter().all(|seat| matches!(seat.state, State::Ended)) {
                    let answer = self.hand_over(terms);
                    change.step = Step::HandOver(NewTerms::Limits(self.work.limits.clone()));
                    change.answer(Ok(answer));
                    return None;
                }
                if is_late {
                    for worker in self.seats.iter_mut().filter_map(Seat::worker_mut) {
                        // If it is dead already, its socket says so.
                        let _ = worker.child.kill();
                    }
                }
                return Some(Change { step: Step::HandOver(terms), ..change });
            }
        };
        match step {
            Ok(step) => {
                let same = matches!(step, Step::Prepare { .. });
                let since = if same { change.since } else { Instant::now() };
                Some(Change { step, since, reply: change.reply })
            }
            Err(refusal) => {
                self.undo();
                self.tell("refused", None, refusal.message.clone());
                if let Some(reply) = change.reply {
                    reply(Err(refusal));
                }
                None
            }
        }
    }

    /// Has every worker make `next` ready; true when all have.
    fn install(&mut self, next: &Assignment) -> bool {
        let mut all = true;
        for worker in self.seats.iter_mut().filter_map(Seat::worker_mut) {
            if worker.is_ready && worker.told != next.generation {
                worker.told = next.generation;
                worker.say(&Order::Install(next.clone()));
            }
            all &= worker.installed == next.generation;
        }
        all
    }

    /// The point of no return: first on disk, then in the workers.
    fn commit(
        &mut self,
        reply: Option<Reply>,
        next: Assignment,
        prepare: Duration,
        install: Duration,
    ) -> Option<Change> {
        let assignments = self.assignments.with(next.clone());
        if let Some(Err(error)) = self.store.as_ref().map(|store| store.commit(&assignments)) {
            self.undo();
            if let Some(reply) = reply {
                reply(Err(refused(Reason::Unavailable, format!("can't commit the swap to disk: {error}"))));
            }
            return None;
        }
        self.assignments = assignments;
        for worker in self.seats.iter_mut().filter_map(Seat::worker_mut) {
            worker.say(&Order::Commit(next.generation));
        }
        if let Some(store) = &self.store {
            store.sweep(&self.assignments);
        }
        let text = format!("{} is signed by {} on {}", next.method, next.label, next.runtime);
        self.tell_of_swap("swapped", &next, text);
        Some(Change { reply, since: Instant::now(), step: Step::Switch { next, prepare, install } })
    }

    fn tell_of_swap(&self, kind: &'static str, next: &Assignment, text: String) {
        if let Some(control) = &self.control {
            let (method, generation) = (Some(next.method), Some(next.generation));
            control.publish(Event { unix_ms: unix_ms(), kind, worker: None, method, generation, text });
        }
    }

    /// A worker could not make ready what it was told to.
    pub(super) fn refuse_install(&mut self, number: usize, generation: u32, why: &str) {
        let concerned = |change: &mut Change| matches!(&change.step, Step::Install { next, .. } if next.generation == generation);
        if let Some(mut change) = self.change.take_if(concerned) {
            self.undo();
            let message = format!("worker {number} could not make it ready: {why}");
            self.tell("refused", None, message.clone());
            change.answer(Err(refused(Reason::Invalid, message)));
        }
    }

    /// Gives up the change under way, if there is one.
    pub(super) fn abandon_change(&mut self, why: &str) {
        if let Some(mut change) = self.change.take() {
            self.undo();
            change.answer(Err(refused(Reason::NotNow, why)));
        }
    }

    /// Leaves everything as it was.
    fn undo(&mut self) {
        for worker in self.seats.iter_mut().filter_map(Seat::worker_mut) {
            if worker.told > self.assignments.generation {
                (worker.told, worker.installed) = (0, 0);
                worker.say(&Order::Discard);
            }
        }
        dismiss(&mut self.seats);
    }

    /// Tells those who are to be followed by others to finish.
    fn tell_off(&mut self) {
        for seat in &mut self.seats {
            match &seat.state {
                State::Running(worker) => worker.terminate(),
                State::Due(_) => seat.state = State::Ended,
                State::Ended => {}
            }
        }
    }

    /// The old workers are gone.
    fn hand_over(&mut self, terms: NewTerms) -> Answer {
        let answer = match terms {
            NewTerms::Key(key) => {
                let public_key = super::public_key(&key);
                (self.key, self.public_key) = (key, public_key.clone());
                self.tell("key-rotated", None, format!("records are signed for {public_key}"));
                Answer::Rotated { public_key }
            }
            NewTerms::Limits(limits) => {
                self.work.limits = limits;
                if let Some(control) = &self.control {
                    control.set_limits(&self.work.limits);
                }
                let flags = limits::to_arguments(&self.work.limits);
                let flags: Vec<_> = flags.iter().map(|flag| flag.to_string_lossy()).collect();
                self.tell("limits-set", None, format!("limits: {}", flags.join(" ")));
                Answer::Done
            }
        };
        self.seats.iter_mut().for_each(Seat::hand_over);
        answer
    }

    /// A worker on standby is gone. Once the old ones have been told to finish there is no way back: another one will
    /// be started in its place.
    pub(super) fn lose_standby(&mut self, number: usize, words: String) {
        if self.change.as_ref().is_some_and(Change::is_handing_over) {
            // Its end will be heard again when it has its place.
            return;
        }
        let lost = self.seats[number].standby.take();
        let manner = lost.and_then(|worker| worker.reap().ok()).map(super::manner).unwrap_or_default();
        let words = if words.is_empty() { format!("it {manner}") } else { words };
        if let Some(mut change) = self.change.take() {
            self.undo();
            let message = format!("another worker {number} could not be had: {words}");
            self.tell("refused", None, message.clone());
            change.answer(Err(refused(Reason::Invalid, message)));
        }
    }
}

/// Ends who stands by.
fn dismiss(seats: &mut [Seat]) {
    for worker in seats.iter_mut().filter_map(|seat| seat.standby.take()) {
        // It holds nothing.
        let _ = worker.end();
    }
}
