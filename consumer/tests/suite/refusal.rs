//! A folder that is taken for another run's loses it. What doesn't fit is refused in a line of its own, and no byte of it is
//! changed.

use std::fs;
use std::path::Path;

use cli::{Exit, Failure};
use consumer::histogram_text::HistogramWriter;
use consumer::output_folder::{CHECKPOINT, INTERVAL_LOG, JOURNAL, OutputFolder};
use consumer::resume::{begin_or_resume, begin_without_journal};
use consumer::ring_end::AnsweredFor;
use hdrhistogram::Histogram;
use serde_json::Value;

use crate::fake_ring::{RING_ID, Ring, begin, cut, files, folder, killed};
use crate::random::Random;
use crate::run::NEVER_NS;

/// Why the folder at `path` is refused, with every file in it left alone.
fn refusal(path: &Path, ring_id: [u8; 16]) -> Failure {
    let before = files(path);
    let failure = begin(path, ring_id).err().unwrap();
    assert!(files(path) == before, "{failure}");
    assert!(!failure.message.contains('\n'), "{failure}");
    failure
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
        HistogramWriter::default().push(&histogram, &mut text).unwrap();
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
