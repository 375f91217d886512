//! The transitions of a slot: claim, publish, answer, free. What the dead have left is the business of `recovery.rs`.
//!
//! A sequence belongs to whoever moves its slot's state word by compare-and-swap, and to nobody else; hints only
//! say where to begin to look. `LAYOUT.md` lists the labels of the orderings.

use std::cmp;
use std::io;

use crate::cells::{Cells, Hint, Ordering, acquire, release, release_fence};
use crate::failpoint::failpoint;
use crate::locks::Locks;
use crate::recovery::RecoveredCounts;
use crate::state::{LAP_MAX, Owner, Stage, State};

/// Why a ring can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A state word that no honest member writes.
    #[error("the ring is damaged: slot {slot} holds the state {state:#018x}; remove it with `ringctl rm`")]
    Damaged {
        /// The slot.
        slot: u64,
        /// Its state word.
        state: u64,
    },
    /// 2⁴⁰ laps are over.
    #[error("the ring's sequences are used up; make a new one")]
    Exhausted,
    /// The kernel doesn't say who lives.
    #[error("can't ask who holds the ring's locks: {0}")]
    Locks(#[from] io::Error),
}

/// What a slot is to somebody who looks for one sequence in it.
pub(crate) enum Place {
    /// The slot still holds the record of an earlier lap.
    NotYet(State),
    /// The slot is on this sequence's lap.
    Here(Stage, State),
    /// The slot has moved on; no sequence before `resume` is of interest to anybody.
    Passed { resume: u64 },
}

/// What came of looking for a free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// This sequence is the caller's.
    Sequence(u64),
    /// Every slot is taken.
    Full,
    /// The stream has ended.
    Closed,
}

/// A record that a signer has claimed. It has to be answered, or given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claimed record that nobody answers holds up the ring"]
pub struct Claim {
    pub(crate) sequence: u64,
    pub(crate) attempts: u8,
}

impl Claim {
    /// The record's sequence.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many signers died with this record in hand.
    pub fn attempts(&self) -> u8 {
        self.attempts
    }
}

/// What a signer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Claims were added to the batch.
    Claims,
    /// Nothing waits for a signer.
    Nothing,
    /// The stream has ended, and every record of it is answered.
    Drained,
}

/// The ring's words, the locks that say who lives, and the one number of the spec that transitions need.
pub(crate) struct Core {
    pub cells: Cells,
    pub locks: Box<dyn Locks>,
    pub max_attempts: u8,
    /// What was taken from the dead through this core.
    pub recovered: RecoveredCounts,
}

impl Core {
    pub fn place(&self, sequence: u64, state: State) -> Result<Place, RingError> {
        let geometry = &self.cells.geometry;
        let (slot, lap) = (geometry.slot_of(sequence), geometry.lap_of(sequence));
        let Some(stage) = state.stage() else {
            return Err(RingError::Damaged { slot, state: state.0 });
        };
        Ok(match state.lap().cmp(&lap) {
            cmp::Ordering::Less => Place::NotYet(state),
            cmp::Ordering::Equal => Place::Here(stage, state),
            // On its present lap the slot may be unclaimed, but on the one before it was freed, and the consumer
            // frees in sequence.
            cmp::Ordering::Greater => Place::Passed { resume: geometry.sequence(state.lap() - 1, slot) + 1 },
        })
    }

    pub fn load(&self, sequence: u64, ordering: Ordering) -> State {
        State(self.cells.state(self.cells.geometry.slot_of(sequence)).load(ordering))
    }

    pub fn swap(&self, sequence: u64, from: State, to: State, success: Ordering) -> bool {
        let word = self.cells.state(self.cells.geometry.slot_of(sequence));
        word.compare_exchange(from.0, to.0, success, Ordering::Relaxed).is_ok()
    }

    fn store(&self, sequence: u64, state: State, ordering: Ordering) {
        self.cells.state(self.cells.geometry.slot_of(sequence)).store(state.0, ordering);
    }

    /// How many slots a walk looks at before it gives up: each once, and some for those who move underneath it.
    pub fn walk(&self) -> std::ops::Range<u64> {
        0..self.cells.geometry.capacity + 64
    }

