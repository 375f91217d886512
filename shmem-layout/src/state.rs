//! The state word of a slot: `lap 40 | stage 4 | attempts 4 | owner index 8 | owner generation 8`.

use std::fmt;

/// What a slot is in. Zero is no stage, so that a hole punched into the ring is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// May be claimed by a producer, for this lap.
    Free = 1,
    /// Claimed by a producer, which is writing the message.
    Writing = 2,
    /// Holds a message that nobody signs yet.
    Written = 3,
    /// Claimed by a signer.
    Signing = 4,
    /// Holds a signature.
    Signed = 5,
    /// Answered without a signature: the record's status says why.
    Failed = 6,
    /// Its producer died while writing: nothing is here.
    Void = 7,
    /// The end of the stream.
    Closed = 8,
}

impl Stage {
    /// Every stage, in the order of its number.
    pub const ALL: [Stage; 8] = [
        Stage::Free,
        Stage::Writing,
        Stage::Written,
        Stage::Signing,
        Stage::Signed,
        Stage::Failed,
        Stage::Void,
        Stage::Closed,
    ];

    /// The stage's name, as `ringctl show` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Free => "free",
            Stage::Writing => "writing",
            Stage::Written => "written",
            Stage::Signing => "signing",
            Stage::Signed => "signed",
            Stage::Failed => "failed",
            Stage::Void => "void",
            Stage::Closed => "closed",
        }
    }
}

/// A member at one time of its life: its index in the member table, and how often that index was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// 1 to 255; 0 is [`Owner::NOBODY`]'s.
    pub index: u8,
    /// Counts who held this index; wraps. Claims of an index are swept when it is taken again, so that no two
    /// holders 256 generations apart can be confused.
    pub generation: u8,
}

impl Owner {
    /// The owner of a slot that nobody has claimed.
    pub const NOBODY: Owner = Owner { index: 0, generation: 0 };
}

/// The highest lap that a word can hold.
pub(crate) const LAP_MAX: u64 = (1 << 40) - 1;

/// The most attempts that a word can hold.
pub(crate) const ATTEMPTS_MAX: u8 = 15;

/// A state word, unpacked on demand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub u64);

impl State {
    const LAP_SHIFT: u32 = 24;
    const STAGE_SHIFT: u32 = 20;
    const ATTEMPTS_SHIFT: u32 = 16;
    const INDEX_SHIFT: u32 = 8;

    pub fn new(lap: u64, stage: Stage, attempts: u8, owner: Owner) -> Self {
        debug_assert!(lap <= LAP_MAX && attempts <= ATTEMPTS_MAX);
        State(
            lap << Self::LAP_SHIFT
                | (stage as u64) << Self::STAGE_SHIFT
                | u64::from(attempts) << Self::ATTEMPTS_SHIFT
                | u64::from(owner.index) << Self::INDEX_SHIFT
                | u64::from(owner.generation),
        )
    }

    /// A slot that may be claimed on `lap`.
    pub fn free(lap: u64) -> Self {
        Self::new(lap, Stage::Free, 0, Owner::NOBODY)
    }

    pub fn lap(self) -> u64 {
        self.0 >> Self::LAP_SHIFT
    }

    /// `None` for a number that no honest member writes.
    pub fn stage(self) -> Option<Stage> {
        let raw = (self.0 >> Self::STAGE_SHIFT & 0xF) as usize;
        Stage::ALL.get(raw.wrapping_sub(1)).copied()
    }

    pub fn attempts(self) -> u8 {
        (self.0 >> Self::ATTEMPTS_SHIFT & 0xF) as u8
    }

    pub fn owner(self) -> Owner {
        Owner { index: (self.0 >> Self::INDEX_SHIFT) as u8, generation: self.0 as u8 }
    }

    /// The same lap and attempts, in another stage and other hands.
    pub fn with(self, stage: Stage, owner: Owner) -> Self {
        Self::new(self.lap(), stage, self.attempts(), owner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lap {} {:?} attempts {} {:?}", self.lap(), self.stage(), self.attempts(), self.owner())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_field_survives_beside_every_other() {
        for lap in [0, 1, LAP_MAX] {
            for stage in Stage::ALL {
                for attempts in [0, 3, ATTEMPTS_MAX] {
                    for owner in [Owner::NOBODY, Owner { index: 255, generation: 255 }] {
                        let state = State::new(lap, stage, attempts, owner);
                        assert_eq!(
                            (state.lap(), state.stage(), state.attempts(), state.owner()),
                            (lap, Some(stage), attempts, owner)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_punched_hole_is_no_stage() {
        assert_eq!(State(0).stage(), None);
        assert_eq!(State(0xF << 20).stage(), None);
    }
}
