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

use crate::cells::{Cells, Event, Ordering, fence};

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
    /// Spins for about 2 µs, yields for about 100 µs, then sleeps.
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

    /// How many times to poll with a pause of about 25 ns before the clock is looked at: in every round, or in the
    /// first only.
    fn pauses(self, is_first_round: bool) -> u32 {
        match self {
            Self::Spin => 64,
            Self::Adaptive if is_first_round => 64,
            Self::Adaptive | Self::Yield | Self::Block => 0,
        }
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

/// How long [`WaitStrategy::Adaptive`] yields before it sleeps. By the clock, not by count: a yield takes half a
/// microsecond on an idle machine, and a time slice on a busy one.
const YIELD_FOR: Duration = Duration::from_micros(100);

/// How often a member that polls looks after stop flags and the dead. One that sleeps does so after each sleep.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(10);

/// How a member waits, and the flag that makes it stop waiting.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// How to wait.
    pub strategy: WaitStrategy,
    /// Set by somebody else (a signal's handler): every wait ends within about [`SLEEP_LIMIT`].
    pub stop: Arc<AtomicBool>,
}

impl Waiting {
    /// Waits by `strategy`, never stopped.
    pub fn new(strategy: WaitStrategy) -> Self {
        Self { strategy, stop: Arc::default() }
    }

    /// Whether the flag is set.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Cells {
    /// Tells whoever sleeps on `event` that a state word has changed. A system call only if somebody sleeps.
    pub(crate) fn notify(&self, event: Event) {
        // label: sleeping. Either this sees the flag, or the sleeper sees the state word changed before.
        fence(Ordering::SeqCst);
        let waiters = self.event_waiters(event);
        if waiters.load(Ordering::Relaxed) != 0 {
            waiters.store(0, Ordering::Relaxed);
            // label: woken. Who reads this count sets the flag after it was cleared, not before.
            self.event_counter(event).fetch_add(1, Ordering::Release);
            self.memory.wake(event);
        }
    }

    /// Waits on `event` until `attempt` gives a value; `idle` is asked every 10 ms of polling and after every sleep, for
    /// what must be looked after meanwhile, and may end the wait too.
    pub(crate) fn wait<T>(
        &self,
        event: Event,
        strategy: WaitStrategy,
        mut attempt: impl FnMut() -> Option<T>,
        mut idle: impl FnMut() -> Option<T>,
    ) -> T {
        let mut since: Option<(Instant, Instant)> = None;
        loop {
            for _ in 0..strategy.pauses(since.is_none()) {
                if let Some(value) = attempt() {
                    return value;
                }
                std::hint::spin_loop();
            }
            if let Some(value) = attempt() {
                return value;
            }
            let now = Instant::now();
            let (started, looked) = since.get_or_insert((now, now));
            let may_yield = strategy == WaitStrategy::Yield
                || strategy == WaitStrategy::Adaptive && now - *started < YIELD_FOR;
            let sleeps = strategy != WaitStrategy::Spin && !may_yield;
            if may_yield {
                std::thread::yield_now();
            } else if sleeps && let Some(value) = self.sleep_unless(event, &mut attempt) {
                return value;
            }
            if sleeps || now - *looked >= LOOK_AFTER_EVERY {
                *looked = now;
                if let Some(value) = idle() {
                    return value;
                }
            }
        }
    }

    /// Sleeps on `event` unless `attempt` gives a value once the flag is set.
    pub(crate) fn sleep_unless<T>(&self, event: Event, attempt: impl FnOnce() -> Option<T>) -> Option<T> {
        // In this order: a counter read after the flag was set could be newer than the clearing of that flag.
        let expected = self.event_counter(event).load(Ordering::Acquire); // label: woken
        self.event_waiters(event).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // label: sleeping
        let value = attempt();
        if value.is_none() {
            self.memory.sleep(event, expected, SLEEP_LIMIT);
        }
        value
    }
}