    /// Claims the first unclaimed sequence for `stage` ([`Stage::Writing`] or [`Stage::Closed`]).
    ///
    /// Claims are dense: who claims a sequence has seen that every one before it is claimed.
    pub fn claim_free(&self, stage: Stage, owner: Owner) -> Result<Claimed, RingError> {
        let head = self.cells.hint(Hint::Head);
        let mut sequence = head.load(Ordering::Relaxed);
        for _ in self.walk() {
            match self.place(sequence, self.load(sequence, Ordering::Relaxed))? {
                Place::Here(Stage::Free, free) => {
                    let taken = State::new(free.lap(), stage, 0, owner);
                    if self.swap(sequence, free, taken, acquire("freed: claim")) {
                        release_fence("reused: claim");
                        failpoint(if stage == Stage::Closed { "close: claimed" } else { "publish: claimed" });
                        // The hint stays on the end of the stream, so that everybody meets it.
                        head.store(sequence + u64::from(stage != Stage::Closed), Ordering::Relaxed);
                        return Ok(Claimed::Sequence(sequence));
                    }
                }
                Place::Here(Stage::Closed, _) => return Ok(Claimed::Closed),
                Place::Here(..) => sequence += 1,
                Place::Passed { resume } => sequence = resume,
                // A free slot on an earlier lap: the hint was ahead, which no honest member makes it.
                Place::NotYet(state) if state.stage() == Some(Stage::Free) => {
                    sequence = self.first_unclaimed()
                }
                Place::NotYet(_) => return Ok(Claimed::Full),
            }
        }
        Ok(Claimed::Full)
    }

    /// The least sequence that nobody has claimed, from the slots alone.
    pub fn first_unclaimed(&self) -> u64 {
        self.least_sequence(|state| state.lap() + u64::from(state.stage() != Some(Stage::Free)))
    }

    /// The least sequence that the consumer has not freed, from the slots alone.
    pub fn first_unfreed(&self) -> u64 {
        self.least_sequence(State::lap)
    }

    fn least_sequence(&self, lap: impl Fn(State) -> u64) -> u64 {
        let geometry = &self.cells.geometry;
        let of_slot =
            |slot| geometry.sequence(lap(State(self.cells.state(slot).load(Ordering::Relaxed))), slot);
        (0..geometry.capacity).map(of_slot).min().unwrap_or(0)
    }

    /// Publishes the message that the caller has written into a sequence of its own.
    pub fn publish(&self, sequence: u64) {
        let lap = self.cells.geometry.lap_of(sequence);
        let state = State::new(lap, Stage::Written, 0, Owner::NOBODY);
        self.store(sequence, state, release("written: publish"));
    }

    /// Gives up a sequence of the caller's own that it publishes nothing in.
    pub fn give_up(&self, sequence: u64) {
        let lap = self.cells.geometry.lap_of(sequence);
        // Relaxed: nothing was written into the slot.
        self.store(sequence, State::new(lap, Stage::Void, 0, Owner::NOBODY), Ordering::Relaxed);
    }

    /// Claims up to `max` records for signing and adds them to `batch`.
    ///
    /// A record tried before is claimed alone, so that a poisonous one doesn't take its neighbours along.
    pub fn claim_written(
        &self,
        owner: Owner,
        max: usize,
        batch: &mut Vec<Claim>,
    ) -> Result<Found, RingError> {
        let hint = self.cells.hint(Hint::Sign);
        let start = hint.load(Ordering::Relaxed);
        let (mut sequence, mut passed, before) = (start, start, batch.len());
        let (mut closed, mut enough, mut in_other_hands) = (false, false, None);
        for _ in self.walk() {
            let settled = match self.place(sequence, self.load(sequence, Ordering::Relaxed))? {
                Place::NotYet(_) | Place::Here(Stage::Free, _) => break,
                Place::Here(Stage::Closed, _) => {
                    closed = true;
                    break;
                }
                Place::Passed { resume } => {
                    (sequence, passed) = (resume, resume);
                    continue;
                }
                Place::Here(Stage::Writing, _) => false,
                Place::Here(Stage::Written, state) => {
                    let tried = state.attempts() > 0;
                    if tried && batch.len() > before {
                        break;
                    }
                    let taken = state.with(Stage::Signing, owner);
                    if batch.len() == before {
                        // Of those that follow in a burst the processor asks for more than is good already.
                        self.cells.slot(sequence).fetch_message();
                    }
                    if !self.swap(sequence, state, taken, acquire("written: claim")) {
                        continue;
                    }
                    failpoint("claim: claimed");
                    batch.push(Claim { sequence, attempts: state.attempts() });
                    enough = tried || batch.len() - before >= max;
                    true
                }
                Place::Here(Stage::Signing, _) => {
                    in_other_hands = in_other_hands.or(Some(sequence));
                    true
                }
                Place::Here(..) => true,
            };
            passed += u64::from(settled && passed == sequence);
            sequence += 1;
            if enough {
                break;
            }
        }
        if passed != start {
            // Not a store: somebody may have brought the hint back meanwhile.
            let _ = hint.compare_exchange(start, passed, acquire("returned: forward"), Ordering::Relaxed);
            failpoint("claim: hint moved");
            if let Some(first) = in_other_hands {
                self.rewind_to_returned(first..passed)?;
            }
        }
        Ok(match (batch.len() > before, closed) {
            (true, _) => Found::Claims,
            (false, true) if self.is_drained() => Found::Drained,
            (false, _) => Found::Nothing,
        })
    }

