//! Taking over from the dead, and putting damaged hints right.
//!
//! Anybody may do it, several at once: each takeover is a compare-and-swap of the very word that was judged.

use std::fmt;
// Of this process alone, and so no business of the models.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::cells::{Event, Hint, Ordering, acquire, release};
use crate::failpoint::failpoint;
use crate::locks::MEMBER_BYTE;
use crate::protocol::{Core, Place, RingError};
use crate::state::{Owner, Stage, State};

/// What was taken from dead members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Slots whose producer died while writing.
    pub voided: u64,
    /// Records whose signer died, for the next signer.
    pub returned: u64,
    /// Records whose last attempt died.
    pub failed: u64,
}

/// What one attachment has taken from dead members, added up. Plain counters: no order between them is promised.
#[derive(Default)]
pub(crate) struct RecoveredCounts {
    voided: AtomicU64,
    returned: AtomicU64,
    failed: AtomicU64,
}

impl RecoveredCounts {
    fn add(&self, more: &Recovered) {
        self.voided.fetch_add(more.voided, Relaxed);
        self.returned.fetch_add(more.returned, Relaxed);
        self.failed.fetch_add(more.failed, Relaxed);
    }

    pub fn get(&self) -> Recovered {
        let [voided, returned, failed] =
            [&self.voided, &self.returned, &self.failed].map(|count| count.load(Relaxed));
        Recovered { voided, returned, failed }
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voided, returned, failed } = self;
        write!(
            f,
            "{returned} records returned to the signers, {failed} failed, {voided} half-written ones void"
        )
    }
}

impl Core {
    /// A slot's state, whose owner's life is asked for next: in the generation that has claimed the slot, or a later one.
    pub fn load_to_judge(&self, slot: u64) -> State {
        State(self.cells.state(slot).load(acquire("joined: judge")))
    }

    /// Whether `owner` is gone for good: its byte is free, or its index is somebody else's by now.
    pub fn is_dead(&self, owner: Owner) -> Result<bool, RingError> {
        let word = self.cells.member(owner.index.into()).load(Ordering::Relaxed);
        Ok(word as u8 != owner.generation
            || !self.locks.is_held_by_other(MEMBER_BYTE + u64::from(owner.index))?)
    }

    /// Takes from every dead member what it holds, and brings the signers' hint back to what waits for them.
    ///
    /// Anybody may do it, several at once: each takeover is a compare-and-swap of the very word that was judged.
    pub fn recover(&self, me: Owner) -> Result<Recovered, RingError> {
        let mut recovered = Recovered::default();
        let mut judged: Option<(Owner, bool)> = None;
        let mut sequence = self.cells.hint(Hint::Tail).load(Ordering::Relaxed);
        if let Place::NotYet(_) = self.place(sequence, self.load(sequence, Ordering::Relaxed))? {
            // The hint was ahead, which no honest member makes it.
            sequence = self.first_unfreed();
        }
        for _ in self.walk() {
            let state = self.load_to_judge(self.cells.geometry.slot_of(sequence));
            match self.place(sequence, state)? {
                Place::Here(Stage::Free, _) => {
                    // Nobody honest moves the hint beyond it, but from there on producers would leave a hole behind.
                    self.cells.hint(Hint::Head).fetch_min(sequence, Ordering::Relaxed);
                    break;
                }
                Place::NotYet(_) => break,
                Place::Here(Stage::Closed, _) => {
                    // Nor beyond the end of the stream, where signers must meet it.
                    if self.cells.hint(Hint::Sign).load(Ordering::Relaxed) > sequence {
                        self.rewind(sequence);
                        self.cells.notify(Event::Published);
                    }
                    break;
                }
                Place::Passed { resume } => {
                    sequence = resume;
                    continue;
                }
                Place::Here(Stage::Writing | Stage::Signing, _) if state.owner() != me => {
                    let dead = match judged {
                        Some((owner, dead)) if owner == state.owner() => dead,
                        _ => self.is_dead(state.owner())?,
                    };
                    judged = Some((state.owner(), dead));
                    if dead {
                        self.take_over(sequence, state, &mut recovered);
                    }
                }
                // Nobody honest moves the hint beyond such a record; but what a hint says is never relied on.
                Place::Here(Stage::Written, _)
                    if self.cells.hint(Hint::Sign).load(Ordering::Relaxed) > sequence =>
                {
                    self.rewind(sequence);
                    self.cells.notify(Event::Published);
                }
                Place::Here(..) => {}
            }
            sequence += 1;
        }
        self.announce(&recovered);
        Ok(recovered)
    }

    /// Takes over all that earlier holders of a member index have left, for the index's new holder.
    pub fn sweep(&self, index: u8) -> Recovered {
        let mut recovered = Recovered::default();
        for slot in 0..self.cells.geometry.capacity {
            let state = self.load_to_judge(slot);
            if state.owner().index == index && matches!(state.stage(), Some(Stage::Writing | Stage::Signing))
            {
                self.take_over(self.cells.geometry.sequence(state.lap(), slot), state, &mut recovered);
            }
        }
        self.announce(&recovered);
        recovered
    }

    /// Takes one slot from its dead owner: a half-written message is void, a record goes to the next signer, or is
    /// answered as failed when that was its last attempt.
    fn take_over(&self, sequence: u64, state: State, recovered: &mut Recovered) {
        let Some(stage) = state.stage() else { return };
        let (stage, attempts) = self.after_death(stage, state.attempts());
        let next = State::new(state.lap(), stage, attempts, Owner::NOBODY);
        failpoint("takeover: judged");
        // What the dead one stored must not come after what follows.
        if self.swap(sequence, state, next, release("written, answered: takeover")) {
            failpoint("takeover: taken");
            match stage {
                Stage::Void => recovered.voided += 1,
                Stage::Failed => recovered.failed += 1,
                _ => {
                    recovered.returned += 1;
                    self.rewind(sequence);
                }
            }
        }
    }

    /// What becomes of a slot in `stage` after the death of its owner, and its attempts by then.
    pub fn after_death(&self, stage: Stage, attempts: u8) -> (Stage, u8) {
        match attempts.saturating_add(1) {
            _ if stage == Stage::Writing => (Stage::Void, 0),
            attempts if attempts >= self.max_attempts => (Stage::Failed, self.max_attempts),
            attempts => (Stage::Written, attempts),
        }
    }

    fn announce(&self, recovered: &Recovered) {
        if *recovered != Recovered::default() {
            self.recovered.add(recovered);
            failpoint("takeover: done");
        }
        if recovered.returned > 0 {
            self.cells.notify(Event::Published);
        }
        if recovered.voided + recovered.failed > 0 {
            self.cells.notify(Event::Signed);
        }
    }
}
