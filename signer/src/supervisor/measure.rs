//! What the supervisor tells of itself and its workers when metrics are asked for.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::UNIX_EPOCH;

use cli::Exit;

use super::Supervisor;
use super::seat::Seat;
use crate::metrics::{Course, ModuleInfo, Server, Snapshot, Tally};
use crate::overdue;

impl Supervisor<'_> {
    /// Answers who asks for a snapshot.
    pub(super) fn heed_questions(&self) {
        while let Some(question) = self.metrics.as_ref().map(Server::questions).and_then(|inbox| inbox.next())
        {
            // Who has hung up hears nothing.
            let _ = question.send(Box::new(self.snapshot()));
        }
    }

    fn snapshot(&self) -> Snapshot {
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let newest = self.seats.iter().map(|seat| &seat.page).max_by_key(|page| page.ring_seen_ns.get());
        let ring = newest.map(|page| (page.ring_used.get(), page.ring_capacity.get()));
        let modules = self.assignments.present.iter().map(|assignment| ModuleInfo {
            method: assignment.method.name(),
            runtime: assignment.runtime,
            variant: assignment.variant.clone(),
            sha256: assignment.sha256.clone(),
            generation: assignment.generation,
        });
        Snapshot {
            started_unix_seconds: started.as_secs_f64(),
            totals: self.totals(),
            workers: self.seats.len(),
            workers_ready: self
                .seats
                .iter()
                .filter_map(Seat::worker)
                .filter(|worker| worker.is_ready)
                .count(),
            tally: self.tally,
            generation: self.assignments.generation,
            modules: modules.collect(),
            locked: self.locked(),
            ring: ring.filter(|(_, capacity)| *capacity > 0),
            course: self.course(),
        }
    }

    fn course(&self) -> Course {
        match self.ending.as_ref().map(|ending| &ending.failure) {
            None => Course::On,
            // A signal's failure is none of ours.
            Some(Some(failure)) if failure.exit > Exit::Failed => Course::GivenUp(failure.message.clone()),
            Some(_) => Course::Draining,
        }
    }
}

impl Tally {
    /// Counts a death, by how it came about.
    pub(super) fn note_death(&mut self, status: ExitStatus) {
        let reason = match (status.signal(), status.code()) {
            (Some(libc::SIGKILL), _) => 0,
            (Some(_), _) => 1,
            (None, Some(101)) => 2,
            (None, Some(overdue::EXIT_CODE)) => 3,
            (None, _) => 4,
        };
        self.deaths[reason] += 1;
    }
}
