//! What the supervisor answers to an operator.

use super::Supervisor;
use super::seat::{Seat, State};
use crate::assignment::Assignment;
use crate::control::Server;
use crate::control::api::{Answer, Command, Counters, ModuleEntry, Reason, Request, Status, WorkerStatus};

impl Supervisor<'_> {
    /// Answers what can be answered at once, and begins the rest.
    pub(super) fn heed_requests(&mut self) {
        while let Some(Request { command, reply }) = self.control.as_ref().and_then(Server::next_request) {
            match command {
                Command::Status => reply(Ok(Answer::Status(Box::new(self.status())))),
                Command::ListModules => reply(Ok(Answer::Modules(self.modules()))),
                Command::Drain if self.ending.is_some() => {
                    reply(Err(super::change::refused(Reason::NotNow, "the signer ends")));
                }
                Command::Drain => {
                    self.tell("draining", None, "nothing more is claimed".to_owned());
                    self.stop_all(None);
                    reply(Ok(Answer::Done));
                }
                change => self.begin(change, reply),
            }
        }
    }

    fn status(&self) -> Status {
        let totals = self.totals();
        Status {
            version: shmem_layout::VERSION.to_owned(),
            pid: std::process::id(),
            ring: self.work.ring.to_string(),
            uptime: self.started.elapsed(),
            draining: self.ending.is_some(),
            public_key: self.public_key.clone(),
            generation: self.assignments.generation,
            limits: self.work.limits.clone(),
            memory_locked: self.locked().map_or_else(String::new, |locked| locked.name().to_owned()),
            workers: (0..).zip(&self.seats).map(|(number, seat)| seat_status(number, seat)).collect(),
            methods: self.assignments.present.iter().map(|assignment| assignment.entry(true)).collect(),
            counters: Counters {
                signed: totals.signed(),
                failed: totals.failed(),
                batches: totals.batches,
                restores: totals.restores,
                replacements: totals.replacements,
                worker_deaths: self.deaths(),
                swaps: totals.swaps,
                cache_memory_hits: totals.cache_memory_hits,
                cache_disk_hits: totals.cache_disk_hits,
                cache_misses: totals.cache_misses,
            },
        }
    }

    fn modules(&self) -> Vec<ModuleEntry> {
        let present = self.assignments.present.iter().map(|assignment| assignment.entry(true));
        let previous = self.assignments.previous.iter().flatten().map(|assignment| assignment.entry(false));
        present.chain(previous).collect()
    }
}

fn seat_status(number: u32, seat: &Seat) -> WorkerStatus {
    let totals = seat.totals();
    let state = match &seat.state {
        State::Running(worker) if worker.is_ready => "ready",
        State::Running(_) => "starting",
        State::Due(_) => "waiting to start",
        State::Ended => "ended",
    };
    WorkerStatus {
        number,
        pid: seat.worker().map_or(0, |worker| worker.child.id()),
        state,
        generation: seat.worker().map_or(0, |worker| worker.generation),
        signed: totals.signed(),
        failed: totals.failed(),
        deaths: seat.deaths,
        last_death: seat.last_death.clone(),
    }
}

impl Assignment {
    /// As an operator is told.
    pub(super) fn entry(&self, present: bool) -> ModuleEntry {
        ModuleEntry {
            method: self.method,
            generation: self.generation,
            runtime: self.runtime,
            sha256: self.sha256.clone(),
            variant: self.variant.clone(),
            label: self.label.clone(),
            present,
            since_unix_ms: self.since_unix_ms,
        }
    }
}
