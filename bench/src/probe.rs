//! How far apart two cores are right now.
//!
//! A host may move virtual cores any second, within one cache or across two, and everything that polls another core's lines
//! becomes several times slower or faster. So each sample is taken between two probes, and counts only if both say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::Serialize;

use crate::Result;
use crate::clock::{TickRate, pin, ticks_before};

/// Below this, one way, two cores share a cache.
const NEAR_NS: f64 = 150.0;

/// What a probe is made of: so many bursts of so many round trips.
const BURSTS: usize = 9;
const TRIPS: u64 = 500;

/// So many polls take seconds.
const TRIES: u64 = 10_000_000_000;

/// Where the cores were during a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// They share a cache.
    Near,
    /// They don't.
    Far,
    /// It doesn't matter.
    Any,
}

impl Class {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::Any => "any",
        }
    }
}

/// A line to itself, and the one that the processor fetches along.
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

#[derive(Default)]
struct Lines {
    ping: Line,
    pong: Line,
    /// The other core's counter when it saw the ping.
    stamp: Line,
    is_over: AtomicBool,
}

/// Two lines that go back and forth between this thread and one on the other core.
pub struct Probe {
    lines: Arc<Lines>,
    start: SyncSender<()>,
    rate: TickRate,
}

impl Probe {
    /// Between the calling thread, which must be pinned, and one on `core`, which sleeps between probes.
    pub fn new(core: usize) -> Result<Self> {
        let (start, started) = sync_channel(1);
        let lines = Arc::new(Lines::default());
        let shared = lines.clone();
        std::thread::Builder::new().name("probe".into()).spawn(move || answer(core, &shared, &started))?;
        Ok(Self { lines, start, rate: TickRate::measure() })
    }

    /// Nanoseconds that a line takes from one core to the other: the middle of several bursts, about 2 ms in all when far.
    pub fn one_way_ns(&self) -> Result<f64> {
        let mut bursts = [0.0; BURSTS];
        self.ping_pong(|trip| {
            for burst in &mut bursts {
                let begun = ticks_before();
                for _ in 0..TRIPS {
                    trip()?;
                }
                *burst = self.rate.ns_of(ticks_before() - begun) / TRIPS as f64 / 2.0;
            }
            Ok(())
        })?;
        bursts.sort_by(f64::total_cmp);
        Ok(bursts[BURSTS / 2])
    }

    /// Wakes the other core, and has `work` make round trips with it.
    fn ping_pong(&self, work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>) -> Result<()> {
        self.lines.ping.0.store(0, Ordering::Relaxed);
        self.lines.pong.0.store(0, Ordering::Relaxed);
        self.lines.is_over.store(false, Ordering::Relaxed);
        self.start.send(())?;
        let mut sequence = 0;
        let mut trip = || -> Result<()> {
            sequence += 1;
            self.lines.ping.0.store(sequence, Ordering::Release);
            let mut tries = 0_u64;
            while self.lines.pong.0.load(Ordering::Acquire) != sequence {
                tries += 1;
                if tries > TRIES {
                    return Err("the probe of the cores has had no answer for long".into());
                }
            }
            Ok(())
        };
        trip()?; // The other one is awake now.
        let outcome = work(&mut trip);
        self.lines.is_over.store(true, Ordering::Release);
        outcome
    }

    /// By how much the other core's counter is ahead of this one's, in nanoseconds: by the quicker half of many round trips,
    /// half of which each way is taken to be.
    pub fn skew_ns(&self) -> Result<f64> {
        let mut trips = Vec::with_capacity(BURSTS * TRIPS as usize);
        self.ping_pong(|trip| {
            for _ in 0..trips.capacity() {
                let begun = ticks_before();
                trip()?;
                let ended = ticks_before();
                let ahead = self.lines.stamp.0.load(Ordering::Relaxed) as f64 - (begun + ended) as f64 / 2.0;
                trips.push((ended - begun, ahead));
            }
            Ok(())
        })?;
        trips.sort_by_key(|(ticks, _)| *ticks);
        trips.truncate(trips.len() / 2);
        Ok(trips.iter().map(|(_, ahead)| ahead).sum::<f64>() / trips.len() as f64 * self.rate.ns)
    }

    /// The class of a sample between two probes; none if the cores were moved.
    pub fn class_of(before: f64, after: f64) -> Option<Class> {
        match (before < NEAR_NS, after < NEAR_NS) {
            (true, true) => Some(Class::Near),
            (false, false) => Some(Class::Far),
            _ => None,
        }
    }
}

fn answer(core: usize, lines: &Lines, started: &Receiver<()>) {
    if pin(core).is_err() {
        return; // Nobody answers, which the other one says.
    }
    while started.recv().is_ok() {
        let mut seen = 0;
        while !lines.is_over.load(Ordering::Relaxed) {
            let ping = lines.ping.0.load(Ordering::Acquire);
            if ping != seen {
                seen = ping;
                lines.stamp.0.store(ticks_before(), Ordering::Relaxed);
                lines.pong.0.store(ping, Ordering::Release);
            }
        }
    }
}
