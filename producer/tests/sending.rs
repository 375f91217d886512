//! What a producer puts into a ring, and how it goes on after a stop.
//!
//! A message that is sent twice, left out, or sent with another's bytes is signed as if all were well: nothing later
//! in the pipeline can notice. So these tests compare all that comes out of a real ring.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use cli::{Exit, Method};
use producer::{Content, Options, Summary, run};
use shmem_layout::{Stage, WaitStrategy, Waiting, WhenFull};
use support::{Drained, MESSAGE_CAPACITY, TestRing, messages, positions, ring};

fn generating(ring: &TestRing, messages: u64) -> Options {
    Options { messages, ..ring.options(Content::Generated(64..=64)) }
}

fn send(options: &Options) -> Summary {
    run(options, &Waiting::new(options.wait)).unwrap()
}

fn refusal(options: &Options) -> (Exit, String) {
    let failure = run(options, &Waiting::new(options.wait)).unwrap_err();
    (failure.exit, failure.message)
}

fn methods(drained: &[Drained]) -> Vec<u32> {
    drained.iter().map(|one| one.record.method).collect()
}

#[test]
fn a_resumed_generator_sends_the_very_bytes_that_it_would_have_sent() {
    let (whole, parts) = (ring(128), ring(128));
    let all = Options {
        messages: 100,
        method: "random".parse().unwrap(),
        ..whole.options(Content::Generated(0..=90))
    };
    send(&all);
    let expected = whole.drain();

    let part = |messages| send(&Options { ring: parts.path.clone(), messages, ..all.clone() });
    assert_eq!(part(37), Summary { resumed_at: 0, sent: 37, skipped: 0 });
    // Once resumed behind what was answered for, and once behind what is in the ring still.
    let mut drained = parts.drain();
    assert_eq!(part(60), Summary { resumed_at: 37, sent: 23, skipped: 0 });
    assert_eq!(part(100), Summary { resumed_at: 60, sent: 40, skipped: 0 });
    drained.extend(parts.drain());

    assert_eq!(messages(&drained), messages(&expected));
    assert_eq!(methods(&drained), methods(&expected));
    assert_eq!(positions(&drained), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_source_that_is_done_sends_nothing_again_and_says_so() {
    let ring = ring(16);
    assert_eq!(send(&generating(&ring, 10)).note(), None);
    let again = send(&generating(&ring, 10));
    assert_eq!(again, Summary { resumed_at: 10, sent: 0, skipped: 0 });
    assert!(again.note().unwrap().contains("10 messages of this source were delivered before"));
    assert_eq!(ring.drain().len(), 10);
}

#[test]
fn two_sources_of_one_ring_keep_positions_of_their_own() {
    let ring = ring(64);
    for source in ["a", "b"] {
        send(&Options { source: source.into(), ..generating(&ring, 20) });
    }
    let again = send(&Options { source: "a".into(), ..generating(&ring, 25) });
    assert_eq!((again.resumed_at, again.sent), (20, 5));
    let expected: Vec<u64> = (0..20).chain(0..25).collect();
    assert_eq!(positions(&ring.drain()), expected);
}

#[test]
fn random_methods_are_both_drawn_and_the_others_are_what_was_asked_for() {
    for (choice, legal) in [
        ("random", vec![Method::Ecdsa, Method::Schnorr]),
        ("ecdsa", vec![Method::Ecdsa]),
        ("0", vec![Method::Schnorr]),
        ("null", vec![Method::Null]),
    ] {
        let ring = ring(64);
        send(&Options { method: choice.parse().unwrap(), ..generating(&ring, 64) });
        let mut drawn = methods(&ring.drain());
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, legal.iter().map(|method| *method as u32).collect::<Vec<_>>(), "{choice}");
    }
}

#[test]
fn a_stalled_ring_moves_no_intended_time() {
    let ring = ring(4);
    let options = Options { rate: Some(1_000.0), close: true, ..generating(&ring, 50) };
    let drained = thread::scope(|scope| {
        scope.spawn(|| send(&options));
        ring.wait_for(Stage::Written, 4);
        thread::sleep(Duration::from_millis(100));
        ring.drain_until_closed_or(&Waiting::default())
    });
    let start_ns = drained[0].record.intended_ns;
    for (index, one) in drained.iter().enumerate() {
        assert_eq!(one.record.intended_ns - start_ns, index as u64 * 1_000_000);
        assert!(
            one.record.written_ns >= one.record.intended_ns,
            "message {index} was sent before it was due"
        );
    }
    // Due at 4 ms, with the ring full and stalled for 100 more.
    let fifth = &drained[4].record;
    assert!(fifth.written_ns - fifth.intended_ns > 90_000_000);
    assert_eq!(drained.len(), 50);
}

#[test]
fn without_a_rate_the_intended_time_is_before_the_wait_for_room() {
    let ring = ring(4);
    let options = Options { close: true, ..generating(&ring, 5) };
    let drained = thread::scope(|scope| {
        scope.spawn(|| send(&options));
        ring.wait_for(Stage::Written, 4);
        thread::sleep(Duration::from_millis(50));
        ring.drain_until_closed_or(&Waiting::default())
    });
    assert!(drained[4].record.written_ns - drained[4].record.intended_ns > 20_000_000);
    assert!(drained.iter().all(|one| one.record.intended_ns <= one.record.written_ns));
}

#[test]
fn a_small_ring_passes_more_messages_than_it_holds_by_every_wait_strategy() {
    for wait in WaitStrategy::ALL {
        let ring = ring(2);
        let options = Options { wait, close: true, ..generating(&ring, 500) };
        let drained = thread::scope(|scope| {
            scope.spawn(|| send(&options));
            ring.drain_until_closed_or(&Waiting::default())
        });
        assert_eq!(positions(&drained), (0..500).collect::<Vec<_>>(), "{wait}");
    }
}

#[test]
fn a_full_ring_fails_a_producer_that_must_not_wait_and_keeps_what_it_has() {
    let ring = ring(8);
    let options = Options { when_full: WhenFull::Fail, ..generating(&ring, 20) };
    let (exit, message) = refusal(&options);
    assert_eq!(exit, Exit::Failed);
    assert_eq!(message, format!("{}: the ring is full; messages sent: 8", ring.path));
    assert_eq!(positions(&ring.drain()), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_stop_loses_nothing_and_the_next_start_goes_on() {
    let ring = ring(8);
    let waiting = Waiting::default();
    let options = Options { close: true, ..generating(&ring, 20) };
    let failure = thread::scope(|scope| {
        let sending = scope.spawn(|| run(&options, &waiting).unwrap_err());
        ring.wait_for(Stage::Written, 8);
        waiting.stop.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    assert_eq!(failure.exit, Exit::Failed);
    // It must not wait for room to close either.
    let expected = format!("interrupted; messages sent: 8; {}: it is full, so it was not closed", ring.path);
    assert_eq!(failure.message, expected);

    let drained = thread::scope(|scope| {
        scope.spawn(|| assert_eq!(send(&options).resumed_at, 8));
        ring.drain_until_closed_or(&Waiting::default())
    });
    assert_eq!(positions(&drained), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_stop_ends_the_wait_for_a_message_that_is_due_much_later_and_closes() {
    let ring = ring(8);
    let waiting = Waiting::default();
    let options = Options { rate: Some(1e-4), close: true, ..generating(&ring, 20) };
    let failure = thread::scope(|scope| {
        let sending = scope.spawn(|| run(&options, &waiting).unwrap_err());
        ring.wait_for(Stage::Written, 1);
        waiting.stop.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, "interrupted; messages sent: 1"));
    assert_eq!(ring.drain_until_closed_or(&Waiting::default()).len(), 1);
}

#[test]
fn a_generated_size_that_no_slot_holds_is_refused_before_anything_is_sent() {
    let ring = ring(8);
    let options = Options { close: true, ..ring.options(Content::Generated(0..=MESSAGE_CAPACITY + 1)) };
    let (exit, message) = refusal(&options);
    assert_eq!(exit, Exit::BadInput);
    assert!(message.contains("--size 257") && message.contains("--message-capacity"), "{message}");
    assert_eq!(ring.attach().snapshot().unwrap().head, 0);
    send(&Options { messages: 8, ..ring.options(Content::Generated(MESSAGE_CAPACITY..=MESSAGE_CAPACITY)) });
}

#[test]
fn a_second_live_producer_of_a_source_is_refused_by_name() {
    let ring = ring(8);
    let first = ring.attach().join_producer("orders").unwrap();
    let (exit, message) = refusal(&Options { source: "orders".into(), close: true, ..generating(&ring, 1) });
    assert_eq!(exit, Exit::Environment);
    assert!(message.contains("\"orders\" has a live producer"), "{message}");
    assert_eq!(send(&Options { source: "others".into(), ..generating(&ring, 1) }).sent, 1);
    drop(first);
    // Nor has the refused one closed the ring.
    assert_eq!(send(&Options { source: "orders".into(), ..generating(&ring, 1) }).sent, 1);
}

#[test]
fn a_source_name_that_is_none_is_bad_input() {
    let ring = ring(8);
    for source in ["", "a\nb", &"x".repeat(49)] {
        let (exit, message) = refusal(&Options { source: source.into(), ..generating(&ring, 1) });
        assert_eq!(exit, Exit::BadInput, "{message}");
    }
}

#[test]
fn a_closed_ring_takes_nothing() {
    let ring = ring(8);
    send(&Options { close: true, ..generating(&ring, 3) });
    let (exit, message) = refusal(&generating(&ring, 4));
    assert_eq!(exit, Exit::Environment);
    assert_eq!(message, format!("{}: the ring is closed; messages sent: 0", ring.path));
    assert_eq!(ring.drain_until_closed_or(&Waiting::default()).len(), 3);
    // Closing it again is done already.
    assert_eq!(send(&Options { close: true, ..generating(&ring, 3) }).sent, 0);
}
