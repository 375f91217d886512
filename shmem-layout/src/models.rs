//! Loom models of the protocol: every interleaving of a few steps of a few members, and every value that the
//! orderings allow each of them to see. Run with `./test.sh loom`.
//!
//! Payload words are plain memory to loom, so that a missing ordering is a reported race even where no assertion
//! would notice; sleeps have no time limit, so that a lost wake is a reported deadlock.
#![allow(clippy::unwrap_used, reason = "a model that panics has failed, which is the point")]

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use loom::model::Builder;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::cells::{Cells, Event, Memory};
use crate::layout::{Geometry, slot};
use crate::locks::{Locks, MEMBER_BYTE};
use crate::membership::Role;
use crate::protocol::{Claim, Claimed, Core, Found};
use crate::state::{Owner, Stage, State};
use crate::wait::WaitStrategy;

/// Locks of members 0 to 3: held while their holder lives.
struct Lives([AtomicBool; 4]);

impl Locks for Arc<Lives> {
    fn take(&self, byte: u64) -> io::Result<bool> {
        let life = &self.0[(byte - MEMBER_BYTE) as usize];
        Ok(life.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    fn is_held_by_other(&self, byte: u64) -> io::Result<bool> {
        Ok(self.0[(byte - MEMBER_BYTE) as usize].load(Ordering::Acquire))
    }
}

#[derive(Clone)]
struct World {
    core: Arc<Core>,
    lives: Arc<Lives>,
}

const ONE: Owner = Owner { index: 1, generation: 0 };
const TWO: Owner = Owner { index: 2, generation: 0 };

impl World {
    /// A ring of `capacity` slots with one word of message and of signature each; members 1 and 2 live.
    fn new(capacity: u64) -> Self {
        let geometry = Geometry { capacity, stride: 256, message_capacity: 8, signature_capacity: 8 };
        let cells = Cells { geometry, memory: Memory::new(&geometry) };
        for slot in 0..capacity {
            cells.state(slot).store(State::free(0).0, Ordering::Relaxed);
        }
        let lives = Arc::new(Lives([false, true, true, false].map(AtomicBool::new)));
        let core = Core { cells, locks: Box::new(Arc::clone(&lives)), max_attempts: 3 };
        Self { core: Arc::new(core), lives }
    }

    /// Another member, at work at the same time.
    fn beside<T: 'static>(&self, work: impl FnOnce(&World) -> T + 'static) -> thread::JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || work(&world))
    }

    /// What a kill does: the lock is let go after everything that the member stored.
    fn die(&self, member: Owner) {
        self.lives.0[usize::from(member.index)].store(false, Ordering::Release);
    }

    fn write_message(&self, sequence: u64, value: u64) {
        let cells = &self.core.cells;
        let slot = cells.geometry.slot_of(sequence);
        cells.store_bytes(slot, cells.geometry.message_offset(), &value.to_le_bytes());
    }

    fn message(&self, sequence: u64) -> u64 {
        let cells = &self.core.cells;
        let mut bytes = [0; 8];
        cells.load_bytes(cells.geometry.slot_of(sequence), cells.geometry.message_offset(), &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn write_signature(&self, sequence: u64, value: u64) {
        let cells = &self.core.cells;
        cells.store_bytes(cells.geometry.slot_of(sequence), slot::SIGNATURE, &value.to_le_bytes());
    }

    fn signature(&self, sequence: u64) -> u64 {
        let cells = &self.core.cells;
        let mut bytes = [0; 8];
        cells.load_bytes(cells.geometry.slot_of(sequence), slot::SIGNATURE, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Publishes `value` if there is room.
    fn produce(&self, owner: Owner, value: u64) -> Claimed {
        let claimed = self.core.claim_free(Stage::Writing, owner).unwrap();
        if let Claimed::Sequence(sequence) = claimed {
            self.write_message(sequence, value);
            self.core.publish(sequence);
            self.core.cells.notify(Event::Published);
        }
        claimed
    }

    fn answer(&self, owner: Owner, claim: Claim) {
        let sequence = claim.sequence();
        self.write_signature(sequence, self.message(sequence) + 1);
        self.core.answer(claim, Stage::Signed, owner);
        self.core.cells.notify(Event::Signed);
    }

    /// Signs one record if one waits.
    fn sign(&self, owner: Owner) -> Found {
        let mut batch = Vec::new();
        let found = self.core.claim_written(owner, 1, &mut batch).unwrap();
        for claim in batch {
            self.answer(owner, claim);
        }
        found
    }

    /// Reads and frees `sequence` if it is answered.
    fn consume(&self, sequence: u64) -> Option<(Stage, u64)> {
        let (stage, _) = self.core.answered(sequence).unwrap()?;
        let message = if stage == Stage::Signed {
            assert_eq!(self.signature(sequence), self.message(sequence) + 1, "another message's signature");
            self.message(sequence)
        } else {
            0
        };
        if stage != Stage::Closed {
            self.core.free(sequence).unwrap();
            self.core.cells.notify(Event::Freed);
        }
        Some((stage, message))
    }

    /// Waits without a time limit until `attempt` gives something: asleep, or not at all.
    fn block<T>(&self, event: Event, attempt: impl FnMut() -> Option<T>) -> T {
        self.core.cells.wait(event, WaitStrategy::Block, attempt, || None)
    }

    /// Signs one record, asleep until there is one.
    fn block_until_signed(&self, owner: Owner) {
        self.block(Event::Published, || (self.sign(owner) == Found::Claims).then_some(()));
    }

    fn stage(&self, sequence: u64) -> (Stage, u8) {
        let state =
            State(self.core.cells.state(self.core.cells.geometry.slot_of(sequence)).load(Ordering::Relaxed));
        (state.stage().unwrap(), state.attempts())
    }
}

/// Runs `model` for every interleaving, or for those with at most `preemptions` of them. The model names what came of
/// each; a model that never reaches one of `outcomes` proves nothing about it, and fails.
fn check(
    preemptions: Option<usize>,
    outcomes: &[&'static str],
    model: impl Fn() -> &'static str + Sync + Send + 'static,
) {
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let note = Arc::clone(&reached);
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        let outcome = model();
        note.lock().unwrap().insert(outcome);
    });
    let reached: Vec<_> = reached.lock().unwrap().iter().copied().collect();
    assert_eq!(reached, outcomes);
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

#[test]
fn a_close_comes_after_all_that_was_published_and_a_signer_leaves_when_that_is_signed() {
    check(Some(3), &["drained"], || {
        let world = World::new(2);
        let signer = world.beside(|world| {
            let found = || Some(world.sign(TWO)).filter(|found| *found != Found::Nothing);
            while world.block(Event::Published, found) != Found::Drained {}
        });
        world.produce(ONE, 1);
        assert_eq!(world.core.claim_free(Stage::Closed, Owner::NOBODY).unwrap(), Claimed::Sequence(1));
        world.core.cells.notify(Event::Published);
        signer.join().unwrap();
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
