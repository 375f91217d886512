//! A stream from end to end: nothing lost, doubled, reordered or mixed up.

use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::{PublishError, WaitError};

#[test]
fn a_record_comes_out_as_it_went_in() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        // Two laps, and lengths on both sides of a word's end.
        for (position, len) in
            [0_usize, 1, 7, 8, 9, 63, 64, 65, 99, 100, 3, 16, 17, 31, 32, 33].iter().enumerate()
        {
            let message: Vec<u8> = (0..*len as u8).map(|byte| byte.wrapping_add(position as u8)).collect();
            let sequence = publish(&mut producer, position as u64, &message);
            assert_eq!(sequence, position as u64);
            assert_eq!(sign(&mut signer, 64), [sequence]);
            let (delivery, copy, signature) = read(&consumer, sequence);
            let Delivery::Record(record) = delivery else { panic!("{delivery:?}") };
            assert_eq!(copy, message);
            assert_eq!(signature, message.iter().rev().take(64).copied().collect::<Vec<_>>());
            assert_eq!((record.sequence, record.position, record.method), (sequence, position as u64, 1));
            assert_eq!((record.module_id, record.generation, record.runtime, record.status), (5, 6, 7, 0));
            let times = [record.intended_ns, record.written_ns, record.claimed_ns, record.signed_ns];
            assert!(times.is_sorted() && times[0] > 0, "{times:?}");
            assert_eq!(consumer.source_name(record.source), "feed");
            answer_for(&consumer, &record);
        }
    }
}

#[test]
fn a_message_longer_than_a_slot_never_gets_in() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let message = Message { position: 0, method: 1, intended_ns: 0, now_ns: 0, bytes: &[0; 101] };
        let refused = producer.publish(&message, WhenFull::Fail, &waiting());
        assert!(matches!(refused, Err(PublishError::TooLong { len: 101, capacity: 100 })), "{refused:?}");
        assert_eq!(place.attach().snapshot().unwrap().head, 0);
    }
}

#[test]
fn a_slot_claimed_ahead_keeps_its_sequence_and_may_be_given_up() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut other = place.attach().join_producer("other").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        let message = |position, bytes| Message { position, method: 1, intended_ns: 2, now_ns: 3, bytes };
        let mut claim = || producer.claim(WhenFull::Fail, &waiting()).unwrap();
        let claims = [claim(), claim(), claim()];
        assert_eq!(publish(&mut other, 0, b"behind"), 3);
        // Those before it are nobody's to sign yet.
        assert_eq!(sign(&mut signer, 64), [3]);
        let [first, second, third] = claims;
        assert_eq!(second.sequence(), 1);
        let too_long = [0; 101];
        let refused = producer.publish_in(second, &message(0, &too_long)).unwrap_err();
        assert!(matches!(refused, PublishError::TooLong { len: 101, capacity: 100 }), "{refused}");
        producer.abandon(third);
        assert!(consumer.try_read(0, &mut Vec::new(), &mut Vec::new()).unwrap().is_none());
        assert_eq!(producer.publish_in(first, &message(0, b"ahead")).unwrap(), 0);
        assert_eq!(sign(&mut signer, 64), [0]);
        let (Delivery::Record(record), bytes, _) = read(&consumer, 0) else { panic!() };
        assert_eq!((record.position, record.written_ns, &bytes[..]), (0, 3, &b"ahead"[..]));
        for sequence in [1, 2] {
            assert_eq!(read(&consumer, sequence).0, Delivery::Void);
        }
        assert_eq!(read(&consumer, 3).1, b"behind");
        for sequence in 0..4 {
            consumer.free(sequence).unwrap();
        }
        assert_eq!(publish(&mut producer, 1, b"on"), 4);
    }
}

#[test]
fn a_full_ring_fails_or_waits_and_loses_nothing() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        for position in 0..8 {
            publish(&mut producer, position, b"x");
        }
        let message = Message { position: 8, method: 1, intended_ns: 0, now_ns: 0, bytes: b"x" };
        let full = producer.publish(&message, WhenFull::Fail, &waiting());
        assert!(matches!(full, Err(PublishError::Full)), "{full:?}");
        let (mut signer, consumer) =
            (place.attach().join_signer().unwrap(), place.attach().join_consumer().unwrap());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| producer.publish(&message, WhenFull::Wait, &waiting()));
            sign(&mut signer, 1);
            let (Delivery::Record(record), ..) = read(&consumer, 0) else { panic!() };
            answer_for(&consumer, &record);
            consumer.flush();
            assert_eq!(waiter.join().unwrap().unwrap(), 8);
        });
    }
}

