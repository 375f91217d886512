//! A worker's page of statistics: it alone writes, its supervisor reads. The page outlives the worker, and the one
//! that takes its place goes on counting.

mod histogram;
mod totals;

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use cli::Method;
use extension_engine::EngineError;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::status;

pub(crate) use histogram::{Histogram, HistogramTotals};
pub(crate) use totals::{MethodTotals, Totals};

const PAGE_LEN: usize = 4096;

/// What a worker counts. Plain counters: no order between them is promised.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Stats {
    /// Batches claimed.
    pub batches: Counter,
    /// One above the highest sequence claimed.
    pub claimed_end: Counter,
    /// Modules swapped for another one.
    pub swaps: Counter,
    /// Memories restored from their backup, after an error status.
    pub restores: Counter,
    /// Instances replaced: after a trap, a missed deadline, or a full heap.
    pub replacements: Counter,
    /// Runs that failed as a whole, in the order of [`Stats::FAILURE_NAMES`].
    failed_runs: [Counter; Stats::FAILURES],
    /// Modules that were found compiled, in memory and on disk, and those that were not.
    pub cache_memory_hits: Counter,
    pub cache_disk_hits: Counter,
    pub cache_misses: Counter,
    /// Time in compilation, or in fetching what was compiled, in nanoseconds.
    pub compile_ns: Counter,
    /// Time in instantiation, the key's installation included, in nanoseconds.
    pub instantiate_ns: Counter,
    /// Instances made.
    pub instances: Counter,
    /// First batches of instances, and the time that they took, in nanoseconds.
    pub first_calls: Counter,
    pub first_call_ns: Counter,
    /// How much of the worker's memory is never swapped out: the number of a [`Locked`](crate::memory_lock::Locked).
    pub locked: Counter,
    /// Slots that the ring has; 0 before the worker has seen it.
    pub ring_capacity: Counter,
    /// Slots of the ring that were in use when the worker last looked, and when that was, in nanoseconds of the ring's clock.
    pub ring_used: Counter,
    pub ring_seen_ns: Counter,
    /// One for each method, and one for all that no engine knows.
    methods: [MethodStats; Stats::METHODS],
}

/// What a worker counts for each method.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct MethodStats {
    /// Records answered, by their status: in the order of [`MethodStats::OUTCOME_NAMES`].
    outcomes: [Counter; MethodStats::OUTCOMES],
    /// Time in the engine, in nanoseconds.
    pub busy_ns: Counter,
    /// When a record was due, until it was claimed.
    pub queue: Histogram,
    /// When it was claimed, until it was signed.
    pub sign: Histogram,
}

/// A number that one process writes and another reads.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// What it says.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to it, from any thread.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Adds to one that a single thread adds to: a plain addition, and none beyond what there is room for.
    pub fn bump(&self, more: u64) {
        self.set(self.get().saturating_add(more));
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Raises it to `least`, if it is lower.
    pub fn raise(&self, least: u64) {
        self.0.fetch_max(least, Ordering::Relaxed);
    }
}

impl MethodStats {
    /// What becomes of a record, by the statuses of [`crate::status`]; positive ones are the extension's own.
    pub const OUTCOME_NAMES: [&'static str; Self::OUTCOMES] = [
        "signed",
        "no_engine",
        "engine_failed",
        "bad_answer",
        "not_verified",
        "deadline",
        "out_of_memory",
        "extension_error",
    ];
    const OUTCOMES: usize = 8;

    /// Counts a record that was answered with `status`, `queue_ns` after it was due until it was claimed.
    pub fn note(&self, status: i32, queue_ns: u64) {
        let outcome = match status {
            0 => 0,
            status::OUT_OF_MEMORY..=status::NO_ENGINE => status.unsigned_abs() as usize,
            _ => Self::OUTCOMES - 1,
        };
        self.outcomes[outcome].bump(1);
        self.queue.note(queue_ns, 1);
    }
}

