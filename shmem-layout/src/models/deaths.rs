//! Deaths: what a dying member leaves is taken over once, and a live one is never robbed.

use super::*;

#[test]
fn a_producer_that_dies_loses_its_half_written_message_and_no_published_one() {
    for publishes in [false, true] {
        check(None, &["dead at the first look", "dead later"], move || {
            let world = World::new(2);
            let dying = world.beside(move |world| {
                let claimed = world.core.claim_free(Stage::Writing, ONE).unwrap();
                let Claimed::Sequence(sequence) = claimed else { panic!("{claimed:?}") };
                world.write_message(sequence, 7);
                if publishes {
                    world.core.publish(sequence);
                }
                world.die(ONE);
            });
            let first = world.core.recover(TWO).unwrap();
            let was_dead = !world.lives.0[1].load(Ordering::Acquire);
            dying.join().unwrap();
            let then = world.core.recover(TWO).unwrap();
            assert_eq!(first.voided + then.voided, u64::from(!publishes));
            let expected = if publishes { Stage::Written } else { Stage::Void };
            assert_eq!(world.stage(0), (expected, 0));
            if was_dead { "dead at the first look" } else { "dead later" }
        });
    }
}

#[test]
fn what_a_dying_signer_wrote_never_reaches_the_next_ones_answer() {
    check(Some(2), &["never claimed", "taken over", "too early"], || {
        let world = World::new(1);
        world.produce(ONE, 4);
        let dying = world.beside(|world| {
            let mut batch = Vec::new();
            world.core.claim_written(ONE, 1, &mut batch).unwrap();
            if let Some(claim) = batch.first() {
                world.write_signature(claim.sequence(), 99);
            }
            world.die(ONE);
            batch.len()
        });
        // Who recovers and who signs next are two: what the one learns of the death must reach the other.
        let helper = world.beside(|world| world.core.recover(TWO).unwrap().returned);
        let found = world.sign(TWO);
        let record = world.consume(0);
        match (found, helper.join().unwrap(), dying.join().unwrap()) {
            (Found::Nothing, ..) => "too early",
            (_, returned, claimed) => {
                assert_eq!(record, Some((Stage::Signed, 4)));
                assert_eq!(returned, claimed as u64, "signed what was not returned");
                if claimed == 0 { "never claimed" } else { "taken over" }
            }
        }
    });
}

#[test]
fn two_that_recover_at_once_count_a_death_once() {
    check(None, &["me", "other"], || {
        let world = World::new(1);
        world.produce(ONE, 4);
        let mut batch = Vec::new();
        world.core.claim_written(ONE, 1, &mut batch).unwrap();
        world.die(ONE);
        let other = world.beside(|world| world.core.recover(TWO).unwrap().returned);
        let returned = (world.core.recover(TWO).unwrap().returned, other.join().unwrap());
        assert_eq!(world.stage(0), (Stage::Written, 1));
        match returned {
            (1, 0) => "me",
            (0, 1) => "other",
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_newcomer_is_not_taken_for_the_dead_one_whose_index_it_has() {
    check(None, &["looked after", "looked before"], || {
        let world = World::new(1);
        world.die(TWO);
        let newcomer = world.beside(|world| {
            let owner = world.core.join(Role::Producer).unwrap();
            assert_eq!(owner, Owner { index: 2, generation: 1 });
            world.core.claim_free(Stage::Writing, owner).unwrap()
        });
        let has_claimed = world.stage(0).0 == Stage::Writing;
        let recovered = world.core.recover(ONE).unwrap();
        assert_eq!(recovered.voided, 0, "robbed a live member");
        assert_eq!(newcomer.join().unwrap(), Claimed::Sequence(0));
        assert_eq!(world.stage(0).0, Stage::Writing);
        if has_claimed { "looked after" } else { "looked before" }
    });
}
