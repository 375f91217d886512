//! Who is killed, and how often.

use std::fmt;

use shmem_layout::Role;

use crate::support::load::Part;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The producer of this source.
    Producer(usize),
    /// The consumer.
    Consumer,
    /// The signer's supervisor.
    Supervisor,
    /// Any of the signer's.
    Worker,
}

impl Who {
    /// The part to be started again after its death; a worker is the supervisor's to start.
    pub fn part(self) -> Option<Part> {
        match self {
            Who::Producer(source) => Some(Part::Producer(source)),
            Who::Consumer => Some(Part::Consumer),
            Who::Supervisor => Some(Part::Signer),
            Who::Worker => None,
        }
    }

    /// Its role in the ring: the supervisor has none.
    pub fn role(self) -> Option<Role> {
        match self {
            Who::Producer(_) => Some(Role::Producer),
            Who::Consumer => Some(Role::Consumer),
            Who::Worker => Some(Role::Signer),
            Who::Supervisor => None,
        }
    }
}

/// How often each role was killed while it was at work; as a quota, how often it is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    producer: u64,
    worker: u64,
    supervisor: u64,
    consumer: u64,
    /// Before it had joined the ring. These come on top.
    early: u64,
}

impl Kills {
    /// Kills of the role that was killed least.
    pub fn least(&self) -> u64 {
        self.producer.min(self.worker + self.supervisor).min(self.consumer)
    }

    /// Kills of the role that was killed most.
    pub fn most(&self) -> u64 {
        self.producer.max(self.worker + self.supervisor).max(self.consumer)
    }

    /// What is missing until each role was killed `due` times; the signer's share is all in `worker`.
    pub fn missing(&self, due: u64) -> Self {
        let missing = |kills: u64| due.saturating_sub(kills);
        Self {
            producer: missing(self.producer),
            worker: missing(self.worker + self.supervisor),
            consumer: missing(self.consumer),
            ..Self::default()
        }
    }

    /// At most `limit` of each role.
    pub fn min(self, limit: u64) -> Self {
        let of = |kills: u64| kills.min(limit);
        Self { producer: of(self.producer), worker: of(self.worker), consumer: of(self.consumer), ..self }
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.producer += other.producer;
        self.worker += other.worker;
        self.supervisor += other.supervisor;
        self.consumer += other.consumer;
        self.early += other.early;
    }

    /// Whether the role of `who` has had its share of `quota`.
    pub fn has(&self, quota: &Self, who: Who) -> bool {
        match who {
            Who::Producer(_) => self.producer >= quota.producer,
            Who::Worker | Who::Supervisor => self.worker + self.supervisor >= quota.worker,
            Who::Consumer => self.consumer >= quota.consumer,
        }
    }

    /// Counts a kill of somebody who was at work.
    pub fn count(&mut self, who: Who) {
        match who {
            Who::Producer(_) => self.producer += 1,
            Who::Worker => self.worker += 1,
            Who::Supervisor => self.supervisor += 1,
            Who::Consumer => self.consumer += 1,
        }
    }

    /// Counts a kill of somebody who had not joined yet.
    pub fn count_early(&mut self) {
        self.early += 1;
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, worker, supervisor, consumer, early } = self;
        write!(
            f,
            "killed at work: producers {producer}, workers {worker}, supervisors {supervisor}, consumers {consumer}; \
             and {early} before they had joined"
        )
    }
}