#[test]
fn a_wait_ends_when_it_is_told_to_stop() {
    for strategy in WaitStrategy::ALL {
        let [_, place, _] = Place::all(&small());
        let mut signer = place.attach().join_signer().unwrap();
        let waiting = Waiting::new(strategy);
        let stop = std::sync::Arc::clone(&waiting.stop);
        thread::scope(|scope| {
            let waiter = scope.spawn(move || signer.claim(1, &mut Vec::new(), &waiting));
            thread::sleep(Duration::from_millis(5));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(matches!(waiter.join().unwrap(), Err(WaitError::Stopped)));
        });
    }
}

#[test]
fn a_close_ends_everybody_in_order() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        publish(&mut producer, 0, b"last words");
        assert!(place.attach().close(&waiting()).unwrap());
        assert!(!place.attach().close(&waiting()).unwrap(), "closed twice");
        let message = Message { position: 1, method: 1, intended_ns: 0, now_ns: 0, bytes: b"too late" };
        let late = producer.publish(&message, WhenFull::Wait, &waiting());
        assert!(matches!(late, Err(PublishError::Closed)), "{late:?}");
        assert_eq!(sign(&mut signer, 64), [0], "what came before the close is signed");
        assert_eq!(signer.claim(64, &mut Vec::new(), &waiting()).unwrap(), Claims::Drained);
        assert_eq!(read(&consumer, 1).0, Delivery::Closed);
    }
}

#[test]
fn a_signer_stays_while_another_still_holds_a_record() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let (mut slow, mut quick) =
            (place.attach().join_signer().unwrap(), place.attach().join_signer().unwrap());
        publish(&mut producer, 0, b"held");
        let mut held = Vec::new();
        slow.claim(1, &mut held, &waiting()).unwrap();
        place.attach().close(&waiting()).unwrap();
        let found = place.attach().core.claim_written(crate::Owner::NOBODY, 1, &mut Vec::new()).unwrap();
        assert_eq!(found, crate::protocol::Found::Nothing, "drained, with a record in hand");
        slow.give_back(held.pop().unwrap());
        assert_eq!(sign(&mut quick, 1), [0]);
    }
}

/// Three producers, three signers, a consumer, a ring much smaller than the stream, every wait strategy.
#[test]
fn many_at_once_lose_double_and_mix_nothing() {
    for strategy in WaitStrategy::ALL {
        // Seven spinners on few cores get a time slice each now and then.
        let each = if strategy == WaitStrategy::Spin { 100 } else { 1000 };
        for place in Place::all(&small()) {
            let waiting = Waiting::new(strategy);
            let (place, waiting) = (&place, &waiting);
            let started = Instant::now();
            thread::scope(|scope| {
                let producers = ["a", "b", "c"].map(|name| {
                    let mut producer = place.attach().join_producer(name).unwrap();
                    scope.spawn(move || {
                        for position in 0..each {
                            let bytes = format!("{name} {position}").into_bytes();
                            let message =
                                Message { position, method: 1, intended_ns: 1, now_ns: 1, bytes: &bytes };
                            producer.publish(&message, WhenFull::Wait, waiting).unwrap();
                            producer.flush();
                        }
                    })
                });
                for max in [1, 3, 64] {
                    let mut signer = place.attach().join_signer().unwrap();
                    scope.spawn(move || {
                        let mut batch = Vec::new();
                        while signer.claim(max, &mut batch, waiting).unwrap() == Claims::Some {
                            for claim in batch.drain(..) {
                                sign_one(&mut signer, claim);
                            }
                        }
                    });
                }
                let consumer = place.attach().join_consumer().unwrap();
                scope.spawn(move || {
                    let mut next = [0; 3];
                    for sequence in 0.. {
                        let (mut message, mut signature) = (Vec::new(), Vec::new());
                        let forever = Duration::MAX;
                        let delivery =
                            consumer.read(sequence, &mut message, &mut signature, waiting, forever).unwrap();
                        let Some(Delivery::Record(record)) = delivery else {
                            assert_eq!(delivery, Some(Delivery::Closed));
                            break;
                        };
                        let source = usize::from(record.source);
                        let expected = format!("{} {}", consumer.source_name(record.source), next[source]);
                        assert_eq!(String::from_utf8(message.clone()).unwrap(), expected);
                        assert_eq!(record.position, next[source], "out of order");
                        message.reverse();
                        assert_eq!(message, signature, "another record's signature");
                        next[source] += 1;
                        answer_for(&consumer, &record);
                        consumer.flush();
                    }
                    assert_eq!(next, [each; 3], "after {:?}", started.elapsed());
                });
                for producer in producers {
                    producer.join().unwrap();
                }
                place.attach().close(waiting).unwrap();
            });
        }
    }
}

