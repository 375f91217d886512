//! Medians, spreads and percentiles.

use serde::Serialize;

/// What several rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many rounds.
    pub rounds: usize,
}

impl Spread {
    /// Of `values`; none of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.len();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = (sorted[(rounds - 1) / 2] + sorted[rounds / 2]) / 2.0;
        Some(Self { median, min, max, rounds })
    }
}

/// The value that `share` of the sorted values are at most.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

/// The median of values that were read from a clock with few steps: where in the step that most of them share it must be.
pub fn median_between_steps(sorted: &[u64]) -> f64 {
    let middle = percentile(sorted, 0.5);
    let (below, same) = (sorted.partition_point(|v| *v < middle), sorted.partition_point(|v| *v <= middle));
    let lower = below.checked_sub(1).map(|i| sorted[i]);
    let (lower, upper) = (lower, sorted.get(same).copied());
    let step =
        [lower.map(|l| middle - l), upper.map(|u| u - middle)].into_iter().flatten().min().unwrap_or(0);
    let share = (sorted.len() as f64 / 2.0 - below as f64) / (same - below).max(1) as f64;
    middle as f64 + (share - 0.5) * step as f64
}

/// The percentiles that latencies are told by: the 50th (between the clock's steps), the 99th and the 99.9th.
pub fn latencies(values: &mut [u64]) -> [f64; 3] {
    values.sort_unstable();
    [median_between_steps(values), percentile(values, 0.99) as f64, percentile(values, 0.999) as f64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!([0.0, 0.5, 0.99, 0.999, 1.0].map(|p| percentile(&values, p)), [1, 500, 990, 999, 1000]);
        assert_eq!((percentile(&[], 0.5), percentile(&[7], 0.999)), (0, 7));
    }

    #[test]
    fn a_median_lies_between_the_steps_of_the_clock() {
        // Times that are spread evenly from 95 to 115, read from a clock that moves every 10.
        let values: Vec<u64> = (0..1000).map(|i| (95 + i * 20 / 1000 + 5) / 10 * 10).collect();
        assert!((median_between_steps(&values) - 105.0).abs() < 0.5);
        assert_eq!((median_between_steps(&[]), median_between_steps(&[7; 5])), (0.0, 7.0));
    }

    #[test]
    fn a_spread_is_of_all_rounds() {
        let spread = Spread::of([3.0, 1.0, 2.0, 10.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, min: 1.0, max: 10.0, rounds: 4 }));
        assert_eq!(Spread::of([]), None);
    }
}
