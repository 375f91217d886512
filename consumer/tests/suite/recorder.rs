//! A run's folder as a whole: counts that don't add up, files that are missing or torn, and empty runs.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;

use cli::{Exit, Method};
use consumer::encoding::Encoding;
use consumer::histograms::Stage;
use consumer::journal::Journal;
use consumer::output_folder::{CHECKPOINT, INTERVAL_LOG, JOURNAL, OutputFolder, SUMMARY, distribution};
use consumer::record::{Batch, Outcome};
use consumer::recorder::Recorder;
use consumer::resume::{begin_or_resume, begin_without_journal};
use consumer::ring_end::AnsweredFor;
use consumer::summary::{Latencies, Summary};
use consumer::table;
use consumer::verify::VerifierChoice;
use hdrhistogram::Histogram;

use crate::run::{EVERY_BATCH_NS, NEVER_NS, logged, ran, recorder};
use crate::signed;

/// Records `batches` into `path`, one after the other, and returns the summary.
fn record(path: &Path, interval_ns: u64, mut batches: Vec<Batch>) -> Summary {
    let mut recorder = recorder(path, &AnsweredFor::default(), interval_ns);
    let records = batches.iter_mut().flat_map(Batch::records_mut);
    records.zip(0..).for_each(|(record, sequence)| record.sequence = sequence);
    for batch in &batches {
        assert_eq!(recorder.append(batch).unwrap(), ControlFlow::Continue(()));
    }
    let files = recorder.files();
    let summary = recorder.finish(&ran(VerifierChoice::Secp256k1), true).unwrap();
    assert!(files.len() == 7 && files.iter().all(|file| file.exists()), "{files:?}");
    summary
}

fn with_outcomes(outcomes: &[Outcome]) -> Batch {
    let mut batch = signed::batch(&vec![Method::Ecdsa; outcomes.len()]);
    for (record, outcome) in batch.records_mut().iter_mut().zip(outcomes) {
        record.outcome = *outcome;
        record.times.verified_ns = record.times.signed_ns + 1_000 + record.sequence;
    }
    batch.verify_busy_ns = 5;
    batch
}

#[test]
fn every_record_is_counted_once_and_by_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = [
        Outcome::Verified,
        Outcome::NotVerified,
        Outcome::Failed(9),
        Outcome::Exhausted,
        Outcome::Unchecked,
        Outcome::Void,
    ];
    let summary = record(folder.path(), NEVER_NS, vec![with_outcomes(&outcomes), with_outcomes(&outcomes)]);
    let counts = summary.counts;
    assert_eq!(
        [counts.records, counts.verified, counts.not_verified, counts.failed, counts.unchecked, counts.void],
        [10, 2, 2, 4, 2, 2]
    );
    assert_eq!(summary.verify_busy_ns, 10);
    assert_eq!(fs::read_to_string(folder.path().join(JOURNAL)).unwrap().lines().count(), 10);
}

#[test]
fn the_summary_on_disk_is_the_one_returned() {
    let folder = tempfile::tempdir().unwrap();
    let summary = record(folder.path(), NEVER_NS, vec![with_outcomes(&[Outcome::Verified; 100])]);
    let text = fs::read_to_string(folder.path().join(SUMMARY)).unwrap();
    assert_eq!(text, format!("{}\n", serde_json::to_string_pretty(&summary).unwrap()));
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap().counts, summary.counts);
    let verify = &summary.stages.verify;
    let Latencies { min_ns, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, .. } = verify;
    assert_eq!(
        (verify.count, [min_ns, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns].map(|ns| ns.unwrap())),
        (100, [1_000, 1_049, 1_089, 1_098, 1_099, 1_099])
    );
}

#[test]
fn a_bad_or_failed_record_makes_the_run_exit_1() {
    for (outcome, exit) in [
        (Outcome::Verified, Exit::Done),
        (Outcome::Unchecked, Exit::Done),
        (Outcome::NotVerified, Exit::Failed),
        (Outcome::Failed(9), Exit::Failed),
        (Outcome::Exhausted, Exit::Failed),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let summary = record(folder.path(), NEVER_NS, vec![with_outcomes(&[Outcome::Verified, outcome])]);
        assert_eq!(summary.exit(), exit, "{outcome:?}");
    }
}

#[test]
fn intervals_lose_no_value_on_their_way_into_the_log() {
    for interval_ns in [EVERY_BATCH_NS, NEVER_NS] {
        let folder = tempfile::tempdir().unwrap();
        let batches = (0..9).map(|_| with_outcomes(&[Outcome::Verified; 11])).collect();
        let summary = record(folder.path(), interval_ns, batches);
        for (stage, logged) in Stage::ALL.into_iter().zip(logged(folder.path())) {
            let latencies = summary.stages.get(stage);
            assert_eq!(logged.len(), 99, "{stage:?}");
            assert_eq!(
                (latencies.count, latencies.p99_ns, latencies.max_ns),
                (logged.len(), Some(logged.value_at_quantile(0.99)), Some(logged.max())),
                "{stage:?}"
            );
        }
    }
}

