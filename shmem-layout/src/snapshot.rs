//! What a ring holds at one moment, for people and for tests.

use crate::cells::{Hint, Ordering};
use crate::membership::Member;
use crate::protocol::{Core, RingError};
use crate::ring::Ring;
use crate::source::Source;
use crate::state::{Owner, Stage, State};

/// What a ring holds at one moment, as far as a moment can be had while others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The hint at the first sequence that may be unclaimed.
    pub head: u64,
    /// The hint at the first sequence that may wait for a signer.
    pub sign: u64,
    /// The hint at the first sequence that the consumer has not freed.
    pub tail: u64,
    /// The first sequence that nobody has claimed, from the slots.
    pub first_unclaimed: u64,
    /// The first sequence that the consumer has not freed, from the slots.
    pub first_unfreed: u64,
    /// Slots in each stage, in the order of [`Stage::ALL`].
    pub slots: [u64; 8],
    /// Slots with a state that no honest member writes.
    pub damaged: Vec<Damage>,
    /// Slots in the hands of a producer or a signer, by sequence.
    pub held: Vec<Held>,
    /// Members, present and past.
    pub members: Vec<Member>,
    /// Sources.
    pub sources: Vec<Source>,
}

/// A slot with a state that no honest member writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The slot.
    pub slot: u64,
    /// Its state word.
    pub state: u64,
}

/// A slot in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The sequence.
    pub sequence: u64,
    /// [`Stage::Writing`] or [`Stage::Signing`].
    pub stage: Stage,
    /// How many signers died with it before.
    pub attempts: u8,
    /// In whose hands it is.
    pub owner: Owner,
    /// What a recovery makes of it, if its owner is dead.
    pub recovery: Option<Stage>,
}

impl Core {
    /// Every slot that is in somebody's hands, by sequence.
    pub fn held(&self) -> Result<Vec<Held>, RingError> {
        let mut held = Vec::new();
        for slot in 0..self.cells.geometry.capacity {
            let state = self.load_to_judge(slot);
            let Some(stage @ (Stage::Writing | Stage::Signing)) = state.stage() else { continue };
            let (after, _) = self.after_death(stage, state.attempts());
            held.push(Held {
                sequence: self.cells.geometry.sequence(state.lap(), slot),
                stage,
                attempts: state.attempts(),
                owner: state.owner(),
                recovery: self.is_dead(state.owner())?.then_some(after),
            });
        }
        held.sort_unstable_by_key(|held| held.sequence);
        Ok(held)
    }
}

impl Ring {
    /// What the ring holds now.
    ///
    /// # Errors
    /// The kernel doesn't say who lives.
    pub fn snapshot(&self) -> Result<Snapshot, RingError> {
        let hint = |hint| self.cells().hint(hint).load(Ordering::Relaxed);
        let mut slots = [0; 8];
        let mut damaged = Vec::new();
        for slot in 0..self.cells().geometry.capacity {
            let state = State(self.cells().state(slot).load(Ordering::Relaxed));
            match state.stage() {
                Some(stage) => slots[stage as usize - 1] += 1,
                None => damaged.push(Damage { slot, state: state.0 }),
            }
        }
        Ok(Snapshot {
            head: hint(Hint::Head),
            sign: hint(Hint::Sign),
            tail: hint(Hint::Tail),
            first_unclaimed: self.core.first_unclaimed(),
            first_unfreed: self.core.first_unfreed(),
            slots,
            damaged,
            held: self.held()?,
            members: self.members()?,
            sources: self.core.sources()?,
        })
    }

    /// Every slot that is in somebody's hands, by sequence.
    ///
    /// # Errors
    /// The kernel doesn't say who lives.
    pub fn held(&self) -> Result<Vec<Held>, RingError> {
        self.core.held()
    }
}