    /// Brings the signers' hint back to the first of `sequences` that waits for a signer again. Who returns a record brings
    /// the hint back itself, but in vain if a walk that saw the record in other hands moves the hint after that.
    fn rewind_to_returned(&self, sequences: std::ops::Range<u64>) -> Result<(), RingError> {
        // Not beyond one lap: the walk itself may have been led further by a lap that no honest member writes.
        for sequence in sequences.take(self.cells.geometry.capacity as usize) {
            if let Place::Here(Stage::Written, _) =
                self.place(sequence, self.load(sequence, Ordering::Relaxed))?
            {
                self.rewind(sequence);
                break;
            }
        }
        Ok(())
    }

    /// Whether no record waits for a signer or is with one, or is being written. Looks at every slot, for hints pass
    /// over records that are with a signer, and that signer may die.
    fn is_drained(&self) -> bool {
        (0..self.cells.geometry.capacity).all(|slot| {
            let stage = State(self.cells.state(slot).load(Ordering::Relaxed)).stage();
            !matches!(stage, Some(Stage::Writing | Stage::Written | Stage::Signing))
        })
    }

    /// Publishes what the signer has written: `stage` is [`Stage::Signed`] or [`Stage::Failed`].
    pub fn answer(&self, claim: Claim, stage: Stage, owner: Owner) {
        let lap = self.cells.geometry.lap_of(claim.sequence);
        let state = State::new(lap, stage, claim.attempts, owner);
        self.store(claim.sequence, state, release("answered: answer"));
    }

    /// Gives a claimed record to the next signer, untried.
    pub fn give_back(&self, claim: Claim) {
        let lap = self.cells.geometry.lap_of(claim.sequence);
        let state = State::new(lap, Stage::Written, claim.attempts, Owner::NOBODY);
        self.store(claim.sequence, state, release("written: give back"));
        self.rewind(claim.sequence);
    }

    /// What the consumer finds at `sequence`: its answered state, or `None` while there is none.
    pub fn answered(&self, sequence: u64) -> Result<Option<(Stage, State)>, RingError> {
        let state = self.load(sequence, acquire("answered: look"));
        match self.place(sequence, state)? {
            Place::Here(stage @ (Stage::Signed | Stage::Failed | Stage::Void | Stage::Closed), state) => {
                Ok(Some((stage, state)))
            }
            // Not yet: a consumer that reads ahead of what it frees has read the whole ring.
            Place::Here(..) | Place::NotYet(_) => Ok(None),
            // Only the consumer frees, and it has not freed this one.
            Place::Passed { .. } => {
                Err(RingError::Damaged { slot: self.cells.geometry.slot_of(sequence), state: state.0 })
            }
        }
    }

    /// Gives the slot of an answered sequence to the next lap.
    pub fn free(&self, sequence: u64) -> Result<(), RingError> {
        let lap = self.cells.geometry.lap_of(sequence);
        if lap >= LAP_MAX {
            return Err(RingError::Exhausted);
        }
        self.store(sequence, State::free(lap + 1), release("freed: free"));
        failpoint("free: freed");
        self.cells.hint(Hint::Tail).store(sequence + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Brings the signers' hint back to `sequence` if it is beyond it.
    pub fn rewind(&self, sequence: u64) {
        // Always, and not only if a load finds the hint beyond: that load could be of an old value.
        self.cells.hint(Hint::Sign).fetch_min(sequence, release("returned: back"));
    }
}
