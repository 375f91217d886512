//! The page about runs must say what the files say, hide no failure, and let nothing out of a file become more than text.

use std::fs;
use std::path::{Path, PathBuf};

use cli::{Exit, Failure, Method};
use consumer::output_folder::{INTERVAL_LOG, PRODUCER, SIGNER, SUMMARY};
use consumer::record::Outcome;
use consumer::report::{PlotFormat, ReportOptions, write};
use consumer::ring_end::AnsweredFor;
use consumer::verify::VerifierChoice;
use serde_json::{Value, json};

use crate::run::{EVERY_BATCH_NS, ran, recorder};
use crate::signed;

/// A run in the folder `name`, whose records came to `outcomes`.
fn run(parent: &Path, name: &str, outcomes: &[Outcome], is_finished: bool) -> PathBuf {
    let folder = parent.join(name);
    let mut batch = signed::batch(&vec![Method::Ecdsa; outcomes.len()]);
    for (record, outcome) in batch.records_mut().iter_mut().zip(outcomes) {
        record.outcome = *outcome;
        record.times.verified_ns = record.times.signed_ns + 1_000 + 10 * record.sequence;
    }
    let mut recorder = recorder(&folder, &AnsweredFor::default(), EVERY_BATCH_NS);
    assert!(recorder.append(&batch).unwrap().is_continue());
    recorder.finish(&ran(VerifierChoice::Secp256k1), is_finished).unwrap();
    let signer = json!({
        "runtime": "native", "signed": outcomes.len(), "sign_busy_ns": 50 * outcomes.len(), "workers": 1,
        "compile_ns": 10, "instantiate_ns": 20, "first_call_ns": 30, "instances": 1, "first_calls": 1,
        "methods": [{"method": "ecdsa", "runtime": "native", "variant": null, "module_sha256": null}],
    });
    let producer = json!({
        "seed": 1, "input": null, "messages": outcomes.len(), "rate": 1000.0, "wait": "adaptive", "cpus": "any",
        "prefault": false, "sent": outcomes.len(), "skipped": 0, "is_complete": true,
    });
    fs::write(folder.join(SIGNER), signer.to_string()).unwrap();
    fs::write(folder.join(PRODUCER), producer.to_string()).unwrap();
    folder
}

fn try_page(folders: &[PathBuf]) -> Result<String, Failure> {
    let to = folders[0].join("page.html");
    let options = ReportOptions { folders: folders.to_vec(), to: Some(to.clone()), plots: None };
    write(&options).map(|path| {
        assert_eq!(path, to);
        fs::read_to_string(path).unwrap()
    })
}

fn page(folders: &[PathBuf]) -> String {
    try_page(folders).unwrap()
}

/// The remarks that something went wrong.
fn bad_remarks(page: &str) -> usize {
    page.matches("<li class=\"bad\">").count()
}

/// What the page says of `field`, as in the file.
fn figure(page: &str, field: &str) -> Value {
    let begin = format!("data-figure=\"{field}\" data-value=\"");
    let at = page.find(&begin).unwrap_or_else(|| panic!("no {field}")) + begin.len();
    serde_json::from_str(page[at..].split('"').next().unwrap()).unwrap()
}

#[test]
fn every_latency_of_the_summary_is_on_the_page_as_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path(), "good", &[Outcome::Verified; 1_200], true);
    let summary: Value = serde_json::from_slice(&fs::read(folder.join(SUMMARY)).unwrap()).unwrap();
    let page = page(&[folder]);
    for (stage, latencies) in summary["stages"].as_object().unwrap() {
        for (name, value) in latencies.as_object().unwrap().iter().filter(|(name, _)| *name != "out_of_order")
        {
            let said = figure(&page, &format!("stages.{stage}.{name}"));
            assert_eq!(said.as_f64(), value.as_f64(), "{stage}.{name}");
        }
    }
    assert_eq!(figure(&page, "counts.verified"), 1_200);
    assert!(page.contains("1,200 messages in") && page.contains("all verified."), "{page}");
    assert_eq!(bad_remarks(&page), 0);
    // p99.9 of 1,200 rests on one sample, p99 on twelve.
    assert!(page.contains("only 1 above") && !page.contains("only 12 above"));
    assert!(!page.contains("http://www.w3.org") && !page.contains("<script") && !page.contains("src="));
}

