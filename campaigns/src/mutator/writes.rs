//! `campaign mutator`: a peer that writes into a ring whatever it likes, for a while.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use cli::{Exit, Failure};

use crate::hostile::raw_ring::RawRing;
use crate::support::rng::Rng;

/// What a mutator is told.
#[derive(Args)]
pub struct MutatorOptions {
    /// The ring
    #[arg(long)]
    ring: PathBuf,

    /// What it writes to
    #[arg(long)]
    target: Target,

    /// For how long, in milliseconds
    #[arg(long)]
    milliseconds: u64,

    /// How long it waits after each write, in microseconds
    #[arg(long)]
    pause: u64,

    /// What the writes are drawn from
    #[arg(long)]
    seed: u64,
}

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Any byte of the ring
    Anywhere,
    /// State words, with what one might find there
    States,
    /// Hints and events
    Control,
    /// Members and sources
    Tables,
    /// What stands beside a message and a signature, their lengths above all
    Lengths,
    /// One of these, drawn for each write
    Mixed,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 6] =
        [Self::Anywhere, Self::States, Self::Control, Self::Tables, Self::Lengths, Self::Mixed];

    /// The name that the option takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "anywhere",
            Self::States => "states",
            Self::Control => "control",
            Self::Tables => "tables",
            Self::Lengths => "lengths",
            Self::Mixed => "mixed",
        }
    }
}

/// Below this a pause is polled away: a sleep takes longer.
const SLEEP_FROM: Duration = Duration::from_micros(100);

/// Mutates.
///
/// # Errors
/// There is no ring.
pub fn run(options: &MutatorOptions) -> Result<Exit, Failure> {
    let mut mutator = Mutator { ring: RawRing::open(&options.ring)?, rng: Rng::new(options.seed) };
    let (started, pause) = (Instant::now(), Duration::from_micros(options.pause));
    while started.elapsed() < Duration::from_millis(options.milliseconds) {
        mutator.write(options.target);
        if pause >= SLEEP_FROM {
            thread::sleep(pause);
        } else {
            let wrote = Instant::now();
            while wrote.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
    }
    Ok(Exit::Done)
}

struct Mutator {
    ring: RawRing,
    rng: Rng,
}

impl Mutator {
    fn write(&mut self, target: Target) {
        match target {
            Target::Anywhere => self.anywhere(),
            Target::States => self.state(),
            Target::Control => self.control(),
            Target::Tables => self.table(),
            Target::Lengths => self.length(),
            Target::Mixed => {
                // All but itself, which is the last.
                let target = self.rng.choose(&Target::ALL[..Target::ALL.len() - 1]);
                self.write(target);
            }
        }
    }

    fn put(&self, offset: usize, word: u64) {
        self.ring.word(offset).store(word, Ordering::Relaxed);
    }

    fn slot(&mut self) -> u32 {
        self.rng.within(0..self.ring.spec().capacity.into()) as u32
    }

    /// A number that a bound may have been forgotten for, or one near `present`.
    fn number(&mut self, present: u64) -> u64 {
        let random = self.rng.next();
        let capacity = u64::from(self.ring.spec().capacity);
        let nearby = present.wrapping_add(self.rng.within(0..2 * capacity + 1)).wrapping_sub(capacity);
        let edges = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, u32::MAX.into(), random, random >> 32];
        if self.rng.percent(50) { nearby } else { self.rng.choose(&edges) }
    }

    fn anywhere(&mut self) {
        let offset = self.rng.within(0..self.ring.len() as u64) as usize;
        let random = self.rng.next();
        match self.rng.within(0..3) {
            0 => self.ring.byte(offset).store(random as u8, Ordering::Relaxed),
            1 => drop(self.ring.byte(offset).fetch_xor(1 << (random % 8), Ordering::Relaxed)),
            _ => self.put(offset & !7, random),
        }
    }

    /// A state word that differs from the present one in some of its fields.
    fn state(&mut self) {
        let slot = self.slot();
        let offset = self.ring.slot_offset(slot);
        let present = self.ring.word(offset).load(Ordering::Relaxed);
        let (mut lap, mut low) = (present >> 24, present & 0xFF_FFFF);
        if self.rng.percent(30) {
            lap = self.rng.choose(&[
                lap.wrapping_sub(1),
                lap + 1,
                0,
                u64::MAX >> 24,
                self.rng.clone().next() >> 24,
            ]);
        }
        if self.rng.percent(70) {
            let stage = if self.rng.percent(90) { self.rng.within(1..9) } else { self.rng.within(0..16) };
            low = low & !0xF0_0000 | stage << 20;
        }
        if self.rng.percent(20) {
            low = low & !0x0F_0000 | self.rng.within(0..16) << 16;
        }
        if self.rng.percent(30) {
            let index = if self.rng.percent(80) { self.rng.within(0..6) } else { self.rng.within(0..256) };
            low = low & !0x00_FFFF | index << 8 | self.rng.within(0..3);
        }
        self.put(offset, lap << 24 | low);
    }

    fn control(&mut self) {
        let offset = if self.rng.percent(60) {
            self.rng.choose(&RawRing::HINTS)
        } else {
            self.rng.choose(&RawRing::EVENTS)
        };
        let present = self.ring.word(offset).load(Ordering::Relaxed);
        let number = self.number(present);
        self.put(offset, number);
    }

    fn table(&mut self) {
        let offset = if self.rng.percent(50) {
            // Those that are in use, mostly.
            let index = if self.rng.percent(80) { self.rng.within(0..6) } else { self.rng.within(0..256) };
            RawRing::MEMBERS + 8 * index as usize
        } else {
            let index = if self.rng.percent(80) { self.rng.within(0..3) } else { self.rng.within(0..64) };
            RawRing::SOURCES + 64 * index as usize + 8 * self.rng.within(0..8) as usize
        };
        let present = self.ring.word(offset).load(Ordering::Relaxed);
        let number = self.number(present);
        self.put(offset, number);
    }

    fn length(&mut self) {
        let slot = self.slot();
        let offset = self.ring.slot_offset(slot) + self.rng.choose(&RawRing::SLOT_WORDS);
        let present = self.ring.word(offset).load(Ordering::Relaxed);
        let number = self.number(present);
        // Two of the words are pairs.
        let halves = [number, number << 32 | present & 0xFFFF_FFFF, present & !0xFFFF_FFFF | number >> 32];
        let word = self.rng.choose(&halves);
        self.put(offset, word);
    }
}
