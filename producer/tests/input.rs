//! Messages read from files: which bytes of a line are the message, and what happens to input that is no message.
//!
//! Signing something else than what stands in the file, or going on quietly after a line that could not be taken, are
//! the failures to prevent.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::path::Path;
use std::sync::atomic::Ordering;

use cli::Exit;
use producer::{Content, Format, InputOptions, Options, Summary, run};
use shmem_layout::Waiting;
use support::{MESSAGE_CAPACITY, TestRing, messages, positions, ring};

fn send(options: &Options) -> Summary {
    run(options, &Waiting::default()).unwrap()
}

fn refusal(options: &Options) -> (Exit, String) {
    let failure = run(options, &Waiting::default()).unwrap_err();
    (failure.exit, failure.message)
}

fn skipping(mut options: Options) -> Options {
    if let Content::Input(input) = &mut options.content {
        input.skip_oversize = true;
    }
    options
}

fn reading_path(ring: &TestRing, path: impl AsRef<Path>) -> Options {
    let path = path.as_ref().into();
    ring.options(Content::Input(InputOptions { path, format: Format::Lines, skip_oversize: false }))
}

#[test]
fn only_the_newline_is_cut_from_a_line() {
    for (text, expected) in [
        (&b"one\ntwo\n"[..], vec![&b"one"[..], b"two"]),
        (b"one\ntwo", vec![b"one", b"two"]),
        (b"one\r\n two \t\r\n", vec![b"one\r", b" two \t\r"]),
        (b"\n\nx\n\n", vec![b"", b"", b"x", b""]),
        (b"\n", vec![b""]),
        (b"", vec![]),
        (b"\xFF\0\xFE\n\0", vec![b"\xFF\0\xFE", b"\0"]),
    ] {
        let ring = ring(8);
        assert_eq!(send(&ring.reading(text, Format::Lines)).sent, expected.len() as u64);
        assert_eq!(messages(&ring.drain()), expected, "{text:?}");
    }
}

#[test]
fn hex_lines_are_the_bytes_they_spell() {
    let ring = ring(8);
    send(&ring.reading("00ff\n\nABcd", Format::Hex));
    assert_eq!(messages(&ring.drain()), [&b"\x00\xFF"[..], b"", b"\xAB\xCD"]);
}

#[test]
fn a_hex_error_names_the_place_after_all_before_it_is_delivered() {
    for (text, place) in [
        ("00\n11\n2x\n33\n", ":3:2: 'x' is no hex digit"),
        ("00\n11\n222\n33\n", ":3: an odd number of hex digits (3)"),
        ("00\n11\n22\r\n33\n", ":3:3: '\\r' is no hex digit"),
    ] {
        let ring = ring(8);
        let (exit, message) = refusal(&ring.reading(text, Format::Hex));
        assert_eq!(exit, Exit::BadInput);
        assert!(message.ends_with(&format!("/input{place}")), "{message}");
        assert_eq!(messages(&ring.drain()), [&[0x00], &[0x11]]);
    }
}

#[test]
fn a_line_too_long_is_named_after_all_before_it_is_delivered_and_ends_the_stream() {
    for (format, digits) in [(Format::Lines, 1), (Format::Hex, 2)] {
        let ring = ring(8);
        let fits = "0".repeat(MESSAGE_CAPACITY * digits);
        let too_long = "0".repeat(300 * digits);
        let options = ring.reading(format!("{fits}\n\n{too_long}\n00\n"), format);
        let (exit, message) = refusal(&Options { close: true, ..options });
        assert_eq!(exit, Exit::BadInput);
        assert!(
            message.contains("/input:3: message of 300 bytes is longer than the ring's 256"),
            "{message}"
        );
        assert!(message.contains("--message-capacity") && message.contains("--skip-oversize"), "{message}");
        let drained = ring.drain_until_closed_or(&Waiting::default());
        assert_eq!(messages(&drained).iter().map(|m| m.len()).collect::<Vec<_>>(), [MESSAGE_CAPACITY, 0]);
    }
}

