//! The load that a client makes: messages that are due one after the other, and what came back when.

use std::time::Duration;

use bench_signing::{MESSAGES, message};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use shmem_layout::now_ns;

use crate::Result;
use crate::stats::latencies;

/// How long before a message is due its client wakes up and polls: as Ringseal's producer does.
pub const WAKE_EARLY_NS: u64 = 20_000;

/// When each message is due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_ns: u64,
    period_ns: f64,
}

impl Schedule {
    /// So many messages a second from now on; all at once with none.
    pub fn from_now(rate: Option<f64>) -> Self {
        // The kernel may add 50 µs to each sleep otherwise. Refused, it costs precision only.
        let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
        Self { start_ns: now_ns(), period_ns: rate.map_or(0.0, |rate| 1e9 / rate) }
    }

    /// When message `i` is due.
    pub fn due_ns(&self, i: u64) -> u64 {
        self.start_ns + (i as f64 * self.period_ns) as u64
    }

    /// When to wake up for it.
    pub fn wake_ns(&self, i: u64) -> u64 {
        self.due_ns(i) - (WAKE_EARLY_NS as f64).min(self.period_ns / 2.0) as u64
    }

    /// Sleeps, then polls, until message `i` is due.
    pub fn wait_for(&self, i: u64) {
        let wake = self.wake_ns(i);
        if now_ns() < wake {
            let time =
                Timespec { tv_sec: (wake / 1_000_000_000) as i64, tv_nsec: (wake % 1_000_000_000) as _ };
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &time);
        }
        while now_ns() < self.due_ns(i) {
            std::hint::spin_loop();
        }
    }
}

/// What came back.
pub struct Answers {
    known: Vec<Vec<u8>>,
    latencies_ns: Vec<u64>,
    schedule: Schedule,
    last_ns: u64,
}

impl Answers {
    /// To messages of which the first so many have the signatures `known`, and so on again.
    pub fn new(known: Vec<Vec<u8>>, count: u64, schedule: Schedule) -> Self {
        Self { known, latencies_ns: Vec::with_capacity(count as usize), schedule, last_ns: 0 }
    }

    /// Takes the answer to message `i`, which came at `came_ns`.
    pub fn take(&mut self, i: u64, came_ns: u64, signature: &[u8]) -> Result<()> {
        if self.known[i as usize % MESSAGES] != signature {
            return Err(format!("message {i} came back with a wrong signature").into());
        }
        self.latencies_ns.push(came_ns.saturating_sub(self.schedule.due_ns(i)));
        self.last_ns = self.last_ns.max(came_ns);
        Ok(())
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.latencies_ns.len() as u64
    }

    /// Sums them up.
    pub fn finish(mut self) -> Load {
        let seconds = Duration::from_nanos(self.last_ns - self.schedule.start_ns).as_secs_f64();
        let per_s = self.latencies_ns.len() as f64 / seconds;
        Load {
            signatures_per_s: per_s,
            end_to_end_us: latencies(&mut self.latencies_ns).map(|ns| ns / 1000.0),
        }
    }
}

/// What a load came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Answers in a second.
    pub signatures_per_s: f64,
    /// From when each was due to its answer: 50th, 99th and 99.9th percentile.
    pub end_to_end_us: [f64; 3],
}

/// What a client is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// How many messages.
    pub count: u64,
    /// Messages a second, if not as many as can be.
    pub rate: Option<f64>,
    /// The signatures that must come back.
    pub known: Vec<Vec<u8>>,
}

/// Message `i` of a load.
pub fn message_of(i: u64) -> Vec<u8> {
    message(i as usize % MESSAGES).to_vec()
}