#[test]
fn the_logs_header_has_what_other_readers_look_for() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), NEVER_NS, vec![with_outcomes(&[Outcome::Verified])]);
    let text = fs::read_to_string(folder.path().join(INTERVAL_LOG)).unwrap();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"));
    for part in
        ["\n#[StartTime: ", "\n#[BaseTime: ", "\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","]
    {
        assert!(text.contains(part), "{part}");
    }
    let tags: Vec<_> = text.lines().skip(5).map(|line| line.split(['=', ',']).nth(1).unwrap()).collect();
    assert_eq!(tags[..3], ["queue", "sign", "verify"]);
    assert!(text.lines().last().unwrap().starts_with("0.000,"), "end_to_end has no tag");
}

#[test]
fn an_empty_run_leaves_valid_empty_files() {
    let folder = tempfile::tempdir().unwrap();
    let summary = record(folder.path(), NEVER_NS, vec![]);
    assert_eq!((summary.exit(), summary.counts.records, summary.messages_per_s), (Exit::Done, 0, None));
    assert_eq!(fs::read(folder.path().join(JOURNAL)).unwrap(), b"");
    for stage in Stage::ALL {
        let text = fs::read_to_string(folder.path().join(distribution(stage))).unwrap();
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert_eq!(summary.stages.get(stage).p50_ns, None);
    }
    assert!(logged(folder.path()).iter().all(Histogram::is_empty));
    let table = table::of_run(&summary, &[]);
    assert!(table.ends_with("\n0 messages\n"), "{table}");
}

#[test]
fn a_stage_nobody_went_through_shows_no_percentiles() {
    let folder = tempfile::tempdir().unwrap();
    let summary = record(folder.path(), NEVER_NS, vec![with_outcomes(&[Outcome::Unchecked; 5])]);
    let table = table::of_run(&summary, &[folder.path().join(SUMMARY)]);
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("verify"), ["verify", "0", "-", "-", "-", "-", "-"]);
    assert_eq!(row("sign"), ["sign", "5", "0.1", "0.1", "0.1", "0.1", "0.1"]);
    assert!(table.contains(", 5 unchecked\n") && table.contains(SUMMARY), "{table}");
}

#[test]
fn a_run_for_measurements_is_marked_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = OutputFolder::open(folder.path()).unwrap();
    let run = begin_without_journal(&output, &AnsweredFor::default()).unwrap();
    let mut recorder = Recorder::new(output, run, None, EVERY_BATCH_NS).unwrap();
    let _ = recorder.append(&signed::batch(&[Method::Null, Method::Schnorr])).unwrap();
    let summary = recorder.finish(&ran(VerifierChoice::None), true).unwrap();
    assert!(!folder.path().join(CHECKPOINT).exists(), "nothing to resume from");
    assert_eq!(summary.measurement_only, ["method null", "verifier none", "output none"]);
    assert!(table::of_run(&summary, &[]).contains("for measurements only: verifier none\n"));

    let folder = tempfile::tempdir().unwrap();
    let summary = record(folder.path(), NEVER_NS, vec![with_outcomes(&[Outcome::Verified])]);
    assert!(summary.measurement_only.is_empty());
}

#[test]
fn both_methods_together_are_called_random() {
    let folder = tempfile::tempdir().unwrap();
    let summary = record(folder.path(), NEVER_NS, vec![signed::batch(&[Method::Schnorr, Method::Ecdsa])]);
    assert_eq!((summary.method().as_str(), summary.runtimes), ("random", vec!["native".to_owned()]));
}

#[test]
fn a_journal_without_a_reader_ends_the_run_quietly_and_a_full_disk_does_not() {
    let begin = |file: File| {
        let folder = tempfile::tempdir().unwrap();
        let output = OutputFolder::open(folder.path()).unwrap();
        let run = begin_or_resume(&output, &AnsweredFor::default()).unwrap();
        let journal = Journal::new(file, Encoding::Hex, &[]);
        (Recorder::new(output, run, Some(journal), NEVER_NS).unwrap(), folder)
    };
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let (mut recorder, _folder) = begin(OwnedFd::from(writer).into());
    let batch = with_outcomes(&[Outcome::Verified]);
    assert_eq!(recorder.append(&batch).unwrap(), ControlFlow::Break(()));

    let (mut recorder, _folder) = begin(File::create("/dev/full").unwrap());
    let failure = recorder.append(&batch).unwrap_err();
    assert!(failure.exit == Exit::Environment && failure.message.contains("journal"), "{failure}");
}
