//! Waiting: spin, yield, sleep on a futex shared by all processes, or one after the other.
//!
//! A state word says what may be done; an event's counter and flag say only that somebody may sleep. Who has
//! changed a state word and finds the flag set clears it, counts up, and wakes all. A flag, and not a count of
//! sleepers, for a sleeper that is killed would leave a count above zero, and every later change a system call.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::cells::{Cells, Event, Ordering, acquire, full_fence, release};
use crate::stall::STALL_AFTER;

/// No sleep is longer: a member killed between its change and its wake leaves a wake undone.
pub const SLEEP_LIMIT: Duration = Duration::from_millis(20);

/// How a member waits for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitStrategy {
    /// Polls without a break. Only with a core for each process.
    Spin,
    /// Polls, giving the core away in between.
    Yield,
    /// Sleeps on the futex at once.
    Block,
    /// Spins for about 2 µs if that has been long enough of late, yields for as long as what it waits for is likely to come
    /// soon (it remembers how long its waits are), then sleeps.
    #[default]
    Adaptive,
}

impl WaitStrategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Spin, Self::Yield, Self::Block, Self::Adaptive];

    /// The name that flags use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Yield => "yield",
            Self::Block => "block",
            Self::Adaptive => "adaptive",
        }
    }

    /// How many times to poll with a pause of about 25 ns before the clock is looked at.
    fn pauses(self) -> u32 {
        if self == Self::Spin { SPIN_PAUSES } else { 0 }
    }
}

impl fmt::Display for WaitStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WaitStrategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| format!("legal values: {}", legal()))
    }
}

/// How long [`WaitStrategy::Adaptive`] goes without sleep at most where waits are short. By the clock, not by count: a yield
/// takes half a microsecond on an idle machine, and a time slice on a busy one.
///
/// A sleeper on another core takes 20 µs or more to wake, and the one that wakes it some µs of work.
const YIELD_FOR_MAX: Duration = Duration::from_micros(300);

/// The same where waits are long, and it would hardly ever pay: two looks or three. (With 20 µs each record took 20 µs more of CPU
/// time between two processes that wait, and came no earlier.)
const YIELD_FOR_MIN: Duration = Duration::from_micros(2);

/// The longest time from one record to the next, on average, that is worth going without sleep for. Records that come more seldom
/// than some 8,000 times a second find every member asleep, and leave the cores to others.
const WORTH_YIELDING: Duration = Duration::from_micros(130);

/// The same for spinning.
const WORTH_SPINNING: Duration = Duration::from_micros(8);

/// About 2 µs.
const SPIN_PAUSES: u32 = 64;

/// What a longer time counts as at most: after a pause, a member takes to short waits again within ten of them.
const LONG: Duration = Duration::from_micros(400);

/// By how much a time may be longer than the usual one and count in full.
const ODD: Duration = Duration::from_micros(40);

/// How far apart the records have been lately that a member had to wait for, by which [`WaitStrategy::Adaptive`] guesses what the
/// next wait is worth. The first are taken to be near.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habit {
    /// Averaged over the last few waits; no more than [`LONG`].
    usual: Duration,
    /// When the last wait ended.
    ended: Option<Instant>,
}

impl Habit {
    fn yield_for(self) -> Duration {
        if self.usual <= WORTH_YIELDING { YIELD_FOR_MAX } else { YIELD_FOR_MIN }
    }

    /// How many times [`WaitStrategy::Adaptive`] polls before it gives the core away for the first time. Whoever is to go on
    /// may wait for that very core.
    fn pauses(self) -> u32 {
        if self.usual <= WORTH_SPINNING { SPIN_PAUSES } else { 0 }
    }

