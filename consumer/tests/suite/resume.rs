//! A consumer that is killed loses, doubles or miscounts a record when its files don't fit together at the next start.
//! So they are put here into every state that a kill can leave: the journal cut anywhere behind what was answered for,
//! the interval log anywhere behind the checkpoint, and the checkpoint any one of the run.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Seek;
use std::path::Path;
use std::time::Duration;

use cli::{Exit, Failure, Method};
use consumer::histograms::Stage;
use consumer::output_folder::{CHECKPOINT, INTERVAL_LOG, JOURNAL, OutputFolder, SUMMARY, distribution};
use consumer::record::{Batch, Outcome, Record, Times};
use consumer::recorder::Recorder;
use consumer::resume::{Run, begin_or_resume, begin_without_journal};
use consumer::ring_end::AnsweredFor;
use consumer::verify::VerifierChoice;
use hdrhistogram::Histogram;
use serde_json::Value;
use tempfile::TempDir;

use crate::random::Random;
use crate::run::{EVERY_BATCH_NS, NEVER_NS, logged, ran, recorder};

/// In memory, where nobody waits for a disk.
fn folder() -> TempDir {
    tempfile::Builder::new().tempdir_in("/dev/shm").unwrap()
}

/// The ring of every run but another ring's.
const RING_ID: [u8; 16] = [0xab; 16];

/// The sources of every ring.
const SOURCES: [&str; 2] = ["a \"source\"\n", "b"];

/// A ring as its consumer meets it: what it delivers, and how far it is freed.
struct Ring {
    records: Vec<Record>,
    first: u64,
    freed: u64,
    /// The positions that each source begins with: an earlier run may have had those before.
    first_positions: [u64; 2],
}

