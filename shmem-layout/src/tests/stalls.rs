//! Waits in which something is pending and nothing moves end with a name; others don't end. What a peer forges in the name of
//! somebody who waits is taken back.

use std::thread;
use std::time::Duration;

use super::*;
use crate::cells::{Hint, Ordering};
use crate::protocol::Core;
use crate::state::{Owner, State};
use crate::{Stage, Stall, WaitError};

fn impatient() -> Waiting {
    Waiting { stall_after: Duration::from_millis(300), ..waiting() }
}

fn forge(core: &Core, sequence: u64, stage: Stage, owner: Owner) {
    let slot = core.cells.geometry.slot_of(sequence);
    let state = State::new(core.cells.geometry.lap_of(sequence), stage, 0, owner);
    core.cells.state(slot).store(state.0, Ordering::Relaxed);
}

/// A consumer's wait for `sequence`, as long as it takes to be a stall.
fn stall_of(consumer: &crate::Consumer, sequence: u64) -> Stall {
    let waited =
        consumer.read(sequence, &mut Vec::new(), &mut Vec::new(), &impatient(), Duration::from_secs(5));
    match waited {
        Err(WaitError::Stalled(stall)) => stall,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_in_the_hands_of_somebody_who_does_nothing_is_a_stall_with_its_name() {
    for place in Place::all(&small()) {
        let producer = place.attach().join_producer("feed").unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        let owner =
            producer.ring().members().unwrap().iter().map(|member| member.owner).max_by_key(|o| o.index);
        forge(&producer.ring().core, 0, Stage::Writing, owner.unwrap());
        let stall = stall_of(&consumer, 0);
        assert_eq!((stall.sequence, stall.stage), (0, Some(Stage::Writing)));
        let pid = std::process::id();
        assert!(stall.to_string().contains(&format!("producer 2.1 (pid {pid}, alive)")), "{stall}");
    }
}

#[test]
fn a_message_that_nobody_signs_is_a_stall_and_an_empty_ring_is_none() {
    for place in Place::all(&small()) {
        let consumer = place.attach().join_consumer().unwrap();
        let limit = Duration::from_millis(1_300);
        let idle = consumer.read(0, &mut Vec::new(), &mut Vec::new(), &impatient(), limit);
        assert!(matches!(idle, Ok(None)), "{idle:?}");
        let mut producer = place.attach().join_producer("feed").unwrap();
        publish(&mut producer, 0, b"x");
        let stall = stall_of(&consumer, 0);
        assert!(stall.to_string().contains("written, and waits for a signer (none is alive)"), "{stall}");
    }
}

#[test]
fn a_hole_before_claimed_slots_is_a_stall_and_the_next_producer_fills_it() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        publish(&mut producer, 0, b"x");
        publish(&mut producer, 1, b"y");
        sign(&mut signer, 8);
        forge(&producer.ring().core, 0, Stage::Free, Owner::NOBODY);
        assert!(stall_of(&consumer, 0).to_string().contains("a peer has damaged the ring"));
        assert_eq!(producer.ring().core.cells.hint(Hint::Head).load(Ordering::Relaxed), 0);
        assert_eq!(publish(&mut producer, 2, b"z"), 0);
        assert_eq!(publish(&mut producer, 3, b"z"), 2);
    }
}

#[test]
fn a_full_ring_that_nobody_empties_is_a_stall() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        for position in 0..8 {
            publish(&mut producer, position, b"x");
        }
        let message = Message { position: 8, method: 1, intended_ns: 0, now_ns: 0, bytes: b"x" };
        let refused = producer.publish(&message, WhenFull::Wait, &impatient()).unwrap_err();
        assert!(refused.to_string().contains("sequence 0 has been written"), "{refused}");
    }
}

#[test]
fn a_hint_that_leads_to_a_full_slot_beside_free_ones_is_derived_anew() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        for position in 0..3 {
            publish(&mut producer, position, b"x");
        }
        let core = &producer.ring().core;
        core.cells.hint(Hint::Head).store(9, Ordering::Relaxed);
        core.cells.hint(Hint::Tail).store(9, Ordering::Relaxed);
        forge(core, 0, Stage::Closed, Owner::NOBODY);
        let message = Message { position: 3, method: 1, intended_ns: 0, now_ns: 0, bytes: b"x" };
        assert_eq!(producer.publish(&message, WhenFull::Wait, &impatient()).unwrap(), 3);
    }
}

#[test]
fn a_signer_waits_for_ever_for_messages_and_not_for_the_end_of_a_stream() {
    for place in Place::all(&small()) {
        let producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let waiting = impatient();
        let core = &producer.ring().core;
        // A producer that takes its time.
        forge(core, 0, Stage::Writing, Owner { index: 2, generation: 1 });
        thread::scope(|scope| {
            let stop = &waiting.stop;
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(1_300));
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let idle = signer.claim(1, &mut Vec::new(), &waiting);
            assert!(matches!(idle, Err(WaitError::Stopped)), "{idle:?}");
        });
        forge(core, 1, Stage::Closed, Owner::NOBODY);
        let ended = signer.claim(1, &mut Vec::new(), &impatient());
        assert!(matches!(&ended, Err(WaitError::Stalled(stall)) if stall.sequence == 0), "{ended:?}");
    }
}

#[test]
fn what_bears_the_name_of_a_waiting_signer_is_taken_over() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        publish(&mut producer, 0, b"x");
        forge(&producer.ring().core, 0, Stage::Signing, Owner { index: 3, generation: 1 });
        assert_eq!(sign(&mut signer, 1), [0]);
    }
}

#[test]
fn what_a_signer_holds_it_keeps_while_it_waits_for_more() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        publish(&mut producer, 0, b"x");
        let mut batch = Vec::new();
        signer.claim(1, &mut batch, &waiting()).unwrap();
        let held = batch.remove(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                publish(&mut producer, 1, b"y");
            });
            signer.claim(1, &mut batch, &waiting()).unwrap();
        });
        assert_eq!((held.attempts(), batch[0].sequence()), (0, 1));
        sign_one(&mut signer, held);
        sign_one(&mut signer, batch.remove(0));
    }
}
