//! Stalls: a wait in which something is pending and nothing moves ends with a named error, and not in silence.
//!
//! Only the waiter ends. Nobody's slot is taken: a member that is merely slow goes on, and so does whoever starts anew.

use std::fmt;
use std::time::{Duration, Instant};

use crate::cells::{Hint, Ordering};
use crate::membership::{Member, Role};
use crate::protocol::{Core, RingError};
use crate::state::{Owner, Stage, State};
use crate::wait::Habit;

/// How long nothing may move before a wait is a stall, unless the waiter says otherwise.
pub const STALL_AFTER: Duration = Duration::from_secs(60);

/// How often a waiter looks whether anything has moved; seldom, for it may look at every slot. What it does not see of the
/// time is not counted: a waiter that was itself stopped for an hour has not waited for an hour.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A sequence that somebody waits for, and the state that it is in meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub sequence: u64,
    pub state: State,
}

/// What a waiter remembers from one wait to the next: how long it has seen the same thing pending, and how long its waits are.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub habit: Habit,
    pending: Option<Pending>,
    looked: Option<Instant>,
    waited: Duration,
}

impl Watch {
    /// Looks, if it is time to: `pending` says what is waited for, if anything is. Gives what has been pending for `limit`.
    pub fn look(&mut self, limit: Duration, pending: impl FnOnce() -> Option<Pending>) -> Option<Pending> {
        let now = Instant::now();
        let since = self.looked.map_or(Duration::ZERO, |looked| now - looked);
        if self.looked.is_some() && since < LOOK_EVERY {
            return None;
        }
        self.looked = Some(now);
        let pending = pending();
        if pending != self.pending {
            self.pending = pending;
            self.waited = Duration::ZERO;
            return None;
        }
        self.waited += since.min(2 * LOOK_EVERY);
        pending.filter(|_| self.waited >= limit)
    }
}

/// A wait in which nothing has moved for too long: what it waited for, and who should have moved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// For how long.
    pub waited: Duration,
    /// The sequence that nothing happens to.
    pub sequence: u64,
    /// The stage that its slot is in.
    pub stage: Option<Stage>,
    /// In whose hands it is, or who should take it.
    pub waits_for: String,
}

impl std::error::Error for Stall {}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waited, sequence, stage, waits_for } = self;
        let stage = stage.map_or("in no stage", Stage::name);
        write!(
            f,
            "stalled: for {waited:?} sequence {sequence} has been {stage}, {waits_for}; see `ringctl check`"
        )
    }
}

impl Core {
    /// What a consumer that waits for `sequence` waits for: nothing while nothing was claimed from there on.
    pub fn pending_answer(&self, sequence: u64) -> Option<Pending> {
        let state = self.load(sequence, Ordering::Relaxed);
        let is_hole = || self.claimed_beyond(sequence);
        (state.stage() != Some(Stage::Free) || is_hole()).then_some(Pending { sequence, state })
    }

    /// Whether a slot was claimed for a later sequence. Claims are dense, so there is none while `sequence` itself is free.
    fn claimed_beyond(&self, sequence: u64) -> bool {
        let geometry = &self.cells.geometry;
        (0..geometry.capacity).any(|slot| {
            let state = State(self.cells.state(slot).load(Ordering::Relaxed));
            state.stage() != Some(Stage::Free) && geometry.sequence(state.lap(), slot) > sequence
        })
    }

    /// What a producer that finds the ring full waits for: the slot that it would claim next, which holds an earlier record.
    /// If that one is free, the hint has led it to another, as no honest one does, and is derived anew.
    pub fn pending_room(&self) -> Option<Pending> {
        let next = self.first_unclaimed();
        let state = self.load(next, Ordering::Relaxed);
        if state.stage() == Some(Stage::Free) {
            self.cells.hint(Hint::Head).store(next, Ordering::Relaxed);
            return None;
        }
        let sequence = next.saturating_sub(self.cells.geometry.capacity);
        Some(Pending { sequence, state })
    }

    /// What a signer waits for: nothing, for work may be long in coming, unless the stream has ended. Then the first record that
    /// isn't answered.
    pub fn pending_drain(&self) -> Option<Pending> {
        let states = (0..self.cells.geometry.capacity).map(|slot| {
            let state = State(self.cells.state(slot).load(Ordering::Relaxed));
            Pending { sequence: self.cells.geometry.sequence(state.lap(), slot), state }
        });
        let states: Vec<_> = states.collect();
        let is_closed = states.iter().any(|pending| pending.state.stage() == Some(Stage::Closed));
        let unanswered = |pending: &Pending| {
            matches!(pending.state.stage(), Some(Stage::Writing | Stage::Written | Stage::Signing))
        };
        let first = |is_one: &dyn Fn(&Pending) -> bool| {
            states.iter().filter(|pending| is_one(pending)).min_by_key(|pending| pending.sequence).copied()
        };
        // With everything answered the end itself is pending: who waits beside it does not find it.
        let end = |pending: &Pending| pending.state.stage() == Some(Stage::Closed);
        if is_closed { first(&unanswered).or_else(|| first(&end)) } else { None }
    }

    /// Names a stall.
    pub fn stall(&self, waited: Duration, pending: Pending, me: Owner) -> Result<Stall, RingError> {
        let Pending { sequence, state } = pending;
        let stage = state.stage();
        let members = self.members(me)?;
        let waits_for = match stage {
            Some(Stage::Writing | Stage::Signing) => {
                let owner = members.iter().find(|member| member.owner == state.owner());
                format!("in the hands of {}", owner.map_or("nobody known".to_owned(), describe))
            }
            Some(Stage::Written) => format!("and waits for a signer ({})", living(&members, Role::Signer)),
            Some(Stage::Signed | Stage::Failed | Stage::Void) => {
                format!("and waits for the consumer ({})", living(&members, Role::Consumer))
            }
            _ => "while later ones are claimed: a peer has damaged the ring".to_owned(),
        };
        Ok(Stall { waited, sequence, stage, waits_for })
    }
}

fn describe(member: &Member) -> String {
    let role = member.role.map_or("member", Role::name);
    let life = if member.is_alive { "alive" } else { "dead" };
    format!("{role} {}.{} (pid {}, {life})", member.owner.index, member.owner.generation, member.pid)
}

fn living(members: &[Member], role: Role) -> String {
    let of_role = members.iter().filter(|member| member.is_alive && member.role == Some(role));
    match of_role.collect::<Vec<_>>().as_slice() {
        [] => "none is alive".to_owned(),
        [one] => format!("pid {} is alive", one.pid),
        several => format!("{} are alive", several.len()),
    }
}
