//! A histogram on a worker's page: where each record goes is decided by one shift, and what Prometheus wants cumulated is cumulated
//! at the scrape.

use std::array;
use std::ops::Add;

use super::Counter;

/// Buckets with an upper bound: 1 µs, 2 µs, 4 µs, … 16.8 s. One more takes what is longer.
const BOUNDED: usize = 25;

/// Times of one stage, in nanoseconds. One thread writes it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Histogram {
    sum_ns: Counter,
    buckets: [Counter; BOUNDED + 1],
}

impl Histogram {
    /// Counts `count` records that took `ns` each.
    pub fn note(&self, ns: u64, count: u64) {
        self.buckets[bucket_of(ns)].bump(count);
        // What a producer says of its times is an allegation: a sum that is full must not begin again.
        self.sum_ns.bump(ns.saturating_mul(count));
    }

    /// What it says now.
    pub fn totals(&self) -> HistogramTotals {
        let Self { sum_ns, buckets } = self;
        HistogramTotals { sum_ns: sum_ns.get(), buckets: array::from_fn(|i| buckets[i].get()) }
    }
}

/// The first bucket whose bound is not below `ns`.
fn bucket_of(ns: u64) -> usize {
    let above_1_us = ns.div_ceil(1000).saturating_sub(1);
    ((u64::BITS - above_1_us.leading_zeros()) as usize).min(BOUNDED)
}

/// What several histograms say, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistogramTotals {
    sum_ns: u64,
    buckets: [u64; BOUNDED + 1],
}

impl HistogramTotals {
    /// How many records there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The time of all of them, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Each bound in seconds, and how many records did not take longer.
    pub fn cumulated(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        (0..BOUNDED).map(|i| (1_u64 << i) as f64 / 1e6).zip(counts)
    }
}

impl Add for HistogramTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sum_ns: self.sum_ns.saturating_add(other.sum_ns),
            buckets: array::from_fn(|i| self.buckets[i] + other.buckets[i]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_a_bound_is_counted_under_it_and_one_ns_more_is_not() {
        for i in 0..BOUNDED {
            let bound = 1000_u64 << i;
            assert_eq!([bound - 1, bound, bound + 1].map(bucket_of)[1..], [i, i + 1], "{bound} ns");
        }
        assert_eq!([0, 1, 999, u64::MAX].map(bucket_of), [0, 0, 0, BOUNDED]);
    }

    #[test]
    fn counts_are_cumulated_under_bounds_in_seconds() {
        let histogram = Histogram::default();
        histogram.note(900, 2);
        histogram.note(3_000, 64);
        histogram.note(u64::MAX, 1);
        histogram.note(1, 1);
        let totals = histogram.totals() + HistogramTotals::default();
        let cumulated: Vec<_> = totals.cumulated().collect();
        assert_eq!(cumulated[..4], [(1e-6, 3), (2e-6, 3), (4e-6, 67), (8e-6, 67)]);
        assert_eq!(cumulated.last(), Some(&(16.777216, 67)));
        assert_eq!(totals.count(), 68);
        assert_eq!(totals.sum_ns, u64::MAX, "a sum that is full stays full");
    }
}
