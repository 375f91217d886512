//! What a run came to: `summary.json`.

use cli::Exit;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::histograms::{Histograms, Stage};
use crate::machine::Machine;

/// The version of the file's format. A field may be added without a new one.
pub const FORMAT: u32 = 1;

/// What a run came to. Every duration is in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`FORMAT`].
    pub format: u32,
    /// Why the run's figures are good for measurements only; empty for a run in earnest.
    pub measurement_only: Vec<String>,
    /// The runtimes that signed.
    pub runtimes: Vec<String>,
    /// The methods that occurred.
    pub methods: Vec<String>,
    /// Who verified.
    pub verifier: String,
    /// The keys that were trusted: compressed SEC1, in hexadecimal. Those of the last start, if the run was resumed.
    #[serde(default)]
    pub public_keys: Vec<String>,
    /// How many threads verified.
    pub verifier_threads: usize,
    /// How the consumer waited for the ring.
    pub wait: String,
    /// The processors that the consumer was pinned to, or `any`. `None` in files that are older than this field, as in the next
    /// ones.
    #[serde(default)]
    pub cpus: Option<String>,
    /// Whether the consumer mapped the ring beforehand.
    #[serde(default)]
    pub prefault: Option<bool>,
    /// The ring.
    #[serde(default)]
    pub ring: Option<RingFacts>,
    /// The machine.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Whether it came to the ring's end.
    #[serde(default)]
    pub is_finished: Option<bool>,
    /// The lengths of the messages; `None` for an empty run.
    pub message_bytes: Option<MessageBytes>,
    /// How many records ended how.
    pub counts: Counts,
    /// When the consumer began, for the first time if the run was resumed: seconds since the epoch.
    pub started_unix_s: f64,
    /// How often the run was resumed after its consumer had been killed or stopped.
    #[serde(default)]
    pub resumed: u64,
    /// From the first record's writing to the last one's verification.
    pub wall_ns: u64,
    /// Records in a second of that time; `None` when there was none.
    pub messages_per_s: Option<f64>,
    /// Time spent verifying, over all threads. A kill loses what was spent in the interval that it fell into.
    pub verify_busy_ns: u64,
    /// Latencies per stage.
    pub stages: Stages,
}

/// What of a ring tells on its figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFacts {
    /// Slots.
    pub capacity: u32,
    /// Bytes of message that a slot holds.
    pub message_capacity: u32,
    /// Tries before a record is answered as failed.
    pub max_attempts: u8,
}

/// Lengths of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBytes {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// All together.
    pub total: u64,
}

/// How many records ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records with a message: the sum of the next four.
    pub records: u64,
    /// Valid signatures.
    pub verified: u64,
    /// Signatures that are not valid, or missing.
    pub not_verified: u64,
    /// Records that the signer could not sign.
    pub failed: u64,
    /// Records that nobody verified.
    pub unchecked: u64,
    /// Slots whose producer died before it had written a message.
    pub void: u64,
}

/// Latencies of each stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// See [`Stage::Queue`].
    pub queue: Latencies,
    /// See [`Stage::Sign`].
    pub sign: Latencies,
    /// See [`Stage::Verify`].
    pub verify: Latencies,
    /// See [`Stage::EndToEnd`].
    pub end_to_end: Latencies,
}

/// Latencies of a stage, as its histogram tells them apart (three significant digits); `None` without a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Recorded values.
    pub count: u64,
    /// Records left out because the stage ended before it began.
    pub out_of_order: u64,
    /// The least.
    pub min_ns: Option<u64>,
    /// The median.
    pub p50_ns: Option<u64>,
    /// 90 % are at most this.
    pub p90_ns: Option<u64>,
    /// 99 % are at most this.
    pub p99_ns: Option<u64>,
    /// 99.9 % are at most this.
    pub p99_9_ns: Option<u64>,
    /// The greatest.
    pub max_ns: Option<u64>,
    /// The arithmetic mean.
    pub mean_ns: Option<f64>,
    /// The standard deviation.
    pub stddev_ns: Option<f64>,
}

impl Summary {
    /// The exit code that the run deserves.
    pub fn exit(&self) -> Exit {
        if self.counts.not_verified + self.counts.failed > 0 { Exit::Failed } else { Exit::Done }
    }

    /// The methods in one word: both are `random`.
    pub fn method(&self) -> String {
        match self.methods.as_slice() {
            [] => "-".to_owned(),
            [ecdsa, schnorr] if ecdsa == "ecdsa" && schnorr == "schnorr" => "random".to_owned(),
            methods => methods.join("+"),
        }
    }
}

impl Stages {
    /// Sums up the totals of `histograms`.
    pub fn of(histograms: &Histograms) -> Self {
        let latencies = |stage| Latencies::of(histograms.total(stage), histograms.out_of_order(stage));
        Self {
            queue: latencies(Stage::Queue),
            sign: latencies(Stage::Sign),
            verify: latencies(Stage::Verify),
            end_to_end: latencies(Stage::EndToEnd),
        }
    }

    /// The latencies of `stage`.
    pub fn get(&self, stage: Stage) -> &Latencies {
        match stage {
            Stage::Queue => &self.queue,
            Stage::Sign => &self.sign,
            Stage::Verify => &self.verify,
            Stage::EndToEnd => &self.end_to_end,
        }
    }
}

impl Latencies {
    fn of(histogram: &Histogram<u64>, out_of_order: u64) -> Self {
        let some = |value| (!histogram.is_empty()).then_some(value);
        let quantile = |quantile| some(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            out_of_order,
            min_ns: some(histogram.min()),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p99_9_ns: quantile(0.999),
            max_ns: some(histogram.max()),
            mean_ns: (!histogram.is_empty()).then(|| histogram.mean()),
            stddev_ns: (!histogram.is_empty()).then(|| histogram.stdev()),
        }
    }
}
