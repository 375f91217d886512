//! How often something may happen.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets through a burst, and from then on one each `interval`.
pub(crate) struct Pace {
    interval: Duration,
    burst: u32,
    /// When the next would be due if there were no bursts.
    due: Mutex<Instant>,
}

impl Pace {
    pub fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, due: Mutex::new(Instant::now()) }
    }

    /// Sleeps until it is this caller's turn. Turns are given in the order of the calls.
    pub async fn turn(&self) {
        sleep_until(self.next(Instant::now())).await;
    }

    fn next(&self, now: Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = (*due).max(now);
        *due = mine + self.interval;
        mine.checked_sub(self.interval * self.burst).map_or(now, |early| early.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_turns_are_spaced_and_rest_earns_another_burst() {
        let ms = Duration::from_millis;
        let pace = Pace::new(ms(10), 3);
        let start = Instant::now() + ms(1000);
        let waits = |now: Instant| [(); 6].map(|()| (pace.next(now) - now).as_millis());
        assert_eq!(waits(start), [0, 0, 0, 0, 10, 20]);
        assert_eq!(waits(start + ms(1000)), [0, 0, 0, 0, 10, 20]);
    }
}
