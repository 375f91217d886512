//! A worker's page of statistics: it alone writes, its supervisor reads. The page outlives the worker, and the one
//! that takes its place goes on counting.

use std::fs::File;
use std::io;
use std::iter::Sum;
use std::ops::{Add, Deref};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use cli::Method;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

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
    /// Records of a method that no engine knows: failed, all of them.
    pub unknown: Counter,
    methods: [MethodStats; Method::ALL.len()],
}

/// What a worker counts for each method.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct MethodStats {
    /// Records answered with a signature.
    pub signed: Counter,
    /// Records answered without one.
    pub failed: Counter,
    /// Time in the engine, in nanoseconds.
    pub busy_ns: Counter,
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

    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
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

impl Stats {
    /// The counters of `method`.
    pub fn of(&self, method: Method) -> &MethodStats {
        &self.methods[method as usize - 1]
    }

    /// Records answered with a signature.
    pub fn signed(&self) -> u64 {
        self.methods.iter().map(|method| method.signed.get()).sum()
    }

    /// Records answered without one.
    pub fn failed(&self) -> u64 {
        self.unknown.get() + self.methods.iter().map(|method| method.failed.get()).sum::<u64>()
    }

    /// What it says now.
    pub fn totals(&self) -> Totals {
        let method = |method: &MethodStats| MethodTotals {
            signed: method.signed.get(),
            failed: method.failed.get(),
            busy_ns: method.busy_ns.get(),
        };
        let [ecdsa, schnorr, null] = &self.methods;
        Totals {
            batches: self.batches.get(),
            swaps: self.swaps.get(),
            restores: self.restores.get(),
            replacements: self.replacements.get(),
            cache_memory_hits: self.cache_memory_hits.get(),
            cache_disk_hits: self.cache_disk_hits.get(),
            cache_misses: self.cache_misses.get(),
            compile_ns: self.compile_ns.get(),
            instantiate_ns: self.instantiate_ns.get(),
            instances: self.instances.get(),
            first_calls: self.first_calls.get(),
            first_call_ns: self.first_call_ns.get(),
            unknown: self.unknown.get(),
            methods: [method(ecdsa), method(schnorr), method(null)],
        }
    }
}

/// What several pages say, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub batches: u64,
    pub swaps: u64,
    pub restores: u64,
    pub replacements: u64,
    pub cache_memory_hits: u64,
    pub cache_disk_hits: u64,
    pub cache_misses: u64,
    pub compile_ns: u64,
    pub instantiate_ns: u64,
    pub instances: u64,
    pub first_calls: u64,
    pub first_call_ns: u64,
    pub unknown: u64,
    pub methods: [MethodTotals; Method::ALL.len()],
}

/// As [`Totals`], for a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodTotals {
    pub signed: u64,
    pub failed: u64,
    pub busy_ns: u64,
}

impl Totals {
    /// Records answered with a signature.
    pub fn signed(&self) -> u64 {
        self.methods.iter().map(|method| method.signed).sum()
    }

    /// Records answered without one.
    pub fn failed(&self) -> u64 {
        self.unknown + self.methods.iter().map(|method| method.failed).sum::<u64>()
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let method = |i: usize| {
            let (one, other) = (&self.methods[i], &other.methods[i]);
            MethodTotals {
                signed: one.signed + other.signed,
                failed: one.failed + other.failed,
                busy_ns: one.busy_ns + other.busy_ns,
            }
        };
        Self {
            batches: self.batches + other.batches,
            swaps: self.swaps + other.swaps,
            restores: self.restores + other.restores,
            replacements: self.replacements + other.replacements,
            cache_memory_hits: self.cache_memory_hits + other.cache_memory_hits,
            cache_disk_hits: self.cache_disk_hits + other.cache_disk_hits,
            cache_misses: self.cache_misses + other.cache_misses,
            compile_ns: self.compile_ns + other.compile_ns,
            instantiate_ns: self.instantiate_ns + other.instantiate_ns,
            instances: self.instances + other.instances,
            first_calls: self.first_calls + other.first_calls,
            first_call_ns: self.first_call_ns + other.first_call_ns,
            unknown: self.unknown + other.unknown,
            methods: [method(0), method(1), method(2)],
        }
    }
}

impl Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
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
        workers.of(Method::Schnorr).signed.add(3);
        workers.of(Method::Null).failed.add(2);
        workers.unknown.add(1);
        workers.claimed_end.raise(9);
        workers.claimed_end.raise(4);
        let stats = (supervisors.signed(), supervisors.failed(), supervisors.claimed_end.get());
        assert_eq!(stats, (3, 3, 9));
    }
}