    /// Takes note of a wait.
    ///
    /// From the end of one to the end of the next it is the same time for all members, whatever they do with a record; by their
    /// waits alone those with less to do would sleep at a rate at which others burn a core for nothing. But where there is
    /// something to do for long, and a short wait now and then, it is the wait that tells.
    fn note(&mut self, started: Instant, ended: Instant) {
        let waited = ended - started;
        let apart = self.ended.replace(ended).map_or(waited, |last| (ended - last).min(2 * waited));
        // One long wait among short ones is no habit: who then slept would be late for those that follow.
        let most = (self.usual + ODD).min(LONG);
        self.usual = (3 * self.usual + apart.min(most)) / 4;
    }
}

/// How often a member that polls looks after stop flags and the dead. One that sleeps does so after each sleep.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(10);

/// How a member waits, and what makes it stop waiting.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// How to wait.
    pub strategy: WaitStrategy,
    /// Set by somebody else (a signal's handler): every wait ends within about [`SLEEP_LIMIT`].
    pub stop: Arc<AtomicBool>,
    /// How long something may be pending without anything moving; [`Duration::MAX`] for ever. Waiting where nothing is
    /// pending (for a message that nobody has sent) has no limit.
    pub stall_after: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new(WaitStrategy::default())
    }
}

impl Waiting {
    /// Waits by `strategy`, never stopped by a flag, and for [`STALL_AFTER`] where nothing moves.
    pub fn new(strategy: WaitStrategy) -> Self {
        Self { strategy, stop: Arc::default(), stall_after: STALL_AFTER }
    }