impl Ring {
    fn generate(random: &mut Random, len: u64) -> Self {
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
    fn answered_for(&self) -> AnsweredFor {
        let freed = self.records.iter().take((self.freed - self.first) as usize);
        let sources = SOURCES.into_iter().zip(self.first_positions).map(|(source, first)| {
            let is_answered = |record: &&Record| *record.source == *source && record.outcome != Outcome::Void;
            (source.to_owned(), first + freed.clone().filter(is_answered).count() as u64)
        });
        AnsweredFor { ring_id: RING_ID, below: self.freed, sources: sources.collect() }
    }

    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Up to `max` records from `sequence` on.
    fn batch(&self, sequence: u64, max: u64) -> Batch {
        let records = &self.records[(sequence - self.first) as usize..];
        let mut batch = Batch::new(max as usize, 0);
        for record in records.iter().take(max as usize) {
            record.clone_into(batch.push().unwrap());
        }
        batch.verify_busy_ns = 1;
        batch
    }

    /// Begins or resumes, and answers for what is in the journal.
    fn start(&mut self, path: &Path, interval_ns: u64) -> Recorder {
        let recorder = recorder(path, &self.answered_for(), interval_ns);
        self.freed = self.freed.max(recorder.next_sequence());
        recorder
    }

    /// Records the rest, and finishes.
    fn finish(&mut self, path: &Path, interval_ns: u64) -> Results {
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
    fn uninterrupted(&self) -> Results {
        let folder = folder();
        let mut ring = Ring { records: self.records.clone(), ..*self };
        (ring.freed, ring.first) = (self.first, self.first);
        ring.finish(folder.path(), NEVER_NS)
    }
}

/// What must be the same however often the run was killed.
#[derive(Debug, PartialEq)]
struct Results {
    journal: String,
    distributions: [String; 4],
    summary: Value,
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

fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

fn len(path: &Path, name: &str) -> u64 {
    fs::metadata(path.join(name)).unwrap().len()
}

fn cut(path: &Path, name: &str, len: u64) {
    OpenOptions::new().write(true).open(path.join(name)).unwrap().set_len(len).unwrap();
}

/// A field of the checkpoint in `text`.
fn field(text: &str, name: &str) -> u64 {
    serde_json::from_str::<Value>(text).unwrap()[name].as_u64().unwrap()
}

/// Runs until a moment that `random` chooses, and leaves the folder as a kill would. `checkpoints` are those of the run
/// so far.
fn run_and_kill(ring: &mut Ring, path: &Path, random: &mut Random, checkpoints: &mut Vec<String>) {
    let interval_ns = [EVERY_BATCH_NS, NEVER_NS][random.up_to(1) as usize];
    let mut recorder = ring.start(path, interval_ns);
    let mut journal_bytes = len(path, JOURNAL);
    for _ in 0..random.up_to(4) {
        let batch = ring.batch(ring.freed, 1 + random.up_to(4));
        journal_bytes = len(path, JOURNAL);
        assert!(recorder.append(&batch).unwrap().is_continue());
        checkpoints.push(fs::read_to_string(path.join(CHECKPOINT)).unwrap());
        let is_killed_while_writing = random.up_to(2) == 0;
        if is_killed_while_writing {
            break;
        }
        journal_bytes = len(path, JOURNAL);
        let freed = random.up_to(batch.records().len() as u64);
        ring.freed += freed;
        if freed < batch.records().len() as u64 {
            break;
        }
    }
    drop(recorder);
    checkpoints.push(fs::read_to_string(path.join(CHECKPOINT)).unwrap());
    // What was answered for is in the journal; what was being written may be there in part.
    let torn = len(path, JOURNAL) - journal_bytes;
    cut(path, JOURNAL, journal_bytes + random.up_to(torn));
    // A checkpoint that was being replaced is the old one still; and no older one would do any harm. From there on
    // the run takes a way of its own, and the newer ones never were.
    let back = random.up_to(3) as usize;
    checkpoints.truncate(checkpoints.len().saturating_sub(back).max(1));
    if let Some(checkpoint) = checkpoints.last() {
        fs::write(path.join(CHECKPOINT), checkpoint).unwrap();
        let counted = field(checkpoint, "log_bytes");
        cut(path, INTERVAL_LOG, counted + random.up_to(len(path, INTERVAL_LOG) - counted));
    }
}

#[test]
fn however_often_a_run_is_killed_its_files_are_those_of_one_that_was_not() {
    for seed in 0..60 {
        let random = &mut Random(seed);
        let ring_len = random.up_to(60);
        let mut ring = Ring::generate(random, ring_len);
        let expected = ring.uninterrupted();
        let folder = folder();
        let mut checkpoints = Vec::new();
        let kills = random.up_to(12);
        for _ in 0..kills {
            run_and_kill(&mut ring, folder.path(), random, &mut checkpoints);
        }
        assert_eq!(ring.finish(folder.path(), EVERY_BATCH_NS), expected, "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_byte_with_any_checkpoint_is_resumed_from() {
    let random = &mut Random(9);
    let mut ring = Ring::generate(random, 8);
    let expected = ring.uninterrupted();
    // A run whose checkpoints are all kept.
    let whole = folder();
    let mut recorder = ring.start(whole.path(), EVERY_BATCH_NS);
    let mut checkpoints = vec![fs::read_to_string(whole.path().join(CHECKPOINT)).unwrap()];
    // For each line: the bytes up to its end, and what may be freed once it is there.
    let mut lines = vec![(0, ring.first)];
    while ring.freed < ring.end() {
        let _ = recorder.append(&ring.batch(ring.freed, 1)).unwrap();
        ring.freed += 1;
        checkpoints.push(fs::read_to_string(whole.path().join(CHECKPOINT)).unwrap());
        lines.push((len(whole.path(), JOURNAL), ring.freed));
    }
    drop(recorder);
    let journal = fs::read(whole.path().join(JOURNAL)).unwrap();
    let log = fs::read(whole.path().join(INTERVAL_LOG)).unwrap();
    checkpoints.dedup();
    assert!(checkpoints.len() > 5 && expected.summary["counts"]["void"] != 0, "{}", expected.summary);

    for cut in 0..=journal.len() as u64 {
        let is_near_an_end = lines.iter().any(|(end, _)| end.abs_diff(cut) <= 1);
        if !is_near_an_end && cut % 293 != 0 {
            continue;
        }
        let may_be_freed = lines.iter().rev().find(|(end, _)| *end <= cut).unwrap().1;
        for checkpoint in checkpoints.iter().filter(|text| field(text, "journal_bytes") <= cut) {
            let folder = folder();
            fs::write(folder.path().join(JOURNAL), &journal[..cut as usize]).unwrap();
            fs::write(folder.path().join(CHECKPOINT), checkpoint).unwrap();
            fs::write(folder.path().join(INTERVAL_LOG), &log).unwrap();
            ring.freed = ring.first + random.up_to(may_be_freed - ring.first);
            assert_eq!(ring.finish(folder.path(), NEVER_NS), expected, "cut at {cut}, {checkpoint}");
        }
    }
}

#[test]
fn a_kill_between_any_two_steps_of_the_first_start_leaves_a_folder_that_is_taken() {
    let mut ring = Ring::generate(&mut Random(2), 9);
    let expected = ring.uninterrupted();
    let begun = folder();
    drop(ring.start(begun.path(), NEVER_NS));
    let files = files(begun.path());
    let header = &files[INTERVAL_LOG];
    assert!(files[JOURNAL].is_empty() && files.len() == 3, "{:?}", files.keys());

    let partial = (".checkpoint.json.partial", &b"{\"form"[..]);
    let (checkpoint, journal) = ((CHECKPOINT, &files[CHECKPOINT][..]), (JOURNAL, &b""[..]));
    let log = |len: usize| (INTERVAL_LOG, &header[..len]);
    for left in [
        vec![],
        vec![partial],
        vec![checkpoint],
        vec![partial, checkpoint],
        vec![checkpoint, journal],
        vec![checkpoint, journal, log(0)],
        vec![checkpoint, journal, log(50)],
        vec![checkpoint, journal, log(header.len())],
    ] {
        let folder = folder();
        for (name, bytes) in &left {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        ring.freed = ring.first;
        assert_eq!(ring.finish(folder.path(), EVERY_BATCH_NS), expected, "{left:?}");
    }
}

#[test]
fn a_finished_run_started_again_leaves_every_byte_as_it_was() {
    let mut ring = Ring::generate(&mut Random(3), 40);
    let folder = folder();
    run_and_kill(&mut ring, folder.path(), &mut Random(5), &mut Vec::new());
    ring.finish(folder.path(), EVERY_BATCH_NS);
    let first = files(folder.path());
    for _ in 0..2 {
        ring.finish(folder.path(), NEVER_NS);
        assert!(files(folder.path()) == first);
    }
    assert_eq!(serde_json::from_slice::<Value>(&first[SUMMARY]).unwrap()["resumed"], 1);
}

#[test]
fn a_run_that_was_stopped_goes_on_and_says_how_often() {
    let mut ring = Ring::generate(&mut Random(4), 30);
    let expected = ring.uninterrupted();
    let folder = folder();
    let began = |path: &Path| {
        let text = fs::read_to_string(path.join(CHECKPOINT)).unwrap();
        ["started_unix_ns", "started_ns"].map(|name| field(&text, name))
    };
    drop(ring.start(folder.path(), NEVER_NS));
    let first_began = began(folder.path());
    for _ in 0..3 {
        let mut recorder = ring.start(folder.path(), NEVER_NS);
        let _ = recorder.append(&ring.batch(ring.freed, 7)).unwrap();
        ring.freed += 7;
        recorder.finish(&ran(VerifierChoice::None), false).unwrap();
    }
    assert_eq!(ring.finish(folder.path(), NEVER_NS), expected);
    let summary: Value = serde_json::from_slice(&files(folder.path())[SUMMARY]).unwrap();
    assert_eq!((&summary["resumed"], &summary["verify_busy_ns"]), (&4.into(), &5.into()));
    assert_eq!(began(folder.path()), first_began, "time 0 of the interval log stays where it was");
    // As text: the parser doesn't give every fraction back to the last bit.
    let started = format!("\"started_unix_s\": {:?}", Duration::from_nanos(first_began[0]).as_secs_f64());
    assert!(fs::read_to_string(folder.path().join(SUMMARY)).unwrap().contains(&started), "{started}");
}

#[test]
fn a_run_that_nobody_verified_before_it_was_resumed_is_for_measurements_only() {
    let mut ring = Ring::generate(&mut Random(8), 4);
    for record in &mut ring.records {
        (record.method, record.outcome) = (Method::Ecdsa, Outcome::Verified);
    }
    ring.records[0].outcome = Outcome::Unchecked;
    let folder = folder();
    let mut recorder = ring.start(folder.path(), NEVER_NS);
    let _ = recorder.append(&ring.batch(ring.freed, 1)).unwrap();
    drop(recorder);
    assert_eq!(ring.finish(folder.path(), NEVER_NS).summary["measurement_only"][0], "verifier none");
}

#[test]
fn what_is_replayed_is_saved_so_that_the_next_start_has_less_to_do() {
    let mut ring = Ring::generate(&mut Random(9), 20);
    let folder = folder();
    let mut recorder = ring.start(folder.path(), NEVER_NS);
    let _ = recorder.append(&ring.batch(ring.freed, 20)).unwrap();
    drop(recorder);
    let counted = || field(&fs::read_to_string(folder.path().join(CHECKPOINT)).unwrap(), "journal_bytes");
    assert_eq!(counted(), 0);
    drop(ring.start(folder.path(), NEVER_NS));
    assert_eq!(counted(), len(folder.path(), JOURNAL));
}

#[test]
fn nothing_is_saved_while_nothing_happens() {
    let mut ring = Ring::generate(&mut Random(6), 5);
    let folder = folder();
    let mut recorder = ring.start(folder.path(), EVERY_BATCH_NS);
    let _ = recorder.append(&ring.batch(ring.freed, 5)).unwrap();
    recorder.tick().unwrap();
    let before = files(folder.path());
    assert_eq!(
        field(&fs::read_to_string(folder.path().join(CHECKPOINT)).unwrap(), "journal_bytes"),
        len(folder.path(), JOURNAL)
    );
    fs::remove_file(folder.path().join(CHECKPOINT)).unwrap();
    recorder.tick().unwrap();
    assert_eq!(files(folder.path()).len(), before.len() - 1);
}

/// Begins or resumes on a ring that says nothing but its id.
fn begin(path: &Path, ring_id: [u8; 16]) -> Result<Run, Failure> {
    begin_or_resume(&OutputFolder::open(path).unwrap(), &AnsweredFor { ring_id, ..AnsweredFor::default() })
}

/// Why the folder at `path` is refused, with every file in it left alone.
fn refusal(path: &Path, ring_id: [u8; 16]) -> Failure {
    let before = files(path);
    let failure = begin(path, ring_id).err().unwrap();
    assert!(files(path) == before, "{failure}");
    assert!(!failure.message.contains('\n'), "{failure}");
    failure
}

/// A folder of a run that was killed after a checkpoint and further lines, and the bytes that the checkpoint counts.
fn killed() -> (TempDir, u64) {
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

#[test]
fn another_rings_folder_is_refused() {
    let (folder, _) = killed();
    let failure = refusal(folder.path(), [0xcd; 16]);
    assert!(failure.exit == Exit::BadInput && failure.message.contains("another ring"), "{failure}");
    assert!(failure.message.contains(folder.path().to_str().unwrap()), "{failure}");
}

#[test]
fn a_checkpoint_that_is_none_is_refused() {
    let (folder, _) = killed();
    let path = folder.path().join(CHECKPOINT);
    let whole = fs::read_to_string(&path).unwrap();
    let other_bounds = {
        let mut checkpoint: Value = serde_json::from_str(&whole).unwrap();
        let (mut text, histogram) = (String::new(), Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap());
        consumer::histogram_text::HistogramWriter::default().push(&histogram, &mut text).unwrap();
        checkpoint["histograms"][0]["total"] = text.into();
        checkpoint.to_string()
    };
    for text in [
        "",
        "{}",
        "\0\0\0",
        &whole[..whole.len() / 2],
        &whole.replace("\"format\":1", "\"format\":2"),
        &whole.replace("journal_bytes", "bytes"),
        &whole.replace("total\":\"", "total\":\"AAAA"),
        &other_bounds,
    ] {
        fs::write(&path, text).unwrap();
        let failure = refusal(folder.path(), RING_ID);
        assert!(failure.exit == Exit::BadInput && failure.message.contains("no checkpoint"), "{failure}");
        assert!(failure.message.contains(CHECKPOINT), "{failure}");
    }
    fs::remove_file(&path).unwrap();
    let failure = refusal(folder.path(), RING_ID);
    assert!(
        failure.exit == Exit::BadInput && failure.message.contains("there is no checkpoint"),
        "{failure}"
    );
    fs::create_dir(&path).unwrap();
    let failure = begin(folder.path(), RING_ID).err().unwrap();
    assert_eq!(failure.exit, Exit::Environment, "{failure}");
}

#[test]
fn records_that_another_folder_has_do_not_pass_for_slots_without_one() {
    let mut ring = Ring::generate(&mut Random(10), 30);
    let [ours, theirs] = [(); 2].map(|()| folder());
    drop(ring.start(ours.path(), NEVER_NS));
    ring.finish(theirs.path(), NEVER_NS);
    let before = files(ours.path());
    let output = OutputFolder::open(ours.path()).unwrap();
    let failure = begin_or_resume(&output, &ring.answered_for()).err().unwrap();
    assert!(failure.exit == Exit::BadInput && failure.message.contains("lacks records"), "{failure}");
    assert!(files(ours.path()) == before);
}

#[test]
fn a_torn_line_is_cut_before_anything_is_written() {
    let (folder, _) = killed();
    let before = files(folder.path());
    for torn in ["{", "{\"seq\":99,\"source\":\"generator\""] {
        for name in [JOURNAL, INTERVAL_LOG] {
            fs::write(folder.path().join(name), [&before[name], torn.as_bytes()].concat()).unwrap();
        }
        let mut run = begin(folder.path(), RING_ID).unwrap();
        assert!(files(folder.path()) == before);
        let end = before[JOURNAL].len() as u64;
        assert_eq!(run.journal.as_mut().unwrap().stream_position().unwrap(), end);
    }
}

#[test]
fn files_that_lost_what_the_checkpoint_counts_are_refused() {
    let (folder, counted) = killed();
    cut(folder.path(), JOURNAL, counted - 1);
    let failure = refusal(folder.path(), RING_ID);
    assert_eq!(failure.exit, Exit::BadInput);
    for part in [JOURNAL, &format!("byte {}", counted - 1), &format!("byte {counted};")] {
        assert!(failure.message.contains(part), "{failure}");
    }
    let (folder, _) = killed();
    fs::remove_file(folder.path().join(INTERVAL_LOG)).unwrap();
    let failure = refusal(folder.path(), RING_ID);
    assert!(failure.exit == Exit::BadInput && failure.message.contains(INTERVAL_LOG), "{failure}");
}

#[test]
fn a_line_that_is_none_is_refused_with_its_byte_and_only_behind_the_checkpoint() {
    let (folder, counted) = killed();
    let path = folder.path().join(JOURNAL);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] = b'#';
    fs::write(&path, &bytes).unwrap();
    assert!(begin(folder.path(), RING_ID).unwrap().is_ahead, "what is counted is not read again");
    bytes[counted as usize] = b'#';
    fs::write(&path, &bytes).unwrap();
    let failure = refusal(folder.path(), RING_ID);
    assert!(failure.exit == Exit::BadInput && failure.message.contains(JOURNAL), "{failure}");
    assert!(failure.message.contains(&format!("byte {counted} ")), "{failure}");
}

#[test]
fn a_run_without_a_journal_neither_resumes_nor_overwrites() {
    let (folder, _) = killed();
    let before = files(folder.path());
    let output = OutputFolder::open(folder.path()).unwrap();
    let failure = begin_without_journal(&output, &AnsweredFor::default()).err().unwrap();
    assert!(failure.exit == Exit::BadInput && failure.message.contains("--output none"), "{failure}");
    assert!(files(folder.path()) == before);
}
