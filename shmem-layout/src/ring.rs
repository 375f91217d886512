//! A checked ring, and what anybody may do with it who holds no role.

use std::io;

use crate::cells::{Cells, Event, Hint, Ordering};
use crate::failpoint::failpoint;
use crate::fault::FaultGuard;
use crate::membership::{JoinError, Member, Role};
use crate::protocol::{Claimed, Core, RingError};
use crate::recovery::Recovered;
use crate::region::Region;
use crate::spec::RingSpec;
use crate::stall::{Pending, Stall, Watch};
use crate::state::{Owner, Stage};
use crate::sys;
use crate::view::in_use;
use crate::wait::Waiting;
use crate::{Consumer, Producer, Signer};

/// A ring that was checked at attach. To take part in it, join with a role: a process attaches once for each.
pub struct Ring {
    spec: RingSpec,
    pub(crate) core: Core,
    /// Who has joined through this attachment.
    pub(crate) me: Owner,
    _guard: Option<FaultGuard>,
    /// Last: dropped after `core`, whose cells point into it.
    region: Region,
}

/// Why a wait ended without what it waited for.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The stop flag was set.
    #[error("stopped")]
    Stopped,
    /// Something is pending, and nothing has moved for [`Waiting::stall_after`].
    #[error(transparent)]
    Stalled(#[from] Stall),
    /// Nothing is pending, and nothing can come any more: the ring has lost its name.
    #[error("it was removed while it was in use; make a new one with `ringctl create`")]
    Removed,
    /// The ring itself.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// What a member waits for.
pub(crate) struct WaitsFor<'a> {
    pub event: Event,
    /// Whose claims are not to be touched: the waiter's, if it holds any.
    pub holder: Owner,
    /// What is pending meanwhile: `None` while there is nothing that somebody should have done by now.
    pub pending: &'a dyn Fn(&Core) -> Option<Pending>,
}

impl Ring {
    pub(crate) fn new(spec: RingSpec, core: Core, guard: Option<FaultGuard>, region: Region) -> Self {
        Self { spec, core, me: Owner::NOBODY, _guard: guard, region }
    }

    /// Our copy of the spec.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// Maps all of the ring into this process, so that no record waits for a page: the first one of each is met in the
    /// middle of the work otherwise.
    ///
    /// # Errors
    /// The kernel's: there is no memory for the tables, or it is older than 5.14.
    pub fn prefault(&self) -> io::Result<()> {
        sys::populate(self.region.base(), self.region.len())
    }

    /// How many slots are in use, by the hints alone: a moment's impression, which costs two loads.
    pub fn slots_in_use(&self) -> u64 {
        let hint = |hint| self.cells().hint(hint).load(Ordering::Relaxed);
        in_use(hint(Hint::Head), hint(Hint::Tail), self.cells().geometry.capacity)
    }

    /// Who has joined through this attachment: its index and generation in the member table.
    pub fn member(&self) -> Owner {
        self.me
    }

    /// What was taken from dead members through this attachment until now.
    pub fn recovered(&self) -> Recovered {
        self.core.recovered.get()
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
        Ok(Producer::new(self.join(Role::Producer)?, source))
    }

    /// Joins as a signer.
    ///
    /// # Errors
    /// The member table is full.
    pub fn join_signer(self) -> Result<Signer, JoinError> {
        Ok(Signer::new(self.join(Role::Signer)?))
    }

    /// Joins as the consumer.
    ///
    /// # Errors
    /// There is a live one.
    pub fn join_consumer(self) -> Result<Consumer, JoinError> {
        Ok(Consumer::new(self.join(Role::Consumer)?))
    }

    fn join(mut self, role: Role) -> Result<Self, JoinError> {
        self.me = self.core.join(role)?;
        self.core.recover(self.me)?;
        Ok(self)
    }

    /// Ends the stream: claims the next sequence as closed, once there is a free slot. False if it was closed before.
    ///
    /// # Errors
    /// Stopped while waiting for a slot, or the ring itself.
    pub fn close(&self, waiting: &Waiting) -> Result<bool, WaitError> {
        let outcome = self.wait_for_slot(Stage::Closed, Owner::NOBODY, waiting, &mut Watch::default())?;
        failpoint("close: closed");
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
        watch: &mut Watch,
    ) -> Result<Claimed, WaitError> {
        let attempt = || match self.core.claim_free(stage, owner) {
            Ok(Claimed::Full) => None,
            outcome => Some(outcome.map_err(WaitError::Ring)),
        };
        let room = WaitsFor { event: Event::Freed, holder: Owner::NOBODY, pending: &Core::pending_room };
        self.wait(&room, waiting, watch, attempt, || None)
    }

    /// Waits until `attempt` gives something, and looks after the dead and after `watch` meanwhile. `idle` may end the wait too.
    pub(crate) fn wait<T>(
        &self,
        what: &WaitsFor<'_>,
        waiting: &Waiting,
        watch: &mut Watch,
        attempt: impl FnMut() -> Option<Result<T, WaitError>>,
        mut idle: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let mut habit = watch.habit;
        let idle = || {
            if waiting.is_stopped() {
                return Some(Err(WaitError::Stopped));
            }
            if let Err(error) = self.core.recover(what.holder) {
                return Some(Err(error.into()));
            }
            let mut is_removed = false;
            let pending = || {
                let pending = (what.pending)(&self.core);
                // What is pending may still be done. Who can't tell whether the ring is there goes on.
                is_removed = pending.is_none() && self.core.locks.is_removed().unwrap_or(false);
                pending
            };
            let stalled = watch.look(waiting.stall_after, pending);
            if is_removed {
                return Some(Err(WaitError::Removed));
            }
            if let Some(stalled) = stalled {
                let stall = self.core.stall(waiting.stall_after, stalled, self.me);
                return Some(Err(stall.map_or_else(WaitError::Ring, WaitError::Stalled)));
            }
            idle().map(Ok)
        };
        let found = self.cells().wait(what.event, waiting.strategy, &mut habit, attempt, idle);
        watch.habit = habit;
        found
    }

    /// Takes from every dead member what it holds. Members do this by themselves while they wait.
    ///
    /// # Errors
    /// A damaged ring, or a kernel that doesn't say who lives.
    pub fn recover(&self) -> Result<Recovered, RingError> {
        self.core.recover(self.me)
    }

    /// Every member, present and past.
    ///
    /// # Errors
    /// The kernel doesn't say who lives.
    pub fn members(&self) -> Result<Vec<Member>, RingError> {
        self.core.members(self.me)
    }
}