    /// Whether the flag is set.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// [`STALL_AFTER`], as a `--stall` flag has it.
pub const STALL_SECONDS: &str = "60";

/// Reads a `--stall` flag: seconds, or 0 for [`Duration::MAX`].
///
/// # Errors
/// It is no such number.
pub fn parse_stall_after(text: &str) -> Result<Duration, String> {
    let seconds =
        text.parse::<f64>().map_err(|_| "a number of seconds is expected, 0 for ever".to_owned())?;
    if seconds == 0.0 {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Cells {
    /// Tells whoever sleeps on `event` that a state word has changed. A system call only if somebody sleeps.
    pub(crate) fn notify(&self, event: Event) {
        // Either this sees the flag, or the sleeper sees the state word changed before.
        full_fence("sleeping: change");
        let waiters = self.event_waiters(event);
        if waiters.load(Ordering::Relaxed) != 0 {
            waiters.store(0, Ordering::Relaxed);
            // Who reads this count sets the flag after it was cleared, not before.
            self.event_counter(event).fetch_add(1, release("woken: count"));
            self.memory.wake(event);
        }
    }

    /// Waits on `event` until `attempt` gives a value; `idle` is asked every 10 ms of polling and after every sleep, for
    /// what must be looked after meanwhile, and may end the wait too.
    pub(crate) fn wait<T>(
        &self,
        event: Event,
        strategy: WaitStrategy,
        habit: &mut Habit,
        mut attempt: impl FnMut() -> Option<T>,
        mut idle: impl FnMut() -> Option<T>,
    ) -> T {
        let mut poll = |pauses: u32| {
            for _ in 0..pauses {
                if let Some(value) = attempt() {
                    return Some(value);
                }
                std::hint::spin_loop();
            }
            attempt()
        };
        let first = if strategy == WaitStrategy::Adaptive { habit.pauses() } else { strategy.pauses() };
        if let Some(value) = poll(first) {
            return value;
        }
        let started = Instant::now();
        let (mut now, mut looked, yields_for) = (started, started, habit.yield_for());
        loop {
            let sleeps = match strategy {
                WaitStrategy::Spin | WaitStrategy::Yield => false,
                WaitStrategy::Block => true,
                WaitStrategy::Adaptive => now - started >= yields_for,
            };
            let mut value = None;
            if sleeps {
                value = self.sleep_unless(event, || poll(0));
                now = Instant::now();
            } else if strategy != WaitStrategy::Spin {
                std::thread::yield_now();
            }
            if value.is_none() && (sleeps || now - looked >= LOOK_AFTER_EVERY) {
                looked = now;
                value = idle();
            }
            if let Some(value) = value.or_else(|| poll(strategy.pauses())) {
                // As of the last look at the clock, which is worth no other one.
                habit.note(started, now);
                return value;
            }
            now = if sleeps { now } else { Instant::now() };
        }
    }

    /// Sleeps on `event` unless `attempt` gives a value once the flag is set.
    pub(crate) fn sleep_unless<T>(&self, event: Event, attempt: impl FnOnce() -> Option<T>) -> Option<T> {
        // In this order: a counter read after the flag was set could be newer than the clearing of that flag.
        let expected = self.event_counter(event).load(acquire("woken: sleeper"));
        self.event_waiters(event).store(1, Ordering::Relaxed);
        full_fence("sleeping: sleeper");
        let value = attempt();
        if value.is_none() {
            self.memory.sleep(event, expected, SLEEP_LIMIT);
        }
        value
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A member that waits, and does something with each record.
    struct Member {
        habit: Habit,
        now: Instant,
    }

    impl Member {
        fn new() -> Self {
            Self { habit: Habit::default(), now: Instant::now() }
        }

        /// Works and waits for so many microseconds.
        fn go_on(&mut self, work: u64, wait: u64) {
            let started = self.now + Duration::from_micros(work);
            self.now = started + Duration::from_micros(wait);
            self.habit.note(started, self.now);
        }

        /// After how many records it yields for `yield_for`, if after fewer than a hundred.
        fn goes_on_until(&mut self, yield_for: Duration, work: u64, wait: u64) -> Option<u32> {
            (1..100).find(|_| {
                self.go_on(work, wait);
                self.habit.yield_for() == yield_for
            })
        }
    }

    #[test]
    fn who_waits_long_as_a_rule_takes_to_short_waits_again_and_back() {
        let mut member = Member::new();
        assert_eq!(member.habit.yield_for(), YIELD_FOR_MAX, "nothing is known yet");
        assert!(member.goes_on_until(YIELD_FOR_MIN, 0, 200).is_some_and(|records| records < 30));
        (0..100).for_each(|_| member.go_on(0, 60_000_000));
        assert!(member.goes_on_until(YIELD_FOR_MAX, 0, 100).is_some_and(|records| records < 10));
        assert_eq!(
            member.goes_on_until(YIELD_FOR_MIN, 0, 100),
            None,
            "10,000 a second are waited for without sleep"
        );
    }

    #[test]
    fn one_long_wait_among_short_ones_puts_nobody_to_sleep() {
        let mut member = Member::new();
        for wait in [0, 1, 50, 100, 110] {
            assert_eq!(member.goes_on_until(YIELD_FOR_MIN, 0, wait), None);
            member.go_on(0, 60_000_000);
            assert_eq!(member.habit.yield_for(), YIELD_FOR_MAX, "after waits of {wait} µs");
        }
        assert!(member.goes_on_until(YIELD_FOR_MIN, 0, 60_000_000).is_some(), "several are a habit");
    }

    #[test]
    fn all_members_sleep_at_the_same_rates_whatever_they_do_with_a_record() {
        for work in [0, 30, 60] {
            let sleeps_at =
                |apart: u64| Member::new().goes_on_until(YIELD_FOR_MIN, work, apart - work).is_some();
            assert_eq!((sleeps_at(140), sleeps_at(125)), (true, false), "{work} µs a record");
        }
        // But a short wait after each batch is waited for without sleep.
        assert_eq!(Member::new().goes_on_until(YIELD_FOR_MIN, 5_000, 20), None);
    }

    #[test]
    fn a_stall_flag_is_seconds_or_never() {
        assert_eq!(parse_stall_after(STALL_SECONDS), Ok(STALL_AFTER));
        assert_eq!(parse_stall_after("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_stall_after("0"), Ok(Duration::MAX));
        for bad in ["", "-1", "soon", "NaN", "1e300"] {
            assert!(parse_stall_after(bad).is_err(), "{bad}");
        }
    }
}
