//! Times: the processor's counter for what takes nanoseconds, and where a thread runs.

use std::arch::x86_64::{__rdtscp, _mm_lfence, _rdtsc};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// Ticks of the processor's counter, before what is timed.
#[inline(always)]
pub fn ticks_before() -> u64 {
    // SAFETY: every x86-64 processor has both instructions.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// The same, after it: not before all earlier loads are done.
#[inline(always)]
pub fn ticks_after() -> u64 {
    let mut core = 0;
    // SAFETY: every x86-64 processor that runs Linux with a stable counter has it.
    unsafe { __rdtscp(&raw mut core) }
}

/// How long a tick is.
#[derive(Clone, Copy, Debug)]
pub struct TickRate {
    /// Nanoseconds of a tick.
    pub ns: f64,
}

impl TickRate {
    /// Compares the counter with the monotonic clock for 20 ms.
    pub fn measure() -> Self {
        let (started, first) = (Instant::now(), ticks_before());
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let (ticks, elapsed) = (ticks_before() - first, started.elapsed());
        Self { ns: elapsed.as_nanos() as f64 / ticks as f64 }
    }

    /// So many ticks in nanoseconds.
    pub fn ns_of(self, ticks: u64) -> f64 {
        ticks as f64 * self.ns
    }

    /// So many nanoseconds in ticks.
    pub fn ticks_of(self, ns: f64) -> u64 {
        (ns / self.ns) as u64
    }
}

/// Spins for so many ticks.
pub fn spin_for(ticks: u64) {
    let until = ticks_before() + ticks;
    while ticks_before() < until {
        std::hint::spin_loop();
    }
}

/// The cores that this process may use.
pub fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps the calling thread on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets the calling thread run on any of `cores` again.
pub fn unpin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}
