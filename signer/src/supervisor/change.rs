//! What an operator changes while records are signed: one thing at a time, all of it or nothing.
//!
//! A **swap** puts a module in the place of another in every worker: it is prepared in a process of its own, made ready
//! by each worker beside what serves, committed to disk, and switched to. A new **key** and new **limits** come with new
//! workers: they stand by, with everything ready, until the old ones have finished their batches and are gone, so that
//! no process has ever known two keys.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use extension_engine::Limits;

use super::seat::{Seat, State};
use super::{GRACE, Supervisor};
use crate::assignment::{Assignment, unix_ms};
use crate::control::api::{Answer, Event, Reason, Refused, Swapped};
use crate::key::Key;
use crate::limits;
use crate::manner::manner;
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

pub(super) enum Step {
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
pub(super) enum NewTerms {
    Key(Key),
    Limits(Limits),
}

impl Change {
    pub fn new(reply: Reply, step: Step) -> Self {
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
    fn further(&mut self, change: Change) -> Option<Change> {
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
                        tracing::warn!("a worker has not switched yet; it will at its next batch");
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
                    if let Some(reply) = change.reply {
                        reply(Ok(answer));
                    }
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
        let (method, generation) = (Some(next.method), Some(next.generation));
        self.publish(Event { unix_ms: unix_ms(), kind: "swapped", worker: None, method, generation, text });
        Some(Change { reply, since: Instant::now(), step: Step::Switch { next, prepare, install } })
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

    /// Tells everybody who is there to finish; nobody is started any more.
    pub(super) fn tell_off(&mut self) {
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
                self.tally.key_rotations += 1;
                (self.key, self.public_key) = (key, public_key.clone());
                self.tell("key-rotated", None, format!("records are signed for {public_key}"));
                Answer::Rotated { public_key }
            }
            NewTerms::Limits(limits) => {
                self.work.limits = limits;
                self.tally.limit_changes += 1;
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
        let manner = lost.and_then(|worker| worker.reap().ok()).map(manner).unwrap_or_default();
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
pub(super) fn dismiss(seats: &mut [Seat]) {
    for worker in seats.iter_mut().filter_map(|seat| seat.standby.take()) {
        // It holds nothing.
        let _ = worker.end();
    }
}
