//! Where things are in a ring, by `LAYOUT.md`: known here apart from the code that is fuzzed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the spec's archive starts.
pub const SPEC: usize = 128;
/// Where its room ends.
pub const SPEC_END: usize = 512;
/// The three hints.
pub const HINTS: [usize; 3] = [512, 640, 768];
/// The three events.
pub const EVENTS: [usize; 3] = [896, 1024, 1152];
/// The table of members.
pub const MEMBERS: usize = 1280;
/// The table of sources.
pub const SOURCES: usize = 3328;
/// Slot 0.
pub const SLOTS: usize = 8192;

/// The stages' numbers.
#[allow(missing_docs, reason = "LAYOUT.md tells them")]
pub mod stage {
    pub const FREE: u64 = 1;
    pub const WRITING: u64 = 2;
    pub const WRITTEN: u64 = 3;
    pub const SIGNING: u64 = 4;
    pub const SIGNED: u64 = 5;
    pub const FAILED: u64 = 6;
    pub const VOID: u64 = 7;
    pub const CLOSED: u64 = 8;
}

/// The word at byte `offset`.
pub fn word_of(words: &[AtomicU64], offset: usize) -> u64 {
    words[offset / 8].load(Ordering::Relaxed)
}

/// A state word, taken apart: `lap 40 | stage 4 | attempts 4 | owner index 8 | owner generation 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// How often the ring has been gone round.
    pub lap: u64,
    /// One of [`stage`], or none.
    pub stage: u64,
    /// How many signers died with it.
    pub attempts: u64,
    /// In whose hands it is: index and generation.
    pub owner: u64,
}

impl State {
    /// The fields of `word`.
    pub fn of(word: u64) -> Self {
        Self { lap: word >> 24, stage: word >> 20 & 15, attempts: word >> 16 & 15, owner: word & 0xFFFF }
    }
}
