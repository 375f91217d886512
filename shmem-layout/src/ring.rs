//! A checked ring, and what anybody may do with it who holds no role.

use crate::cells::{Cells, Event, Hint, Ordering};
use crate::membership::{JoinError, Member, Role};
use crate::protocol::{Claimed, Core, Recovered, RingError};
use crate::region::Region;
use crate::source::Source;
use crate::spec::RingSpec;
use crate::state::{Owner, Stage, State};
use crate::wait::Waiting;
use crate::{Consumer, Producer, Signer};

/// A ring that was checked at attach. To take part in it, join with a role: a process attaches once for each.
pub struct Ring {
    spec: RingSpec,
    pub(crate) core: Core,
    /// Last: dropped after `core`, whose cells point into it.
    _region: Region,
}

/// Why a wait ended without what it waited for.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The stop flag was set.
    #[error("stopped")]
    Stopped,
    /// The ring itself.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// What a ring holds at one moment, as far as a moment can be had while others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The first sequence that may be unclaimed.
    pub head: u64,
    /// The first sequence that may wait for a signer.
    pub sign: u64,
    /// The first sequence that the consumer has not freed.
    pub tail: u64,
    /// Slots in each stage, in the order of [`Stage::ALL`].
    pub slots: [u64; 8],
    /// Slots with a state that no honest member writes.
    pub damaged: u64,
    /// Members, present and past.
    pub members: Vec<Member>,
    /// Sources.
    pub sources: Vec<Source>,
}

impl Ring {
    pub(crate) fn new(spec: RingSpec, core: Core, region: Region) -> Self {
        Self { spec, core, _region: region }
    }

    /// Our copy of the spec.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    pub(crate) fn cells(&self) -> &Cells {
        &self.core.cells
    }

    /// Joins as a producer for the source `name`.
    ///
    /// # Errors
    /// Another live producer writes for that source, or the tables are full.
    pub fn join_producer(self, name: &str) -> Result<Producer, JoinError> {
        let source = self.core.take_source(name)?;
        let owner = self.core.join(Role::Producer)?;
        self.core.recover(owner)?;
        Ok(Producer::new(self, owner, source))
    }

    /// Joins as a signer.
    ///
    /// # Errors
    /// The member table is full.
    pub fn join_signer(self) -> Result<Signer, JoinError> {
        let owner = self.core.join(Role::Signer)?;
        self.core.recover(owner)?;
        Ok(Signer::new(self, owner))
    }

    /// Joins as the consumer.
    ///
    /// # Errors
    /// There is a live one.
    pub fn join_consumer(self) -> Result<Consumer, JoinError> {
        let owner = self.core.join(Role::Consumer)?;
        self.core.recover(owner)?;
        Ok(Consumer::new(self, owner))
    }

    /// Ends the stream: claims the next sequence as closed, once there is a free slot. False if it was closed before.
    ///
    /// # Errors
    /// Stopped while waiting for a slot, or the ring itself.
    pub fn close(&self, waiting: &Waiting) -> Result<bool, WaitError> {
        let outcome = self.wait_for_slot(Stage::Closed, Owner::NOBODY, waiting)?;
        for event in [Event::Published, Event::Signed, Event::Freed] {
            self.cells().notify(event);
        }
        Ok(outcome != Claimed::Closed)
    }

    /// Claims a slot for `stage`, waiting while the ring is full.
    pub(crate) fn wait_for_slot(
        &self,
        stage: Stage,
        owner: Owner,
        waiting: &Waiting,
    ) -> Result<Claimed, WaitError> {
        let attempt = || match self.core.claim_free(stage, owner) {
            Ok(Claimed::Full) => None,
            outcome => Some(outcome.map_err(WaitError::Ring)),
        };
        self.wait(Event::Freed, owner, waiting, attempt, || None)
    }

    /// Waits on `event` as `waiting` says, and looks after the dead meanwhile. `idle` may end the wait too.
    pub(crate) fn wait<T>(
        &self,
        event: Event,
        me: Owner,
        waiting: &Waiting,
        attempt: impl FnMut() -> Option<Result<T, WaitError>>,
        mut idle: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let idle = || {
            if waiting.is_stopped() {
                return Some(Err(WaitError::Stopped));
            }
            if let Err(error) = self.core.recover(me) {
                return Some(Err(error.into()));
            }
            idle().map(Ok)
        };
        self.cells().wait(event, waiting.strategy, attempt, idle)
    }

    /// Takes from every dead member what it holds. Members do this by themselves while they wait.
    ///
    /// # Errors
    /// A damaged ring, or a kernel that doesn't say who lives.
    pub fn recover(&self) -> Result<Recovered, RingError> {
        self.core.recover(Owner::NOBODY)
    }

    /// Every member, present and past.
    ///
    /// # Errors
    /// The kernel doesn't say who lives.
    pub fn members(&self) -> Result<Vec<Member>, RingError> {
        self.core.members(Owner::NOBODY)
    }

    /// What the ring holds now.
    ///
    /// # Errors
    /// The kernel doesn't say who lives.
    pub fn snapshot(&self) -> Result<Snapshot, RingError> {
        let hint = |hint| self.cells().hint(hint).load(Ordering::Relaxed);
        let mut slots = [0; 8];
        let mut damaged = 0;
        for slot in 0..self.cells().geometry.capacity {
            match State(self.cells().state(slot).load(Ordering::Relaxed)).stage() {
                Some(stage) => slots[stage as usize - 1] += 1,
                None => damaged += 1,
            }
        }
        Ok(Snapshot {
            head: hint(Hint::Head),
            sign: hint(Hint::Sign),
            tail: hint(Hint::Tail),
            slots,
            damaged,
            members: self.members()?,
            sources: self.core.sources()?,
        })
    }
}
