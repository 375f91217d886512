//! What a dead member leaves is taken over; what a live one holds is not. Dropping an attachment drops its locks,
//! as the kernel does when a process dies, whatever state its slots are in.

use super::*;
use crate::protocol::Claimed;
use crate::{JoinError, Recovered, Role, Stage};

#[test]
fn a_dead_producers_half_written_message_is_void() {
    for place in Place::all(&small()) {
        let producer = place.attach().join_producer("feed").unwrap();
        let ring = place.attach();
        let core = &producer.ring().core;
        let owner = producer.ring().members().unwrap()[0].owner;
        assert_eq!(core.claim_free(Stage::Writing, owner).unwrap(), Claimed::Sequence(0));
        assert_eq!(ring.recover().unwrap(), Recovered::default(), "robbed a live producer");
        drop(producer);
        assert_eq!(ring.recover().unwrap(), Recovered { voided: 1, ..Recovered::default() });
        let consumer = place.attach().join_consumer().unwrap();
        assert_eq!(read(&consumer, 0).0, Delivery::Void);
        consumer.free(0).unwrap();
        let mut producer = place.attach().join_producer("feed").unwrap();
        assert_eq!(publish(&mut producer, 0, b"again"), 1);
    }
}

#[test]
fn a_dead_signers_records_go_to_the_next_and_fail_after_the_last_attempt() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        for position in 0..3 {
            publish(&mut producer, position, b"poison, or not");
        }
        // The first death takes two records; from then on a tried record is claimed alone.
        let mut doomed = place.attach().join_signer().unwrap();
        let mut batch = Vec::new();
        doomed.claim(2, &mut batch, &waiting()).unwrap();
        assert_eq!(batch.len(), 2);
        drop(doomed);
        for attempts in 1..3 {
            let mut doomed = place.attach().join_signer().unwrap();
            let mut batch = Vec::new();
            doomed.claim(64, &mut batch, &waiting()).unwrap();
            assert_eq!(batch.len(), 1, "a tried record must be claimed alone");
            assert_eq!((batch[0].sequence(), batch[0].attempts()), (0, attempts));
            drop(doomed);
        }
        let mut signer = place.attach().join_signer().unwrap();
        assert_eq!(sign(&mut signer, 64), [1], "tried once, alone");
        assert_eq!(sign(&mut signer, 64), [2]);
        let (Delivery::Record(failed), _, signature) = read(&consumer, 0) else { panic!() };
        assert!(failed.is_exhausted && failed.attempts == 3 && signature.is_empty(), "{failed:?}");
        let (Delivery::Record(signed), ..) = read(&consumer, 1) else { panic!() };
        assert!(!signed.is_exhausted && signed.attempts == 1);
    }
}

#[test]
fn a_newcomer_sweeps_its_own_index_before_it_uses_it() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        publish(&mut producer, 0, b"x");
        let mut dead = place.attach().join_signer().unwrap();
        dead.claim(1, &mut Vec::new(), &waiting()).unwrap();
        let index =
            dead.ring().members().unwrap().iter().find(|m| m.role == Some(Role::Signer)).unwrap().owner;
        drop(dead);
        let mut next = place.attach().join_signer().unwrap();
        let members = place.attach().members().unwrap();
        let now = members.iter().find(|m| m.role == Some(Role::Signer)).unwrap();
        assert_eq!((now.owner.index, now.owner.generation), (index.index, index.generation + 1));
        assert_eq!(sign(&mut next, 1), [0]);
    }
}

#[test]
fn a_second_consumer_and_a_second_producer_of_a_source_are_refused_by_name() {
    for place in Place::all(&small()) {
        let consumer = place.attach().join_consumer().unwrap();
        let refused = place.attach().join_consumer().map(drop).unwrap_err();
        assert!(
            matches!(refused, JoinError::ConsumerTaken { pid } if pid == std::process::id()),
            "{refused}"
        );
        drop(consumer);
        place.attach().join_consumer().unwrap();

        let producer = place.attach().join_producer("feed").unwrap();
        place.attach().join_producer("another").unwrap();
        let refused = place.attach().join_producer("feed").map(drop).unwrap_err();
        assert!(matches!(&refused, JoinError::SourceTaken { name } if name == "feed"), "{refused}");
        drop(producer);
        place.attach().join_producer("feed").unwrap();
    }
}

#[test]
fn a_source_goes_on_behind_all_that_was_ever_published() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        assert_eq!(producer.resume_position(), 0);
        for position in 0..3 {
            publish(&mut producer, position, b"x");
        }
        drop(producer);
        let producer = place.attach().join_producer("feed").unwrap();
        assert_eq!(producer.resume_position(), 3, "from the slots");
        let mut signer = place.attach().join_signer().unwrap();
        sign(&mut signer, 64);
        let consumer = place.attach().join_consumer().unwrap();
        for sequence in 0..3 {
            let (Delivery::Record(record), ..) = read(&consumer, sequence) else { panic!() };
            answer_for(&consumer, &record);
        }
        assert_eq!(producer.resume_position(), 3, "from the source's entry");
        assert_eq!(place.attach().join_producer("other").unwrap().resume_position(), 0);
    }
}

#[test]
fn names_that_are_no_sources_are_refused() {
    let [heap, ..] = Place::all(&small());
    for name in ["", "a\nb", &"x".repeat(49)] {
        let refused = heap.attach().join_producer(name).map(drop).unwrap_err();
        assert!(matches!(refused, JoinError::SourceName { .. }), "{refused}");
    }
    heap.attach().join_producer(&"ü".repeat(24)).unwrap();
}