#[test]
fn who_reads_ahead_of_what_it_frees_finds_nothing_beyond_the_ring() {
    for place in Place::all(&small()) {
        let mut producer = place.attach().join_producer("feed").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        let consumer = place.attach().join_consumer().unwrap();
        for position in 0..8 {
            publish(&mut producer, position, b"x");
        }
        sign(&mut signer, 8);
        assert_eq!(consumer.try_read(8, &mut Vec::new(), &mut Vec::new()).unwrap(), None);
        consumer.free(0).unwrap();
        publish(&mut producer, 8, b"y");
        sign(&mut signer, 8);
        assert_eq!(read(&consumer, 8).1, b"y");
    }
}

/// The numbers, in KiB, that the kernel gives as `what` for each mapping of `path` in this process, added up.
fn mapped_kib(path: &Path, what: &str) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines();
    let mut kib = 0;
    while lines.by_ref().any(|line| line.ends_with(path.to_str().unwrap())) {
        let number = lines.by_ref().find_map(|line| line.strip_prefix(what)).unwrap();
        kib += number.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap();
    }
    kib
}

#[test]
fn a_prefaulted_ring_is_mapped_whole() {
    for place in Place::all(&RingOptions { capacity: 1024, ..small() }) {
        let ring = place.attach();
        let Some(path) = place.file_path() else { continue };
        let len_kib = ring.spec().total_len() as u64 / 1024;
        assert!(mapped_kib(&path, "Rss") < len_kib / 2, "there is nothing left to do");
        ring.prefault().unwrap();
        assert_eq!(mapped_kib(&path, "Rss"), len_kib);
    }
}

#[test]
fn a_ring_on_huge_pages_is_mapped_by_them() {
    let folder = private_folder_in(Path::new("/dev/shm"));
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    if enabled.is_ok_and(|enabled| enabled.contains("[deny]")) {
        println!("skipped: this kernel gives no huge pages to files in memory");
        return;
    }
    // Of different lengths, so that they don't fit by chance.
    for capacity in [1 << 13, 1 << 14] {
        let mapped_of_new_ring = |number: u32| {
            let path = RingPath::File(folder.path().join(format!("{capacity}-{number}")));
            let spec = create(&path, &RingOptions { capacity, huge_pages: true, ..small() }).unwrap();
            let huge_kib = spec.total_len() as u64 / (2 << 20) * 2048;
            assert!(huge_kib > 0 && !spec.total_len().is_multiple_of(2 << 20));
            let ring = attach(&path).unwrap();
            ring.prefault().unwrap();
            (mapped_kib(&path.file_path(), "ShmemPmdMapped"), huge_kib)
        };
        // The kernel leaves a page small now and then, of one ring in 300; it doesn't do so ten times.
        let mapped: Vec<_> = (0..10).map(mapped_of_new_ring).collect();
        assert!(mapped.iter().any(|(mapped, huge)| mapped == huge), "{mapped:?}");
    }
}

#[test]
fn a_ring_that_fills_no_huge_page_is_refused_and_leaves_nothing() {
    let folder = private_folder_in(Path::new("/dev/shm"));
    let path = RingPath::File(folder.path().join("ring"));
    let refused = create(&path, &RingOptions { huge_pages: true, ..small() }).unwrap_err().to_string();
    assert!(refused.contains("fill no huge page of 2 MiB"), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
