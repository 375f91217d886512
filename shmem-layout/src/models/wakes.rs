//! Sleeping: a wake is never lost. Modelled for `block`: `spin` and `yield` never sleep, and `adaptive` sleeps by the same code.

use super::*;

#[test]
fn no_wake_is_lost_between_a_producer_and_two_sleeping_signers() {
    check(Some(2), &["both signed"], || {
        let world = World::new(2);
        let signers = [ONE, TWO].map(|owner| world.beside(move |world| world.block_until_signed(owner)));
        world.produce(ONE, 1);
        world.produce(ONE, 2);
        for signer in signers {
            signer.join().unwrap();
        }
        "both signed"
    });
}

#[test]
fn no_wake_is_lost_between_two_producers_and_a_sleeping_signer() {
    check(Some(2), &["both signed"], || {
        let world = World::new(2);
        let producers = [ONE, TWO].map(|owner| world.beside(move |world| world.produce(owner, 1)));
        world.block_until_signed(TWO);
        world.block_until_signed(TWO);
        for producer in producers {
            producer.join().unwrap();
        }
        "both signed"
    });
}

#[test]
fn no_wake_is_lost_between_the_consumer_and_a_producer_of_a_full_ring() {
    check(None, &["next lap"], || {
        let world = World::new(1);
        world.produce(ONE, 1);
        world.sign(TWO);
        let producer = world.beside(|world| {
            world.block(Event::Freed, || (world.produce(ONE, 2) != Claimed::Full).then_some(()));
        });
        assert_eq!(world.consume(0), Some((Stage::Signed, 1)));
        producer.join().unwrap();
        "next lap"
    });
}
