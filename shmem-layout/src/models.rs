//! Loom models of the protocol: every interleaving of a few steps of a few members, and every value that the
//! orderings allow each of them to see. Run with `./test.sh loom`.
//!
//! Payload words are plain memory to loom, so that a missing ordering is a reported race even where no assertion
//! would notice; sleeps have no time limit, so that a lost wake is a reported deadlock.
#![allow(clippy::unwrap_used, reason = "a model that panics has failed, which is the point")]

mod deaths;
mod stream;
mod wakes;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use loom::model::Builder;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::cells::{Cells, Event, Memory, has_magic};
use crate::layout::{Geometry, slot};
use crate::locks::{Locks, MEMBER_BYTE};
use crate::membership::Role;
use crate::protocol::{Claim, Claimed, Core, Found};
use crate::recovery::RecoveredCounts;
use crate::state::{Owner, Stage, State};
use crate::wait::{Habit, WaitStrategy};

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
        let core = Core {
            cells,
            locks: Box::new(Arc::clone(&lives)),
            max_attempts: 3,
            recovered: RecoveredCounts::default(),
        };
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
        self.core.cells.slot(sequence).store_message(&value.to_le_bytes());
    }

    fn message(&self, sequence: u64) -> u64 {
        let mut bytes = [0; 8];
        self.core.cells.slot(sequence).load_message(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn write_signature(&self, sequence: u64, value: u64) {
        self.core.cells.slot(sequence).store_signature(&value.to_le_bytes());
    }

    fn signature(&self, sequence: u64) -> u64 {
        let mut bytes = [0; 8];
        self.core.cells.slot(sequence).load_signature(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Begins to write the record at `position` of `source`, for which there is room.
    fn claim_for(&self, owner: Owner, source: u16, position: u64) {
        let claimed = self.core.claim_free(Stage::Writing, owner).unwrap();
        let Claimed::Sequence(sequence) = claimed else { panic!("{claimed:?}") };
        let slot = self.core.cells.slot(sequence);
        slot.put(slot::POSITION, position);
        slot.put(slot::SOURCE_AND_METHOD, source.into());
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
        self.core.cells.wait(event, WaitStrategy::Block, &mut Habit::default(), attempt, || None)
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
