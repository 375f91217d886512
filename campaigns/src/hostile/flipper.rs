//! `campaign flipper`: flips one bit of the messages in a ring, there and back, as fast as it can, until it is killed.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use cli::{Exit, Failure};

use super::raw_ring::RawRing;
use crate::support::rng::Rng;

/// What a flipper is told.
#[derive(Args)]
pub struct FlipperOptions {
    /// The ring
    #[arg(long)]
    ring: PathBuf,

    /// Which bit of a message
    #[arg(long)]
    bit: usize,

    /// What the slots are drawn from
    #[arg(long)]
    seed: u64,
}

/// How often the bit of one slot is flipped before all slots have a turn: on a line that stays where it is, a flip takes a few
/// nanoseconds. Odd, so that it makes a difference.
const ON_ONE_SLOT: u32 = 31;

/// Flips. Does not return of itself.
///
/// # Errors
/// There is no ring.
pub fn run(options: &FlipperOptions) -> Result<Exit, Failure> {
    let ring = RawRing::open(&options.ring)?;
    let capacity = ring.spec().capacity;
    if options.bit >= 8 * ring.spec().message_capacity as usize {
        return Err(Failure::bad_input("a message has no such bit"));
    }
    let flip = |slot: u32| {
        let byte = ring.byte(ring.message_offset(slot) + options.bit / 8);
        byte.fetch_xor(1 << (options.bit % 8), Ordering::Relaxed);
    };
    let mut rng = Rng::new(options.seed);
    loop {
        let slot = rng.within(0..u64::from(capacity)) as u32;
        (0..ON_ONE_SLOT).for_each(|_| flip(slot));
        (0..capacity).for_each(flip);
    }
}
