//! Quantiles of what was measured.

use std::time::Duration;

/// Quantiles: values that were measured, none in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// 99 % are at most this.
    pub p99: Duration,
    /// The greatest.
    pub max: Duration,
}

/// The quantiles of `samples`, which are sorted for it; `None` if there are none.
pub fn quantiles(samples: &mut [Duration]) -> Option<Quantiles> {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() * percent).div_ceil(100).max(1) - 1];
    let max = *samples.last()?;
    Some(Quantiles { p50: at(50), p99: at(99), max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_least_value_that_so_many_are_at_most() {
        let ms = Duration::from_millis;
        let mut samples: Vec<_> = (1..=200).rev().map(ms).collect();
        assert_eq!(quantiles(&mut samples), Some(Quantiles { p50: ms(100), p99: ms(198), max: ms(200) }));
        assert_eq!(quantiles(&mut [ms(3)]), Some(Quantiles { p50: ms(3), p99: ms(3), max: ms(3) }));
        assert_eq!(quantiles(&mut []), None);
    }
}
