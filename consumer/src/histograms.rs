//! Latencies per stage, in HdrHistograms of fixed bounds.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Times};

/// The largest latency told apart: an hour. What is longer is recorded as an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits of a recorded latency.
const DIGITS: u8 = 3;

/// A stretch of a record's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Intended to claimed: waiting for a signer.
    Queue,
    /// Claimed to signed, the rest of its batch included.
    Sign,
    /// Signed to verified: waiting for the consumer and being verified. Empty with verifier `none`.
    Verify,
    /// Intended to verified: the sum of the three.
    EndToEnd,
}

impl Stage {
    /// Every stage, in the order that a record passes them; the whole comes last.
    pub const ALL: [Stage; 4] = [Stage::Queue, Stage::Sign, Stage::Verify, Stage::EndToEnd];

    /// The stage's name, in file names, tags and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Sign => "sign",
            Stage::Verify => "verify",
            Stage::EndToEnd => "end_to_end",
        }
    }

    fn bounds_ns(self, times: &Times) -> (u64, u64) {
        match self {
            Stage::Queue => (times.intended_ns, times.claimed_ns),
            Stage::Sign => (times.claimed_ns, times.signed_ns),
            Stage::Verify => (times.signed_ns, times.verified_ns),
            Stage::EndToEnd => (times.intended_ns, times.verified_ns),
        }
    }
}

/// The latencies of one stage, in nanoseconds.
#[derive(Serialize, Deserialize)]
struct StageLatencies {
    /// Since the interval began.
    #[serde(skip, default = "empty")]
    interval: Histogram<u64>,
    /// Of all intervals that ended.
    #[serde(with = "total_as_text")]
    total: Histogram<u64>,
    out_of_order: u64,
}

/// The latencies of every stage: of the interval that runs, and of all that ended.
///
/// Serialized, they are the totals alone, in the order of [`Stage::ALL`]: for when an interval has just ended.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histograms {
    stages: [StageLatencies; 4],
}

impl Default for Histograms {
    fn default() -> Self {
        Self::new()
    }
}

impl Histograms {
    /// Empty ones.
    pub fn new() -> Self {
        let stages =
            Stage::ALL.map(|_| StageLatencies { interval: empty(), total: empty(), out_of_order: 0 });
        Self { stages }
    }

    /// Records the latencies of one record. A record without a signature has none worth knowing.
    pub fn record(&mut self, times: &Times, outcome: Outcome) {
        if matches!(outcome, Outcome::Failed(_) | Outcome::Exhausted | Outcome::Void) {
            return;
        }
        for stage in Stage::ALL {
            if stage == Stage::Verify && outcome == Outcome::Unchecked {
                continue;
            }
            let latencies = &mut self.stages[stage as usize];
            let (from_ns, to_ns) = stage.bounds_ns(times);
            match to_ns.checked_sub(from_ns) {
                Some(latency_ns) => latencies.interval.saturating_record(latency_ns.min(LATENCY_NS_MAX)),
                None => latencies.out_of_order += 1,
            }
        }
    }

    /// The latencies of `stage` since the interval began, in nanoseconds.
    pub fn interval(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize].interval
    }

    /// The latencies of `stage` in all intervals that ended, in nanoseconds.
    pub fn total(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize].total
    }

    /// How many records had `stage` end before it began: stamps that no clock of ours made. They are in no
    /// histogram.
    pub fn out_of_order(&self, stage: Stage) -> u64 {
        self.stages[stage as usize].out_of_order
    }

    /// Ends the interval: adds it to the totals and begins an empty one.
    pub fn end_interval(&mut self) {
        for latencies in &mut self.stages {
            #[allow(clippy::expect_used, reason = "fails only for bounds that differ")]
            latencies.total.add(&latencies.interval).expect("equal bounds");
            latencies.interval.reset();
        }
    }
}

/// An empty histogram of the bounds that all of ours have. Fixed ones: auto-resize grows as far as a peer's stamps
/// reach.
pub(crate) fn empty() -> Histogram<u64> {
    #[allow(clippy::expect_used, reason = "fails only for bounds out of order, and these are constants")]
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("legal bounds")
}