#[test]
fn tables_that_are_full_say_so() {
    let [heap, ..] = Place::all(&small());
    let producers: Vec<_> = (0..64).map(|i| heap.attach().join_producer(&i.to_string()).unwrap()).collect();
    assert!(matches!(heap.attach().join_producer("one more").map(drop), Err(JoinError::NoSource(64))));
    let signers: Vec<_> = (64..254).map(|_| heap.attach().join_signer().unwrap()).collect();
    assert!(matches!(heap.attach().join_signer().map(drop), Err(JoinError::NoPlace(254))));
    drop((producers, signers));
    heap.attach().join_signer().unwrap();
}

/// Nobody knows how many laps lie between a member's look at its hint and its next one.
#[test]
fn a_hint_left_far_behind_is_caught_up_with() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        for position in 0..29 {
            let sequence = publish(&mut producer, position, b"x");
            sign(&mut signer, 1);
            let (Delivery::Record(record), ..) = read(&consumer, sequence) else { panic!() };
            answer_for(&consumer, &record);
        }
        let cells = &place.attach();
        for hint in [crate::cells::Hint::Head, crate::cells::Hint::Sign, crate::cells::Hint::Tail] {
            cells.cells().hint(hint).store(0, std::sync::atomic::Ordering::Relaxed);
        }
        assert_eq!(publish(&mut producer, 29, b"x"), 29);
        assert_eq!(sign(&mut signer, 64), [29]);
        assert_eq!(consumer.first_unfreed(), 29);
        // Ahead is what no honest member makes it; the producer finds its way back all the same.
        cells.cells().hint(crate::cells::Hint::Head).store(1000, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(publish(&mut producer, 30, b"x"), 30);
    }
}

/// A slot that is freed and written again by another source, while a producer looks for its own position, once gave
/// it the other's.
#[test]
fn a_source_never_takes_anothers_position_for_its_own() {
    let [heap, ..] = Place::all(&small());
    let mine = heap.attach().join_producer("mine").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut theirs = heap.attach().join_producer("theirs").unwrap();
            let mut also = heap.attach().join_producer("also").unwrap();
            let mut signer = heap.attach().join_signer().unwrap();
            let consumer = heap.attach().join_consumer().unwrap();
            for round in 0..30_000 {
                // Positions far apart, so that a mixed pair is seen.
                let sequence = publish(&mut theirs, 1 << 40 | round, b"x");
                publish(&mut also, 1 << 50 | round, b"x");
                for sequence in [sequence, sequence + 1] {
                    sign(&mut signer, 1);
                    let (Delivery::Record(record), ..) = read(&consumer, sequence) else { panic!() };
                    answer_for(&consumer, &record);
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let other = heap.attach();
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(mine.resume_position(), 0, "of a source that never sent");
            let theirs = other.core.resume_position(1);
            assert!(theirs < 1 << 50, "another source's position: {theirs:#x}");
        }
    });
}

/// Writes a word where a hostile peer would: by its place on the heap.
fn write_word(heap: &crate::region::Heap, offset: usize, word: u64) {
    // SAFETY: `offset` is that of a word of the ring, which lives as long as `heap`, and all look at it as an atomic.
    let at = unsafe { &*heap.base().as_ptr().add(offset).cast::<std::sync::atomic::AtomicU64>() };
    at.store(word, std::sync::atomic::Ordering::Relaxed);
}

#[test]
fn a_ring_whose_hints_are_all_nonsense_is_put_right_from_its_slots() {
    use crate::layout::control;
    let [place, ..] = Place::all(&small());
    let Place::Heap(heap) = &place else { unreachable!() };
    let mut producer = place.attach().join_producer("source").unwrap();
    let mut signer = place.attach().join_signer().unwrap();
    publish(&mut producer, 0, b"message");
    for hint in [control::HEAD, control::SIGN, control::TAIL] {
        write_word(heap, hint, 1 << 50);
    }
    place.attach().recover().unwrap();
    assert_eq!(publish(&mut producer, 1, b"another"), 1, "a free slot is found");
    assert_eq!(sign(&mut signer, 8), [0, 1], "what is written is signed");
}

#[test]
fn a_signer_whose_hint_is_beyond_the_end_of_the_stream_meets_the_end() {
    let [place, ..] = Place::all(&small());
    let Place::Heap(heap) = &place else { unreachable!() };
    let mut signer = place.attach().join_signer().unwrap();
    place.attach().close(&waiting()).unwrap();
    write_word(heap, crate::layout::control::SIGN, 5);
    place.attach().recover().unwrap();
    let patience = Waiting { stall_after: std::time::Duration::from_millis(500), ..waiting() };
    assert_eq!(signer.claim(1, &mut Vec::new(), &patience).unwrap(), crate::Claims::Drained);
}

/// A lap that no honest member writes leads the walk far beyond; the look back at what was passed is one lap long all the same.
#[test]
fn a_lap_of_nonsense_behind_a_claim_does_not_keep_a_signer_for_ever() {
    use crate::layout::control;
    use crate::state::State;
    let [place, ..] = Place::all(&small());
    let Place::Heap(heap) = &place else { unreachable!() };
    let mut producer = place.attach().join_producer("source").unwrap();
    let mut first = place.attach().join_signer().unwrap();
    let mut second = place.attach().join_signer().unwrap();
    publish(&mut producer, 0, b"message");
    let mut held = Vec::new();
    first.claim(1, &mut held, &waiting()).unwrap();
    write_word(heap, control::SIGN, 0);
    let stride = place.attach().spec().stride as usize;
    write_word(heap, control::SLOTS + stride, State::free(1 << 39).0);
    let stopped = waiting();
    stopped.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(second.claim(1, &mut Vec::new(), &stopped).is_err());
    for claim in held {
        first.give_back(claim);
    }
}
