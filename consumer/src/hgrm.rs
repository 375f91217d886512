//! The percentile distribution file (`.hgrm`) of HdrHistogram, as its Java `outputPercentileDistribution` writes it.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// A histogram is in nanoseconds, its file in microseconds.
const NS_PER_US: f64 = 1_000.0;

/// Reported steps in each half of the way that is left to 100 %.
const TICKS_PER_HALF_DISTANCE: f64 = 5.0;

/// Writes the distribution of `histogram` (nanoseconds) to `out` in microseconds.
///
/// # Errors
/// `out` can't be written.
pub fn write(histogram: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    let digits = usize::from(histogram.sigfig());
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for Row { value_ns, level, count_to_here } in rows(histogram) {
        let (value, quantile) = (value_ns as f64 / NS_PER_US, level / 100.0);
        write!(out, "{value:12.digits$} {:.12} {count_to_here:10}", half_up(quantile))?;
        // The row of 100 % has three columns: the fourth would be infinite.
        match level {
            100.0 => writeln!(out)?,
            _ => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))?,
        }
    }
    let [mean, deviation, max] =
        [histogram.mean(), histogram.stdev(), histogram.max() as f64].map(|ns| ns / NS_PER_US);
    writeln!(out, "#[Mean    = {mean:12.digits$}, StdDeviation   = {deviation:12.digits$}]")?;
    writeln!(out, "#[Max     = {max:12.digits$}, Total count    = {:12}]", histogram.len())?;
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), sub_buckets(histogram))
}

/// One reported step.
pub(crate) struct Row {
    pub value_ns: u64,
    /// The percentile reported, 0 to 100.
    pub level: f64,
    /// How many recorded values are at most `value_ns`.
    pub count_to_here: u64,
}

/// The steps, as Java's `PercentileIterator` makes them: each recorded value is reported for every level that its
/// cumulative percentile reaches, the largest value for one such level and then for 100 %.
///
/// The crate's own iterator counts in quantiles from 0 to 1, whose tenths are inexact, and drifts.
pub(crate) fn rows(histogram: &Histogram<u64>) -> Vec<Row> {
    let total = histogram.len();
    let mut rows = Vec::new();
    let (mut level, mut count_to_here) = (0.0, 0);
    for bucket in histogram.iter_recorded() {
        count_to_here += bucket.count_at_value();
        let value_ns = bucket.value_iterated_to();
        let reached = 100.0 * count_to_here as f64 / total as f64;
        while reached >= level {
            rows.push(Row { value_ns, level, count_to_here });
            let next_level = level + step_from(level);
            if count_to_here == total {
                rows.push(Row { value_ns, level: 100.0, count_to_here });
                break;
            }
            // Beyond 2^50 values the steps are below what a double tells apart.
            if next_level == level {
                break;
            }
            level = next_level;
        }
    }
    rows
}

/// The distance from `level` (below 100) to the next: a fifth of half of what was left when the level last passed
/// a half (0, 50, 75, 87.5 …).
fn step_from(level: f64) -> f64 {
    let halvings = (100.0 / (100.0 - level)).log2().floor();
    100.0 / (TICKS_PER_HALF_DISTANCE * (halvings + 1.0).exp2())
}

/// `quantile` so that printing it rounds the decimal 5 up, as Java does, instead of the binary number just beside
/// it. Levels are multiples of 0.2 / 2^k: below 2^40 records none lies so close under such a tie.
fn half_up(quantile: f64) -> f64 {
    quantile + 1e-15
}

/// Buckets within a bucket: the power of two that tells 2 × 10^digits values apart. The crate doesn't say.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}
