//! A ring as its consumer meets it, in memory, and what a run on it must come to.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;

use cli::Failure;
use cli::Method;
use consumer::histograms::Stage;
use consumer::output_folder::{CHECKPOINT, JOURNAL, OutputFolder, SUMMARY, distribution};
use consumer::record::{Batch, Outcome, Record, Times};
use consumer::recorder::Recorder;
use consumer::resume::{Run, begin_or_resume};
use consumer::ring_end::AnsweredFor;
use consumer::verify::VerifierChoice;
use hdrhistogram::Histogram;
use serde_json::Value;
use tempfile::TempDir;

use crate::random::Random;
use crate::run::{EVERY_BATCH_NS, NEVER_NS, logged, ran, recorder};

/// In memory, where nobody waits for a disk.
pub fn folder() -> TempDir {
    tempfile::Builder::new().tempdir_in("/dev/shm").unwrap()
}

/// The ring of every run but another ring's.
pub const RING_ID: [u8; 16] = [0xab; 16];

/// The sources of every ring.
pub const SOURCES: [&str; 2] = ["a \"source\"\n", "b"];

/// A ring as its consumer meets it: what it delivers, and how far it is freed.
pub struct Ring {
    pub records: Vec<Record>,
    pub first: u64,
    pub freed: u64,
    /// The positions that each source begins with: an earlier run may have had those before.
    first_positions: [u64; 2],
}

impl Ring {
    pub fn generate(random: &mut Random, len: u64) -> Self {
        let first = random.up_to(3);
        let first_positions = [(); 2].map(|()| random.up_to(2));
        let mut positions = first_positions;
        let mut batch = Batch::new(len as usize, 0);
        for sequence in first..first + len {
            let record = batch.push().unwrap();
            record.sequence = sequence;
            record.outcome = match random.up_to(9) {
                0..=1 => Outcome::Void,
                2 => Outcome::Failed(random.up_to(30) as i32 - 10),
                3 => Outcome::Exhausted,
                4 => Outcome::Unchecked,
                5 => Outcome::NotVerified,
                _ => Outcome::Verified,
            };
            let source = random.up_to(1) as usize;
            record.source = SOURCES[source].into();
            record.position = positions[source];
            positions[source] += u64::from(record.outcome != Outcome::Void);
            record.method = Method::ALL[random.up_to(2) as usize];
            record.runtime = ["native", "wasmi", "none"][random.up_to(2) as usize];
            record.message.resize(random.up_to(20) as usize, 7);
            record.signature.resize(64, 9);
            // Out of order now and then, as no clock of ours makes them.
            let mut stamp = || 1_000_000 * sequence + random.up_to(3_000_000);
            record.times = Times {
                intended_ns: stamp(),
                written_ns: stamp(),
                claimed_ns: stamp(),
                signed_ns: stamp(),
                verified_ns: stamp(),
            };
        }
        Self { records: batch.records().to_vec(), first, freed: first, first_positions }
    }

    /// What the ring says when its consumer starts.
    pub fn answered_for(&self) -> AnsweredFor {
        let freed = self.records.iter().take((self.freed - self.first) as usize);
        let sources = SOURCES.into_iter().zip(self.first_positions).map(|(source, first)| {
            let is_answered = |record: &&Record| *record.source == *source && record.outcome != Outcome::Void;
            (source.to_owned(), first + freed.clone().filter(is_answered).count() as u64)
        });
        AnsweredFor { ring_id: RING_ID, below: self.freed, sources: sources.collect() }
    }

    pub fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Up to `max` records from `sequence` on.
    pub fn batch(&self, sequence: u64, max: u64) -> Batch {
        let records = &self.records[(sequence - self.first) as usize..];
        let mut batch = Batch::new(max as usize, 0);
        for record in records.iter().take(max as usize) {
            record.clone_into(batch.push().unwrap());
        }
        batch.verify_busy_ns = 1;
        batch
    }

    /// Begins or resumes, and answers for what is in the journal.
    pub fn start(&mut self, path: &Path, interval_ns: u64) -> Recorder {
        let recorder = recorder(path, &self.answered_for(), interval_ns);
        self.freed = self.freed.max(recorder.next_sequence());
        recorder
    }

    /// Records the rest, and finishes.
    pub fn finish(&mut self, path: &Path, interval_ns: u64) -> Results {
        let mut recorder = self.start(path, interval_ns);
        while self.freed < self.end() {
            let batch = self.batch(self.freed, 5);
            assert!(recorder.append(&batch).unwrap().is_continue());
            self.freed += batch.records().len() as u64;
        }
        recorder.finish(&ran(VerifierChoice::K256), true).unwrap();
        Results::of(path)
    }

    /// What an uninterrupted run comes to.
    pub fn uninterrupted(&self) -> Results {
        let folder = folder();
        let mut ring = Ring { records: self.records.clone(), ..*self };
        (ring.freed, ring.first) = (self.first, self.first);
        ring.finish(folder.path(), NEVER_NS)
    }
}

/// What must be the same however often the run was killed.
#[derive(Debug, PartialEq)]
pub struct Results {
    journal: String,
    distributions: [String; 4],
    pub summary: Value,
    logged: [Histogram<u64>; 4],
}

impl Results {
    fn of(path: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        let mut summary: Value = serde_json::from_str(&text(SUMMARY)).unwrap();
        for name in ["verify_busy_ns", "resumed", "started_unix_s"] {
            assert!(summary.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        }
        Self {
            journal: text(JOURNAL),
            distributions: Stage::ALL.map(|stage| text(&distribution(stage))),
            summary,
            logged: logged(path),
        }
    }
}

/// Begins or resumes on a ring that says nothing but its id.
pub fn begin(path: &Path, ring_id: [u8; 16]) -> Result<Run, Failure> {
    begin_or_resume(&OutputFolder::open(path).unwrap(), &AnsweredFor { ring_id, ..AnsweredFor::default() })
}

/// A folder of a run that was killed after a checkpoint and further lines, and the bytes that the checkpoint counts.
pub fn killed() -> (TempDir, u64) {
    let mut ring = Ring::generate(&mut Random(7), 30);
    let folder = folder();
    let mut recorder = ring.start(folder.path(), EVERY_BATCH_NS);
    for _ in 0..3 {
        let _ = recorder.append(&ring.batch(ring.freed, 10)).unwrap();
        ring.freed += 10;
    }
    drop(recorder);
    let counted = field(&fs::read_to_string(folder.path().join(CHECKPOINT)).unwrap(), "journal_bytes");
    assert!(counted > 0 && counted < len(folder.path(), JOURNAL));
    (folder, counted)
}

pub fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

pub fn len(path: &Path, name: &str) -> u64 {
    fs::metadata(path.join(name)).unwrap().len()
}

pub fn cut(path: &Path, name: &str, len: u64) {
    OpenOptions::new().write(true).open(path.join(name)).unwrap().set_len(len).unwrap();
}

/// A field of the checkpoint in `text`.
pub fn field(text: &str, name: &str) -> u64 {
    serde_json::from_str::<Value>(text).unwrap()[name].as_u64().unwrap()
}
