//! Claim, publish, sign, answer, free, close: every record whole, in one pair of hands, and in its place.

use super::*;

#[test]
fn a_ring_is_found_complete_or_not_at_all() {
    check(None, &["complete", "no ring yet"], || {
        let geometry = Geometry { capacity: 1, stride: 256, message_capacity: 8, signature_capacity: 8 };
        let cells = Arc::new(Cells { geometry, memory: Memory::new(&geometry) });
        let maker = Arc::clone(&cells);
        let making = thread::spawn(move || {
            maker.state(0).store(State::free(0).0, Ordering::Relaxed);
            maker.set_magic();
        });
        let is_ring = has_magic(&cells.memory);
        let is_formatted = cells.state(0).load(Ordering::Relaxed) == State::free(0).0;
        making.join().unwrap();
        assert!(is_formatted || !is_ring, "a slot in no stage");
        if is_ring { "complete" } else { "no ring yet" }
    });
}

#[test]
fn a_source_never_goes_back_while_its_record_is_freed() {
    check(None, &["from its entry", "from its slot"], || {
        let world = World::new(1);
        world.claim_for(ONE, 0, 6);
        world.core.publish(0);
        world.sign(TWO);
        let consumer = world.beside(|world| {
            world.core.answer_for(0, 6);
            world.core.free(0).unwrap();
        });
        let stage = world.stage(0).0;
        assert_eq!(world.core.resume_position(0), 7);
        consumer.join().unwrap();
        if stage == Stage::Free { "from its entry" } else { "from its slot" }
    });
}

#[test]
fn a_source_does_not_take_anothers_position_for_its_own() {
    check(None, &["mine is gone", "mine is there"], || {
        let world = World::new(1);
        world.claim_for(ONE, 0, 6);
        world.core.publish(0);
        world.sign(TWO);
        world.core.answer_for(0, 6);
        let others = world.beside(|world| {
            world.core.free(0).unwrap();
            world.claim_for(TWO, 1, 40);
        });
        let is_there = world.stage(0).0 == Stage::Signed;
        assert_eq!(world.core.resume_position(0), 7, "another source's position");
        others.join().unwrap();
        if is_there { "mine is there" } else { "mine is gone" }
    });
}

#[test]
fn a_record_is_seen_whole_from_claim_to_free() {
    check(Some(2), &["signed"], || {
        let world = World::new(1);
        let producer = world.beside(|world| world.produce(ONE, 40));
        let signer = world.beside(|world| world.block_until_signed(TWO));
        let record = world.block(Event::Signed, || world.consume(0));
        assert_eq!(record, (Stage::Signed, 40));
        producer.join().unwrap();
        signer.join().unwrap();
        "signed"
    });
}

#[test]
fn a_slot_is_not_written_again_while_it_is_read() {
    check(None, &["full", "next lap"], || {
        let world = World::new(1);
        world.produce(ONE, 1);
        world.sign(TWO);
        let next = world.beside(|world| world.produce(ONE, 2));
        assert_eq!(world.consume(0), Some((Stage::Signed, 1)));
        match next.join().unwrap() {
            Claimed::Full => "full",
            Claimed::Sequence(1) => "next lap",
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn two_producers_never_share_a_sequence() {
    check(None, &["me first", "other first"], || {
        let world = World::new(2);
        let other = world.beside(|world| world.produce(ONE, 10));
        let claimed = (world.produce(TWO, 20), other.join().unwrap());
        match claimed {
            (Claimed::Sequence(0), Claimed::Sequence(1)) => {
                assert_eq!((world.message(0), world.message(1)), (20, 10));
                "me first"
            }
            (Claimed::Sequence(1), Claimed::Sequence(0)) => {
                assert_eq!((world.message(0), world.message(1)), (10, 20));
                "other first"
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn two_signers_never_share_a_record() {
    check(None, &["me", "other"], || {
        let world = World::new(2);
        world.produce(ONE, 1);
        let other = world.beside(|world| world.sign(TWO));
        let found = (world.sign(ONE), other.join().unwrap());
        assert_eq!(world.consume(0), Some((Stage::Signed, 1)));
        match found {
            (Found::Claims, Found::Nothing) => "me",
            (Found::Nothing, Found::Claims) => "other",
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_record_given_back_is_as_whole_as_a_published_one() {
    check(Some(2), &["given back", "never given"], || {
        let world = World::new(1);
        let producer = world.beside(|world| world.produce(ONE, 1));
        let giver = world.beside(|world| {
            let mut batch = Vec::new();
            world.core.claim_written(ONE, 1, &mut batch).unwrap();
            let is_given = !batch.is_empty();
            batch.into_iter().for_each(|claim| world.core.give_back(claim));
            world.core.cells.notify(Event::Published);
            is_given
        });
        world.block_until_signed(TWO);
        assert_eq!(world.consume(0), Some((Stage::Signed, 1)));
        producer.join().unwrap();
        if giver.join().unwrap() { "given back" } else { "never given" }
    });
}

#[test]
fn a_close_comes_after_all_that_was_published_and_a_signer_leaves_when_that_is_signed() {
    check(None, &["drained"], || {
        let world = World::new(2);
        world.produce(ONE, 1);
        let closer = world.beside(|world| {
            let claimed = world.core.claim_free(Stage::Closed, Owner::NOBODY).unwrap();
            world.core.cells.notify(Event::Published);
            claimed
        });
        world.block_until_signed(TWO);
        world.block(Event::Published, || (world.sign(TWO) == Found::Drained).then_some(()));
        assert_eq!(closer.join().unwrap(), Claimed::Sequence(1));
        assert_eq!(world.consume(0), Some((Stage::Signed, 1)));
        assert_eq!(world.consume(1), Some((Stage::Closed, 0)));
        "drained"
    });
}

#[test]
fn a_close_and_a_last_message_leave_no_gap_and_nothing_behind_the_end() {
    check(None, &["closed first", "message first"], || {
        let world = World::new(2);
        let closer = world.beside(|world| world.core.claim_free(Stage::Closed, Owner::NOBODY).unwrap());
        match (world.produce(ONE, 1), closer.join().unwrap()) {
            (Claimed::Sequence(0), Claimed::Sequence(1)) => "message first",
            (Claimed::Closed, Claimed::Sequence(0)) => "closed first",
            other => panic!("{other:?}"),
        }
    });
}