#[test]
fn failures_stand_out() {
    let parent = tempfile::tempdir().unwrap();
    let mut outcomes = [Outcome::Verified; 100];
    (outcomes[3], outcomes[4], outcomes[5]) = (Outcome::NotVerified, Outcome::Failed(9), Outcome::Exhausted);
    let folder = run(parent.path(), "bad", &outcomes, false);
    let path = folder.join(PRODUCER);
    let producer = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        producer
            .replace("\"skipped\":0", "\"skipped\":7")
            .replace("true}", "false}")
            .replace(":true", ":false"),
    )
    .unwrap();
    let bad = page(std::slice::from_ref(&folder));
    for words in [
        "3 of them NOT verified",
        "1 signature did NOT VERIFY",
        "2 messages FAILED",
        "interrupted",
        "7 messages were left out",
        "ended early",
    ] {
        assert!(bad.contains(words), "{words}: {bad}");
    }
    assert_eq!(bad_remarks(&bad), 5);
    let good = run(parent.path(), "good", &[Outcome::Verified; 100], true);
    let both = page(&[good, folder]);
    assert_eq!(bad_remarks(&both), 5);
    assert!(both.contains("bad: 1 signature did NOT VERIFY") && both.contains("bad ✗"), "{both}");
}

#[test]
fn what_files_and_folders_are_called_stays_text() {
    let parent = tempfile::tempdir().unwrap();
    let evil = "<img src=x onerror=alert(1)>\"'&";
    let folder = run(parent.path(), evil, &[Outcome::Verified; 3], true);
    for name in [SUMMARY, SIGNER] {
        let path = folder.join(name);
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for field in ["verifier", "wait", "runtime"] {
            json[field] = evil.into();
        }
        json["runtimes"] = json!([evil]);
        json["public_keys"] = json!([evil]);
        json["methods"] = if name == SUMMARY {
            json!([evil])
        } else {
            json!([{"method": evil, "runtime": evil, "variant": evil, "module_sha256": evil}])
        };
        fs::write(path, json.to_string()).unwrap();
    }
    let other = run(parent.path(), "other", &[Outcome::Verified; 3], true);
    for page in [page(std::slice::from_ref(&folder)), page(&[folder, other])] {
        assert!(!page.contains("<img") && page.contains("&lt;img src=x onerror=alert(1)&gt;"), "{page}");
    }
}

#[test]
fn what_is_missing_is_said_and_what_is_no_run_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path(), "run", &[Outcome::Verified; 20], true);
    fs::write(folder.join(SIGNER), "{").unwrap();
    fs::remove_file(folder.join(PRODUCER)).unwrap();
    fs::remove_file(folder.join(INTERVAL_LOG)).unwrap();
    let bare = page(std::slice::from_ref(&folder));
    for name in [SIGNER, PRODUCER, INTERVAL_LOG] {
        assert!(bare.contains(&format!("</span> {name}: ")), "{name}: {bare}");
    }
    assert!(bare.contains("not recorded") && !bare.contains("<figure"), "{bare}");

    fs::write(folder.join(INTERVAL_LOG), "0.0,1.0,1.0,nonsense\n").unwrap();
    assert_eq!(bad_remarks(&page(std::slice::from_ref(&folder))), 2, "a torn line, and what it lacks");

    fs::write(folder.join(SUMMARY), "{\"format\": 1}").unwrap();
    for no_run in [folder.as_path(), parent.path(), Path::new("/nonexistent")] {
        let failure = try_page(&[no_run.to_owned()]).unwrap_err();
        assert!(failure.exit == Exit::BadInput && failure.message.contains(SUMMARY), "{failure}");
        assert!(!no_run.join("page.html").exists() || no_run == folder);
    }
}

#[test]
fn an_empty_run_and_one_message_make_pages() {
    let parent = tempfile::tempdir().unwrap();
    let empty = run(parent.path(), "empty", &[], true);
    let one = run(parent.path(), "one", &[Outcome::Verified], true);
    assert!(page(std::slice::from_ref(&empty)).contains("No message came through."));
    let page_of_one = page(std::slice::from_ref(&one));
    assert!(page_of_one.contains("One message, 1.30 µs end to end; verified."));
    let both = page(&[empty, one]);
    assert!(!both.contains("NaN") && !both.contains("inf "));
}

#[test]
fn each_picture_is_a_file_beside_the_page() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path(), "run", &[Outcome::Verified; 50], true);
    for (plots, ending, magic) in [(PlotFormat::Svg, "svg", "<svg "), (PlotFormat::Png, "png", "\u{FFFD}PNG")]
    {
        let options = ReportOptions { folders: vec![folder.clone()], to: None, plots: Some(plots) };
        let page = fs::read_to_string(write(&options).unwrap()).unwrap();
        assert_eq!(page.matches("<figure>").count(), 5);
        for name in ["percentiles", "latency", "throughput", "record-time", "start-time"] {
            let bytes = fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
            assert!(String::from_utf8_lossy(&bytes).starts_with(magic), "{name}.{ending}");
        }
    }
    let nowhere =
        ReportOptions { folders: vec![folder], to: Some("/dev/null/page.html".into()), plots: None };
    let failure = write(&nowhere).unwrap_err();
    assert!(failure.exit == Exit::Environment && failure.message.contains("--to"), "{failure}");
}
