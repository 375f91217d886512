//! What pages of statistics say, added up.

use std::array;
use std::iter::Sum;
use std::ops::Add;

use super::{HistogramTotals, MethodStats, Stats};

/// See [`Stats`], whose fields these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub batches: u64,
    pub swaps: u64,
    pub restores: u64,
    pub replacements: u64,
    pub failed_runs: [u64; Stats::FAILURES],
    pub cache_memory_hits: u64,
    pub cache_disk_hits: u64,
    pub cache_misses: u64,
    pub compile_ns: u64,
    pub instantiate_ns: u64,
    pub instances: u64,
    pub first_calls: u64,
    pub first_call_ns: u64,
    pub methods: [MethodTotals; Stats::METHODS],
}

/// As [`Totals`], for a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodTotals {
    pub outcomes: [u64; MethodStats::OUTCOMES],
    pub busy_ns: u64,
    pub queue: HistogramTotals,
    pub sign: HistogramTotals,
}

impl Totals {
    /// What `stats` says now.
    pub fn of(stats: &Stats) -> Self {
        Self {
            batches: stats.batches.get(),
            swaps: stats.swaps.get(),
            restores: stats.restores.get(),
            replacements: stats.replacements.get(),
            failed_runs: array::from_fn(|i| stats.failed_runs[i].get()),
            cache_memory_hits: stats.cache_memory_hits.get(),
            cache_disk_hits: stats.cache_disk_hits.get(),
            cache_misses: stats.cache_misses.get(),
            compile_ns: stats.compile_ns.get(),
            instantiate_ns: stats.instantiate_ns.get(),
            instances: stats.instances.get(),
            first_calls: stats.first_calls.get(),
            first_call_ns: stats.first_call_ns.get(),
            methods: array::from_fn(|i| MethodTotals::of(&stats.methods[i])),
        }
    }

    /// Records answered with a signature.
    pub fn signed(&self) -> u64 {
        self.methods.iter().map(MethodTotals::signed).sum()
    }

    /// Records answered without one.
    pub fn failed(&self) -> u64 {
        self.methods.iter().map(MethodTotals::failed).sum()
    }
}

impl MethodTotals {
    fn of(stats: &MethodStats) -> Self {
        Self {
            outcomes: array::from_fn(|i| stats.outcomes[i].get()),
            busy_ns: stats.busy_ns.get(),
            queue: stats.queue.totals(),
            sign: stats.sign.totals(),
        }
    }

    /// Records answered with a signature.
    pub fn signed(&self) -> u64 {
        self.outcomes[0]
    }

    /// Records answered without one.
    pub fn failed(&self) -> u64 {
        self.outcomes[1..].iter().sum()
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            batches: self.batches + other.batches,
            swaps: self.swaps + other.swaps,
            restores: self.restores + other.restores,
            replacements: self.replacements + other.replacements,
            failed_runs: array::from_fn(|i| self.failed_runs[i] + other.failed_runs[i]),
            cache_memory_hits: self.cache_memory_hits + other.cache_memory_hits,
            cache_disk_hits: self.cache_disk_hits + other.cache_disk_hits,
            cache_misses: self.cache_misses + other.cache_misses,
            compile_ns: self.compile_ns + other.compile_ns,
            instantiate_ns: self.instantiate_ns + other.instantiate_ns,
            instances: self.instances + other.instances,
            first_calls: self.first_calls + other.first_calls,
            first_call_ns: self.first_call_ns + other.first_call_ns,
            methods: array::from_fn(|i| self.methods[i] + other.methods[i]),
        }
    }
}

impl Add for MethodTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            outcomes: array::from_fn(|i| self.outcomes[i] + other.outcomes[i]),
            busy_ns: self.busy_ns + other.busy_ns,
            queue: self.queue + other.queue,
            sign: self.sign + other.sign,
        }
    }
}

impl Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
