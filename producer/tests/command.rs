//! The binary as a shell sees it: exit codes, what stands on which stream, signals, and death without warning.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use shmem_layout::{Stage, Waiting};
use support::{TestRing, messages, positions, ring};

fn producer(ring: &TestRing, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.arg("--ring").arg(ring.path.to_string()).args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end with `input` on standard input.
fn ends(mut command: Command, input: &str) -> (i32, String) {
    let mut child = command.spawn().unwrap();
    // One that was refused doesn't read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(child.wait_with_output().unwrap())
}

/// Exit code and standard error, with nothing on standard output.
fn said(output: Output) -> (i32, String) {
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Starts a producer again and again, and kills each once so many messages have come out of the ring.
fn kill_at(ring: &TestRing, arguments: &str, counts: &[u64]) {
    let mut killed = 0;
    for count in counts {
        let mut child = producer(ring, arguments).spawn().unwrap();
        ring.wait_for_tail(*count);
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
    }
    assert!(killed > 0, "no producer was killed while it was at work");
}

#[test]
fn what_is_done_is_silent() {
    let ring = ring(16);
    assert_eq!(
        ends(producer(&ring, "--messages 10 --method random --size 0..99 --seed 9 --close"), ""),
        (0, "".into())
    );
    assert_eq!(ring.drain_until_closed_or(&Waiting::default()).len(), 10);
}

#[test]
fn standard_input_is_read_to_its_end() {
    let ring = ring(16);
    assert_eq!(ends(producer(&ring, "--input - --format hex --close"), "00\n\nff"), (0, "".into()));
    assert_eq!(messages(&ring.drain_until_closed_or(&Waiting::default())), [&b"\0"[..], b"", b"\xFF"]);
}

#[test]
fn empty_standard_input_is_no_error() {
    let ring = ring(16);
    assert_eq!(ends(producer(&ring, "--input - --close"), ""), (0, "".into()));
    assert_eq!(ring.drain_until_closed_or(&Waiting::default()).len(), 0);
}

#[test]
fn lines_left_out_are_counted_on_standard_error() {
    let ring = ring(16);
    let (code, error) =
        ends(producer(&ring, "--input - --skip-oversize"), &format!("a\n{}\nb\n", "x".repeat(257)));
    assert_eq!(
        (code, error.as_str()),
        (0, "producer: messages sent: 2; left out as too long for the ring: 1\n")
    );
}

#[test]
fn bad_arguments_and_bad_input_are_2_on_one_line() {
    let ring = ring(16);
    ends(producer(&ring, "--messages 3"), "");
    for (arguments, input, word) in [
        ("--no-such-flag", "", "'--no-such-flag' found; the flags are --ring, --source"),
        ("--method rsa", "", "legal are ecdsa, schnorr, random, null"),
        ("--input - --size 3", "", "'--input <FILE>' cannot be used with '--size <BYTES>'"),
        ("--input absent-file", "", "absent-file: no such file"),
        ("--input -", "x\n", "standard input: can't be read again to go on at line 4"),
        ("--input - --format hex --source hex", "00\n0g\n", "standard input:2:2: 'g' is no hex digit"),
        ("--size 300 --source large", "", "--message-capacity"),
    ] {
        let (code, error) = ends(producer(&ring, arguments), input);
        assert_eq!(code, 2, "{arguments}: {error}");
        assert!(error.starts_with("producer: ") && error.contains(word), "{arguments}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments}: {error}");
    }
    assert_eq!(positions(&ring.drain()), [0, 1, 2, 0]);
}

#[test]
fn a_ring_that_cannot_be_used_is_3_and_is_named() {
    let broken = ring(16);
    let refused = |ring: &TestRing, word: &str| {
        let (code, error) = ends(producer(ring, "--messages 1"), "");
        assert_eq!(code, 3, "{error}");
        assert!(error.starts_with(&format!("producer: {}: ", ring.path)) && error.contains(word), "{error}");
    };
    let file = broken.path.file_path();
    let whole = std::fs::read(&file).unwrap();
    let mut other_version = whole.clone();
    other_version[8] ^= 0x40;
    std::fs::write(&file, other_version).unwrap();
    refused(&broken, "layout version 65");
    std::fs::write(&file, &whole[..100]).unwrap();
    refused(&broken, "too few for a ring");
    std::fs::remove_file(&file).unwrap();
    refused(&broken, "no such ring");

    let taken = ring(16);
    let _first = taken.attach().join_producer("default").unwrap();
    refused(&taken, "source \"default\" has a live producer already");
    taken.attach().close(&Waiting::default()).unwrap();
    let (code, error) = ends(producer(&taken, "--messages 1 --source other"), "");
    assert_eq!(
        (code, error),
        (3, format!("producer: {}: the ring is closed; messages sent: 0\n", taken.path))
    );
}

#[test]
fn another_users_ring_is_3() {
    let ring = ring(16);
    let file = ring.path.file_path();
    if std::os::unix::fs::chown(&file, Some(65_534), None).is_err() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let (code, error) = ends(producer(&ring, "--messages 1"), "");
    assert_eq!(code, 3);
    assert!(error.contains("belongs to uid 65534"), "{error}");
}

#[test]
fn a_full_ring_is_1_when_it_must_not_wait() {
    let ring = ring(4);
    let (code, error) = ends(producer(&ring, "--messages 5 --when-full fail"), "");
    assert_eq!((code, error), (1, format!("producer: {}: the ring is full; messages sent: 4\n", ring.path)));
}

#[test]
fn ctrl_c_ends_the_wait_for_standard_input_and_closes() {
    let ring = ring(16);
    for (number, signal_sent) in [Signal::INT, Signal::TERM].into_iter().enumerate() {
        let close = if number == 1 { "--close" } else { "" };
        let mut child = producer(&ring, &format!("--input - --source {number} {close}")).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"whole line\nhalf a li").unwrap();
        ring.wait_for(Stage::Written, number as u64 + 1);
        signal(&child, signal_sent);
        // Half a line that was on its way is no message.
        let expected = (1, "producer: interrupted; messages sent: 1\n".to_owned());
        assert_eq!(said(child.wait_with_output().unwrap()), expected);
    }
    assert_eq!(messages(&ring.drain_until_closed_or(&Waiting::default())), [b"whole line"; 2]);
}

#[test]
fn a_killed_producer_started_again_sends_every_message_once() {
    let (ring, uncut) = (ring(8), ring(1024));
    let arguments = "--messages 600 --size 0..256 --seed 5 --rate 5000";
    assert_eq!(ends(producer(&uncut, arguments), "").0, 0);
    let expected = uncut.drain();

    let drained = thread::scope(|scope| {
        let draining = scope.spawn(|| ring.drain_until_closed_or(&Waiting::default()));
        kill_at(&ring, arguments, &[50, 200, 400]);
        assert_eq!(ends(producer(&ring, &format!("{arguments} --close")), "").0, 0);
        draining.join().unwrap()
    });
    assert_eq!(messages(&drained), messages(&expected));
    assert_eq!(positions(&drained), (0..600).collect::<Vec<_>>());
}

#[test]
fn a_killed_reader_of_a_file_started_again_sends_every_line_once() {
    let ring = ring(8);
    let lines: Vec<String> = (0..3_000).map(|line| format!("line {line}")).collect();
    ring.file("lines", lines.join("\n"));
    let arguments = format!("--input {}/lines --rate 20000", ring.folder.path().display());
    let drained = thread::scope(|scope| {
        let draining = scope.spawn(|| ring.drain_until_closed_or(&Waiting::default()));
        kill_at(&ring, &arguments, &[300, 900]);
        assert_eq!(ends(producer(&ring, &format!("{arguments} --close")), "").0, 0);
        draining.join().unwrap()
    });
    assert_eq!(messages(&drained), lines.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[test]
fn help_goes_to_standard_output_and_tells_units_and_defaults() {
    let output = Command::new(env!("CARGO_BIN_EXE_producer")).arg("--help").output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let help = String::from_utf8(output.stdout).unwrap();
    for word in
        ["Messages a second", "[default: 64]", "[default: adaptive]", "Bytes of a generated", "Exit codes"]
    {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn the_report_tells_what_was_asked_for_and_what_was_sent_also_after_bad_input() {
    let ring = ring(64);
    let path = ring.folder.path().join("producer.json");
    let report = |arguments: &str, input: &str, code: i32| {
        let arguments = format!("{arguments} --report {}", path.display());
        let (ended, said) = ends(producer(&ring, &arguments), input);
        assert_eq!(ended, code, "{said}");
        fs::read_to_string(&path).unwrap()
    };
    let asked = report("--messages 5 --rate 50000 --size 3..9 --method random", "", 0);
    for part in [
        "\"rate\": 50000.0",
        "\"messages\": 5",
        "\"size_min\": 3",
        "\"size_max\": 9",
        "\"method\": \"random\"",
        "\"input\": null",
        "\"sent\": 5",
        "\"is_complete\": true",
        "\"cpus\": \"any\"",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let long = format!("one\n{}\n", "x".repeat(300));
    let refused = report("--source a --input -", &long, 2);
    for part in
        ["\"rate\": null", "\"input\": \"-\"", "\"sent\": 1", "\"is_complete\": false", "\"messages\": null"]
    {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(report("--source b --skip-oversize --input -", &long, 0).contains("\"skipped\": 1"));
    let (ended, said) = ends(producer(&ring, "--messages 1 --report /no/such/folder/producer.json"), "");
    assert!(ended == 3 && said.contains("/no/such/folder/producer.json"), "{ended} {said}");
}
