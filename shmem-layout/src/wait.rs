//! Waiting: spin, yield, sleep on a futex shared by all processes, or one after the other.
//!
//! A state word says what may be done; an event's counter and flag say only that somebody may sleep. Who has
//! changed a state word and finds the flag set clears it, counts up, and wakes all. A flag, and not a count of
//! sleepers, for a sleeper that is killed would leave a count above zero, and every later change a system call.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

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

    fn step(self, round: u32) -> Step {
        // A pause takes about 25 ns, a yield about 500.
        const SPINS: u32 = 64;
        const YIELDS: u32 = 200;
        match self {
            Self::Spin => Step::Pause,
            Self::Yield => Step::Yield,
            Self::Block => Step::Sleep,
            Self::Adaptive if round < SPINS => Step::Pause,
            Self::Adaptive if round < SPINS + YIELDS => Step::Yield,
            Self::Adaptive => Step::Sleep,
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

enum Step {
    Pause,
    Yield,
    Sleep,
}

/// How a member waits, and the flag that makes it stop waiting.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// How to wait.
    pub strategy: WaitStrategy,
    /// Set by somebody else (a signal's handler): every wait ends within [`SLEEP_LIMIT`].
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

    /// Waits on `event` until `attempt` gives a value; `idle` is asked about every 100 µs of polling and after
    /// every sleep, for what must be looked after meanwhile, and may end the wait too.
    pub(crate) fn wait<T>(
        &self,
        event: Event,
        strategy: WaitStrategy,
        mut attempt: impl FnMut() -> Option<T>,
        mut idle: impl FnMut() -> Option<T>,
    ) -> T {
        let mut round = 0_u32;
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            let mut look_after = round % 4096 == 4095;
            match strategy.step(round) {
                Step::Pause => std::hint::spin_loop(),
                Step::Yield => std::thread::yield_now(),
                Step::Sleep => {
                    if let Some(value) = self.sleep_unless(event, &mut attempt) {
                        return value;
                    }
                    look_after = true;
                }
            }
            if look_after && let Some(value) = idle() {
                return value;
            }
            round = round.wrapping_add(1);
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
