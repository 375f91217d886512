//! Runs without a ring: a recorder over a folder, and what its files say.

use std::fs;
use std::path::Path;

use consumer::encoding::Encoding;
use consumer::histogram_text;
use consumer::histograms::Stage;
use consumer::journal::Journal;
use consumer::output_folder::{INTERVAL_LOG, OutputFolder};
use consumer::recorder::{Ran, Recorder};
use consumer::resume::begin_or_resume;
use consumer::ring_end::AnsweredFor;
use consumer::summary::RingFacts;
use consumer::verify::VerifierChoice;
use hdrhistogram::Histogram;

/// An interval that ends with each batch.
pub const EVERY_BATCH_NS: u64 = 0;
/// An interval that ends with the run.
pub const NEVER_NS: u64 = u64::MAX;

pub fn ran(verifier: VerifierChoice) -> Ran {
    Ran {
        verifier,
        public_keys: Vec::new(),
        verifier_threads: 1,
        wait: "adaptive".to_owned(),
        cpus: "any".to_owned(),
        prefault: false,
        ring: RingFacts { capacity: 1024, message_capacity: 256, max_attempts: 3 },
    }
}

/// Begins or resumes a run in `path`.
pub fn recorder(path: &Path, answered_for: &AnsweredFor, interval_ns: u64) -> Recorder {
    let folder = OutputFolder::open(path).unwrap();
    let mut run = begin_or_resume(&folder, answered_for).unwrap();
    let journal = run.journal.take().map(|file| Journal::new(file, Encoding::Hex, &[]));
    Recorder::new(folder, run, journal, interval_ns).unwrap()
}

/// The values of each stage that the interval log in `path` adds up to. Its times must ascend.
pub fn logged(path: &Path) -> [Histogram<u64>; 4] {
    let mut totals = Stage::ALL.map(|_| Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap());
    let text = fs::read_to_string(path.join(INTERVAL_LOG)).unwrap();
    assert_eq!(text.matches("StartTimestamp").count(), 1, "{text}");
    let mut starts_at = 0.0;
    for line in text.lines().filter(|line| !line.starts_with(['#', '"'])) {
        let fields: Vec<_> = line.split(',').collect();
        let (stage, fields) = match fields.as_slice() {
            [tag, fields @ ..] if fields.len() == 4 => {
                let stage = Stage::ALL.into_iter().find(|stage| *tag == format!("Tag={}", stage.name()));
                (stage.unwrap(), fields)
            }
            fields => (Stage::EndToEnd, fields),
        };
        let [start, _, _, histogram] = fields else { panic!("{line}") };
        let start: f64 = start.parse().unwrap();
        assert!(start >= starts_at, "{text}");
        starts_at = start;
        totals[stage as usize].add(histogram_text::parse(histogram).unwrap()).unwrap();
    }
    totals
}