impl Stats {
    /// Methods, in the order of [`Method::ALL`], and what is none.
    const METHODS: usize = Method::ALL.len() + 1;

    /// Why a run fails as a whole.
    pub const FAILURE_NAMES: [&'static str; Self::FAILURES] = ["trap", "deadline", "out_of_memory", "other"];
    const FAILURES: usize = 4;

    /// The counters of `method`; of those that nobody knows, if it is none.
    pub fn of(&self, method: Option<Method>) -> &MethodStats {
        &self.methods[method.map_or(Self::METHODS - 1, |method| method as usize - 1)]
    }

    /// Counts a run that failed as a whole.
    pub fn note_failed_run(&self, error: &EngineError) {
        let failure = match error {
            EngineError::Trap { .. } => 0,
            EngineError::Deadline { .. } => 1,
            EngineError::OutOfMemory { .. } => 2,
            _ => 3,
        };
        self.failed_runs[failure].bump(1);
    }

    /// What it says now.
    pub fn totals(&self) -> Totals {
        Totals::of(self)
    }
}

/// A mapped page.
pub(crate) struct Page {
    map: MmapRaw,
    file: File,
}

impl Page {
    /// A new page, all zero, of no name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let file = memfd_create("signer-stats", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, PAGE_LEN as u64)?;
        Self::map(file)
    }

    /// The page behind a descriptor that the supervisor has handed on.
    ///
    /// # Errors
    /// It is none.
    pub fn map(descriptor: OwnedFd) -> io::Result<Self> {
        let file = File::from(descriptor);
        if file.metadata()?.len() != PAGE_LEN as u64 {
            return Err(io::Error::other("it is no page of statistics"));
        }
        Ok(Self { map: MmapOptions::new().len(PAGE_LEN).map_raw(&file)?, file })
    }

    /// A descriptor of the page, for a worker.
    ///
    /// # Errors
    /// The kernel's.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

impl Deref for Page {
    type Target = Stats;

    fn deref(&self) -> &Stats {
        const { assert!(size_of::<Stats>() <= PAGE_LEN) }
        // SAFETY: the mapping is a page long, starts on a page, and lives as long as `self`; `Stats` consists of
        // atomics, for which all bits are valid and which another process may change.
        unsafe { &*self.map.as_ptr().cast::<Stats>() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_a_page_count_together() {
        let supervisors = Page::new().unwrap();
        let workers = Page::map(supervisors.descriptor().unwrap()).unwrap();
        for _ in 0..3 {
            workers.of(Some(Method::Schnorr)).note(0, 5_000);
        }
        workers.of(Some(Method::Null)).note(status::DEADLINE, 0);
        workers.of(Some(Method::Null)).note(7, 0);
        workers.of(None).note(status::NO_ENGINE, 0);
        workers.claimed_end.raise(9);
        workers.claimed_end.raise(4);
        let totals = supervisors.totals();
        assert_eq!((totals.signed(), totals.failed(), supervisors.claimed_end.get()), (3, 3, 9));
        assert_eq!(totals.methods.map(|method| method.queue.count()), [0, 3, 2, 1]);
        assert_eq!(totals.methods[1].outcomes, [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(totals.methods[2].outcomes, [0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(totals.methods[3].outcomes, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((totals + totals).signed(), 6);
    }

    #[test]
    fn every_status_of_the_signer_has_an_outcome_of_its_own() {
        let page = Page::new().unwrap();
        let statuses = [
            0,
            status::NO_ENGINE,
            status::ENGINE_FAILED,
            status::BAD_ANSWER,
            status::NOT_VERIFIED,
            status::DEADLINE,
            status::OUT_OF_MEMORY,
            i32::MIN,
        ];
        statuses.into_iter().for_each(|status| page.of(None).note(status, 0));
        assert_eq!(page.totals().methods[3].outcomes, [1; MethodStats::OUTCOMES]);
    }
}
