//! The table that runs are chosen by must not divide by zero, compare apples with pears, or guess at a missing file.

use std::fs;
use std::path::{Path, PathBuf};

use cli::Exit;
use consumer::compare;
use serde_json::json;

fn run_folder(parent: &Path, runtime: &str, methods: &[&str], messages: u64, us: u64) -> PathBuf {
    let folder = parent.join(format!("{runtime}-{}", methods.concat()));
    fs::create_dir(&folder).unwrap();
    let busy_ns = messages * us * 1_000;
    let empty = json!({
        "count": 0, "out_of_order": 0, "min_ns": null, "p50_ns": null, "p90_ns": null, "p99_ns": null,
        "p99_9_ns": null, "max_ns": null, "mean_ns": null, "stddev_ns": null,
    });
    let summary = json!({
        "format": 1, "measurement_only": [], "runtimes": [runtime], "methods": methods, "verifier": runtime,
        "verifier_threads": 1, "wait": "adaptive", "message_bytes": null, "started_unix_s": 0.0, "wall_ns": 0,
        "messages_per_s": null, "verify_busy_ns": 2 * busy_ns,
        "counts": {
            "records": messages, "verified": messages, "not_verified": 0, "failed": 0, "unchecked": 0, "void": 0,
        },
        "stages": {"queue": empty, "sign": empty, "verify": empty, "end_to_end": empty},
    });
    let signer = json!({
        "runtime": runtime, "method": "as asked", "variant": "wide", "module_sha256": null, "signed": messages,
        "failed": 0, "sign_busy_ns": busy_ns, "workers": 1,
    });
    fs::write(folder.join("summary.json"), summary.to_string()).unwrap();
    fs::write(folder.join("signer.json"), signer.to_string()).unwrap();
    folder
}

fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn each_run_is_held_against_native_with_the_same_method() {
    let parent = tempfile::tempdir().unwrap();
    let folders = [
        run_folder(parent.path(), "native", &["ecdsa"], 100, 40),
        run_folder(parent.path(), "wasmtime", &["ecdsa"], 200, 50),
        run_folder(parent.path(), "native", &["schnorr"], 100, 25),
        run_folder(parent.path(), "wasmtime", &["schnorr"], 100, 30),
        run_folder(parent.path(), "wasmtime", &["ecdsa", "schnorr"], 100, 60),
    ];
    let table = compare::of_runs(&folders).unwrap();
    let rows = cells(&table);
    assert_eq!(rows[0], ["signing", "method", "total", "ms", "µs/message", "×", "native"]);
    assert_eq!(
        rows[1..6],
        [
            ["native", "ecdsa", "4.0", "40.0", "1.00"],
            ["wasmtime", "ecdsa", "10.0", "50.0", "1.25"],
            ["native", "schnorr", "2.5", "25.0", "1.00"],
            ["wasmtime", "schnorr", "3.0", "30.0", "1.20"],
            ["wasmtime", "random", "6.0", "60.0", "-"],
        ]
    );
    assert_eq!(rows[7][0], "verifying");
    assert_eq!(rows[9], ["wasmtime", "ecdsa", "20.0", "100.0", "1.25"]);
}

#[test]
fn a_run_without_messages_has_no_time_per_message() {
    let parent = tempfile::tempdir().unwrap();
    let folders = [
        run_folder(parent.path(), "native", &[], 0, 0),
        run_folder(parent.path(), "wasmi", &["ecdsa"], 0, 0),
    ];
    let table = compare::of_runs(&folders).unwrap();
    let rows = cells(&table);
    assert_eq!(rows[1], ["native", "-", "0.0", "-", "-"]);
    assert_eq!(rows[2], ["wasmi", "ecdsa", "0.0", "-", "-"]);
}

#[test]
fn a_folder_that_is_no_finished_run_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let failure = compare::of_runs(&[parent.path().to_owned()]).unwrap_err();
    assert!(failure.exit == Exit::BadInput && failure.message.contains("summary.json"), "{failure}");

    let folder = run_folder(parent.path(), "native", &["ecdsa"], 1, 1);
    fs::write(folder.join("signer.json"), "{}").unwrap();
    let failure = compare::of_runs(&[folder]).unwrap_err();
    assert!(failure.message.contains("signer.json") && failure.message.contains("runtime"), "{failure}");
}