#[test]
fn oversize_lines_are_left_out_counted_and_keep_their_positions() {
    let ring = ring(8);
    let long = "x".repeat(MESSAGE_CAPACITY + 1);
    let summary = send(&skipping(ring.reading(format!("a\n{long}\nb\n{long}"), Format::Lines)));
    assert_eq!(summary, Summary { resumed_at: 0, sent: 2, skipped: 2 });
    assert_eq!(summary.note().unwrap(), "messages sent: 2; left out as too long for the ring: 2");
    let drained = ring.drain();
    assert_eq!(messages(&drained), [b"a", b"b"]);
    assert_eq!(positions(&drained), [0, 2]);
}

#[test]
fn a_line_without_end_is_refused_or_passed_over() {
    const MANY: usize = 5 << 20;
    for format in [Format::Lines, Format::Hex] {
        let ring = ring(8);
        let options = ring.reading(format!("00\n{}\n11", "0".repeat(MANY)), format);
        let (exit, message) = refusal(&options);
        assert_eq!(exit, Exit::BadInput);
        assert!(message.contains("/input:2: message of over 1048576 bytes"), "{message}");
        assert_eq!(send(&skipping(options)), Summary { resumed_at: 1, sent: 1, skipped: 1 });
        assert_eq!(positions(&ring.drain()), [0, 2]);
    }
}

#[test]
fn a_resumed_file_goes_on_behind_the_lines_that_were_delivered() {
    let ring = ring(8);
    let long = "x".repeat(MESSAGE_CAPACITY + 1);
    let options = skipping(ring.reading(format!("a\n{long}\nb\nc\n\n{long}\nd"), Format::Lines));
    assert_eq!(
        send(&Options { messages: 3, ..options.clone() }),
        Summary { resumed_at: 0, sent: 2, skipped: 1 }
    );
    assert_eq!(
        send(&Options { messages: 4, ..options.clone() }),
        Summary { resumed_at: 3, sent: 1, skipped: 0 }
    );
    let mut drained = ring.drain();
    assert_eq!(send(&options), Summary { resumed_at: 4, sent: 2, skipped: 1 });
    drained.extend(ring.drain());
    assert_eq!(messages(&drained), [&b"a"[..], b"b", b"c", b"", b"d"]);
    assert_eq!(positions(&drained), [0, 2, 3, 4, 6]);
}

#[test]
fn a_file_shorter_than_what_was_delivered_sends_nothing() {
    let ring = ring(8);
    send(&ring.reading("a\nb\nc\n", Format::Lines));
    let summary = send(&ring.reading("a\n", Format::Lines));
    assert_eq!(summary, Summary { resumed_at: 3, sent: 0, skipped: 0 });
}

#[test]
fn an_input_that_cannot_be_read_twice_is_not_resumed() {
    let ring = ring(8);
    send(&ring.reading("a\nb\n", Format::Lines));
    for (path, name) in [("-", "standard input"), ("/dev/null", "/dev/null")] {
        let (exit, message) = refusal(&Options { close: true, ..reading_path(&ring, path) });
        assert_eq!(exit, Exit::BadInput);
        assert!(message.starts_with(&format!("{name}: can't be read again to go on at line 3")), "{message}");
    }
    assert_eq!(send(&Options { source: "other".into(), ..reading_path(&ring, "/dev/null") }).sent, 0);
}

#[test]
fn an_input_that_cannot_be_opened_is_bad_input_and_closes_nothing() {
    let ring = ring(8);
    let folder = ring.folder.path();
    for (path, why) in [
        (folder.join("absent"), "absent: no such file"),
        (folder.to_path_buf(), ": is a directory; give a file"),
        (folder.join("ring").join("x"), "/x: can't be opened: "),
    ] {
        let (exit, message) = refusal(&Options { close: true, ..reading_path(&ring, &path) });
        assert_eq!(exit, Exit::BadInput);
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(send(&ring.reading("a", Format::Lines)).sent, 1);
}

#[test]
fn a_stop_ends_the_reading_of_an_endless_line() {
    let ring = ring(8);
    let waiting = Waiting::default();
    let options = skipping(reading_path(&ring, "/dev/zero"));
    let failure = std::thread::scope(|scope| {
        let sending = scope.spawn(|| run(&options, &waiting).unwrap_err());
        waiting.stop.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, "interrupted; messages sent: 0"));
    let (exit, message) = refusal(&reading_path(&ring, "/dev/zero"));
    assert_eq!(exit, Exit::BadInput);
    assert!(message.contains("/dev/zero:1: message of over 1048576 bytes"), "{message}");
}
