//! The open loop: when each message is due, whatever became of the ones before it.

use std::num::NonZeroU64;

use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::Timespec;
use shmem_layout::{SLEEP_LIMIT, WaitStrategy, Waiting, now_ns};

/// How long before a message is due its producer wakes up, and polls: sleepers are some 10 µs late. (With 50 µs each message took
/// 34 µs more of CPU time, and came no earlier.)
const WAKE_EARLY_NS: u64 = 20_000;

/// A rate, counted from the first message that was asked about.
///
/// A message's intended time is the schedule's even when the producer is late: were it the time of sending, a stall
/// would hide in the messages that were not sent meanwhile (coordinated omission).
pub(crate) struct Schedule {
    /// Messages a second.
    rate: f64,
    start_ns: Option<u64>,
    poll_ns: u64,
}

impl Schedule {
    pub fn new(rate: f64, strategy: WaitStrategy) -> Self {
        // The kernel may add 50 µs to each sleep otherwise. Refused, it costs precision only.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let half_interval_ns = (0.5e9 / rate) as u64;
        let poll_ns = match strategy {
            WaitStrategy::Block => 0,
            WaitStrategy::Spin => WAKE_EARLY_NS,
            // Polls, and never yields: on busy cores a yield costs the rest of a time slice. No more than half of the
            // time, for who always polls loses the core when it is due.
            WaitStrategy::Yield | WaitStrategy::Adaptive => WAKE_EARLY_NS.min(half_interval_ns),
        };
        Self { rate, start_ns: None, poll_ns }
    }

    /// When message `index` of this schedule is due, in nanoseconds of the ring's clock.
    pub fn due_ns(&mut self, index: u64) -> u64 {
        let start_ns = *self.start_ns.get_or_insert_with(now_ns);
        start_ns.saturating_add((index as f64 * 1e9 / self.rate).round() as u64)
    }

    /// Sleeps until `due_ns`, or until stopped, which is looked at every [`SLEEP_LIMIT`]. Gives the time.
    pub fn wait_until(&self, due_ns: u64, waiting: &Waiting) -> u64 {
        let limit_ns = SLEEP_LIMIT.as_nanos() as u64;
        loop {
            let now_ns = now_ns();
            if now_ns >= due_ns || waiting.is_stopped() {
                return now_ns;
            }
            let wake_ns = (due_ns - self.poll_ns.min(due_ns)).min(now_ns + limit_ns);
            if now_ns < wake_ns {
                let wake = Timespec {
                    tv_sec: (wake_ns / 1_000_000_000) as i64,
                    tv_nsec: (wake_ns % 1_000_000_000) as _,
                };
                // A signal ends it early, and the loop looks again.
                let _ = clock_nanosleep_absolute(ClockId::Monotonic, &wake);
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_at_an_odd_rate_is_not_off_by_a_microsecond() {
        let mut schedule = Schedule::new(3.0, WaitStrategy::Block);
        let start_ns = schedule.due_ns(0);
        assert_eq!(schedule.due_ns(1) - start_ns, 333_333_333);
        let year_s = 31_557_600;
        assert!((schedule.due_ns(3 * year_s) - start_ns).abs_diff(year_s * 1_000_000_000) < 1_000);
    }

    #[test]
    fn a_rate_too_low_for_the_clock_is_never_due_and_does_not_wrap() {
        let mut schedule = Schedule::new(f64::MIN_POSITIVE, WaitStrategy::Adaptive);
        schedule.due_ns(0);
        assert_eq!(schedule.due_ns(1), u64::MAX);
    }

    #[test]
    fn no_strategy_wakes_before_the_message_is_due() {
        for strategy in WaitStrategy::ALL {
            let mut schedule = Schedule::new(1_000.0, strategy);
            schedule.due_ns(0);
            for index in 1..20 {
                let due_ns = schedule.due_ns(index);
                schedule.wait_until(due_ns, &Waiting::new(strategy));
                assert!(now_ns() >= due_ns, "{strategy}");
            }
        }
    }
}
