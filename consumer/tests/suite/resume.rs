//! A consumer that is killed loses, doubles or miscounts a record when its files don't fit together at the next start.
//! So they are put here into every state that a kill can leave: the journal cut anywhere behind what was answered for,
//! the interval log anywhere behind the checkpoint, and the checkpoint any one of the run.

use std::fs;
use std::io::Seek;
use std::path::Path;
use std::time::Duration;

use cli::Method;
use consumer::output_folder::{CHECKPOINT, INTERVAL_LOG, JOURNAL, SUMMARY};
use consumer::record::Outcome;
use consumer::ring_end::AnsweredFor;
use consumer::verify::VerifierChoice;
use serde_json::Value;

use crate::fake_ring::{RING_ID, Ring, begin, cut, field, files, folder, killed, len};
use crate::random::Random;
use crate::run::{EVERY_BATCH_NS, NEVER_NS, ran, recorder};

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
    for seed in 0..40 {
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
        // A kill at the end leaves a finished run without all of its files.
        fs::remove_file(folder.path().join(SUMMARY)).unwrap();
        fs::remove_file(folder.path().join("sign.hgrm")).unwrap();
    }
    ring.finish(folder.path(), NEVER_NS);
    assert!(files(folder.path()) == first);
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
fn slots_without_a_record_are_counted_though_no_line_tells_of_them() {
    let is_void = [true, false, true, true, false, false, true, false, true];
    let mut ring = Ring::generate(&mut Random(11), is_void.len() as u64);
    for (record, is_void) in ring.records.iter_mut().zip(is_void) {
        record.outcome = if is_void { Outcome::Void } else { Outcome::Verified };
        record.position = record.sequence;
    }
    for freed in 0..=is_void.len() {
        // Killed with no checkpoint but the first, wherever it was: at the front, in a gap, or behind the last line.
        let folder = folder();
        let mut killed = ring.start(folder.path(), NEVER_NS);
        let _ = killed.append(&ring.batch(ring.first, freed as u64)).unwrap();
        drop(killed);
        let answered_for = AnsweredFor { below: ring.first + freed as u64, ..ring.answered_for() };
        let resumed = recorder(folder.path(), &answered_for, NEVER_NS);
        let counts = resumed.finish(&ran(VerifierChoice::K256), true).unwrap().counts;
        let voids = is_void[..freed].iter().filter(|is_void| **is_void).count();
        assert_eq!((counts.void, counts.records), (voids as u64, (freed - voids) as u64), "{freed}");
    }
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