/// Whether `histogram` has the bounds that all of ours have. Another one could not be added to.
pub(crate) fn has_our_bounds(histogram: &Histogram<u64>) -> bool {
    let bounds = |of: &Histogram<u64>| (of.low(), of.high(), of.sigfig());
    bounds(histogram) == bounds(&empty())
}

mod total_as_text {
    use hdrhistogram::Histogram;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use crate::histogram_text::{self, HistogramWriter};

    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        HistogramWriter::default().push(histogram, &mut text).map_err(ser::Error::custom)?;
        text.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histogram<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let histogram = histogram_text::parse(&text).map_err(de::Error::custom)?;
        if !super::has_our_bounds(&histogram) {
            return Err(de::Error::custom("a histogram has other bounds than ours"));
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times =
        Times { intended_ns: 100, written_ns: 110, claimed_ns: 150, signed_ns: 350, verified_ns: 1_100 };

    fn totals(records: &[(Times, Outcome)]) -> Histograms {
        let mut histograms = Histograms::new();
        for (times, outcome) in records {
            histograms.record(times, *outcome);
        }
        histograms.end_interval();
        histograms
    }

    fn counts(histograms: &Histograms) -> [u64; 4] {
        Stage::ALL.map(|stage| histograms.total(stage).len())
    }

    #[test]
    fn the_stages_sum_up_to_the_whole() {
        let histograms = totals(&[(TIMES, Outcome::Verified)]);
        assert_eq!(Stage::ALL.map(|stage| histograms.total(stage).max()), [50, 200, 750, 1_000]);
    }

    #[test]
    fn a_failed_record_has_no_latency_and_an_unchecked_one_was_not_verified() {
        for outcome in [Outcome::Failed(9), Outcome::Exhausted, Outcome::Void] {
            assert_eq!(counts(&totals(&[(TIMES, outcome)])), [0; 4]);
        }
        assert_eq!(counts(&totals(&[(TIMES, Outcome::Unchecked)])), [1, 1, 0, 1]);
        assert_eq!(counts(&totals(&[(TIMES, Outcome::NotVerified)])), [1; 4]);
    }

    #[test]
    fn stamps_out_of_order_are_counted_and_kept_out_of_the_histograms() {
        let backwards = Times { claimed_ns: 99, ..TIMES };
        let histograms = totals(&[(backwards, Outcome::Verified), (TIMES, Outcome::Verified)]);
        assert_eq!(counts(&histograms), [1, 2, 2, 2]);
        assert_eq!(Stage::ALL.map(|stage| histograms.out_of_order(stage)), [1, 0, 0, 0]);
    }

    #[test]
    fn a_peers_absurd_stamps_neither_panic_nor_grow_anything() {
        for latency_ns in [LATENCY_NS_MAX + 400_000_000_000, u64::MAX] {
            let absurd = Times { verified_ns: latency_ns, intended_ns: 0, ..TIMES };
            let histograms = totals(&[(absurd, Outcome::Verified)]);
            let end_to_end = histograms.total(Stage::EndToEnd);
            assert!(end_to_end.equivalent(end_to_end.max(), LATENCY_NS_MAX), "{}", end_to_end.max());
            assert_eq!(end_to_end.distinct_values(), empty().distinct_values());
        }
    }

    #[test]
    fn intervals_add_up_to_the_totals() {
        let mut histograms = Histograms::new();
        for latency_ns in 1..=1_000 {
            histograms
                .record(&Times { verified_ns: TIMES.signed_ns + latency_ns, ..TIMES }, Outcome::Verified);
            if latency_ns % 300 == 0 {
                histograms.end_interval();
                assert!(histograms.interval(Stage::Verify).is_empty());
            }
        }
        assert_eq!(histograms.interval(Stage::Verify).len(), 100);
        histograms.end_interval();
        let total = histograms.total(Stage::Verify);
        assert_eq!((total.len(), total.min(), total.max()), (1_000, 1, 1_000));
        assert_eq!(total.value_at_quantile(0.5), 500);
    }
}
