//! A ring with members, and what an input has them and their enemy do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use shmem_layout::fuzzing::HeapRing;
use shmem_layout::{
    Answer, Claim, Consumer, Delivery, Message, Producer, PublishError, Ring, RingOptions, SOURCES, Signer,
    WaitStrategy, Waiting, WhenFull,
};

use crate::layout::{EVENTS, HINTS, MEMBERS, SLOTS, SOURCES as SOURCE_TABLE, State, stage, word_of};

/// Bytes of message and of signature that a slot holds: no multiples of a word, so that the last word is a part of one.
const MESSAGE_CAPACITY: usize = 21;
const SIGNATURE_CAPACITY: usize = 11;

/// The bytes of an input, taken from its front.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next word, of eight bytes; at the end of the input, of those that are left.
    pub fn word(&mut self) -> u64 {
        let (bytes, rest) = self.0.split_at(self.0.len().min(8));
        self.0 = rest;
        bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// A number that a state word, a hint or a length may be wrong by: near zero mostly, in two bytes.
    pub fn number(&mut self) -> u64 {
        let (shift, low) = (self.byte().unwrap_or(0), u64::from(self.byte().unwrap_or(0)));
        match shift {
            0..=127 => low,
            128..=191 => low.wrapping_neg(),
            _ => low.wrapping_shl(u32::from(shift) - 192),
        }
    }
}

/// A ring, and its words as they were when it was new.
pub struct Place {
    /// The ring.
    pub ring: HeapRing,
    new: Vec<u64>,
    capacity: usize,
    stride: usize,
    max_attempts: u64,
}

static PLACES: LazyLock<[Place; 4]> = LazyLock::new(|| {
    [(1, 1), (2, 15), (4, 2), (8, 3)].map(|(capacity, attempts)| Place::new(capacity, attempts))
});

impl Place {
    fn new(capacity: u32, max_attempts: u8) -> Self {
        let options = RingOptions {
            capacity,
            message_capacity: MESSAGE_CAPACITY as u32,
            signature_capacity: SIGNATURE_CAPACITY as u32,
            max_attempts,
            huge_pages: false,
        };
        let ring = HeapRing::new(&options).expect("a ring");
        let new = ring.words().iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let stride = ring.attach().expect("a new ring").spec().stride as usize;
        Self { ring, new, capacity: capacity as usize, stride, max_attempts: max_attempts.into() }
    }

    /// One of the places, as new.
    pub fn any(choice: u8) -> &'static Self {
        let place = &PLACES[usize::from(choice) % PLACES.len()];
        for (word, new) in place.ring.words().iter().zip(&place.new) {
            word.store(*new, Ordering::Relaxed);
        }
        place
    }

    fn states(&self) -> [u64; 8] {
        let state = |slot| if slot < self.capacity { word_of(self.ring.words(), self.slot(slot)) } else { 0 };
        std::array::from_fn(state)
    }

    fn slot(&self, slot: usize) -> usize {
        SLOTS + slot % self.capacity * self.stride
    }

    fn lap(&self, sequence: u64) -> u64 {
        sequence >> self.capacity.trailing_zeros()
    }

    /// Where the enemy writes, and what: any word, or one that means something with a number that might pass.
    pub fn write(&self, input: &mut Input<'_>) -> Option<(usize, u64)> {
        let (kind, which) = (input.byte()?, usize::from(input.byte()?));
        let offset = match kind % 8 {
            0..=2 => self.slot(which),
            3 => self.slot(which) + 8 * (which / 8 % 16),
            4 => HINTS[which % 3],
            5 => EVENTS[which % 3],
            6 => MEMBERS + 8 * (which % 8),
            _ if which % 2 == 0 => SOURCE_TABLE + which / 2 * 8,
            _ => (which << 8 | usize::from(input.byte()?)) * 8 % (8 * self.new.len()),
        };
        let word = match kind % 8 {
            0..=2 => {
                let low = u64::from(input.byte()?) | u64::from(input.byte()?) << 8;
                // A stage out of eight, few attempts, few owners; a lap of any size.
                input.number() << 24
                    | ((low & 7) + 1) << 20
                    | (low >> 3 & 3) << 16
                    | (low >> 5 & 7) << 8
                    | low >> 8 & 3
            }
            _ if kind & 8 == 0 => input.number(),
            _ => input.word(),
        };
        Some((offset, word))
    }
}

/// Those who are attached, and what is in their hands.
pub struct World {
    place: &'static Place,
    bystander: Option<Ring>,
    producer: Option<Producer>,
    signers: [Option<Signer>; 2],
    claims: [Vec<Claim>; 2],
    consumer: Option<(Consumer, u64)>,
    stopped: Waiting,
    position: u64,
    /// Whether somebody else writes meanwhile: then nothing is known of what a member changes.
    is_live: bool,
}

impl World {
    /// A world on `place`, with every role taken.
    pub fn new(place: &'static Place, is_live: bool) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let stopped = Waiting { stop, ..Waiting::new(WaitStrategy::Block) };
        let (signers, claims) = ([None, None], [Vec::new(), Vec::new()]);
        let bystander = place.ring.attach().ok();
        let mut world = Self {
            place,
            bystander,
            producer: None,
            signers,
            claims,
            consumer: None,
            stopped,
            position: 0,
            is_live,
        };
        world.join_or_leave(0);
        world.join_or_leave(1);
        world.join_or_leave(3);
        world
    }

    /// Does what `input` says next; `None` at its end.
    pub fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let op = input.byte()?;
        let which = usize::from(op >> 4);
        let before = self.place.states();
        match op & 15 {
            0..=3 => {
                let (offset, word) = self.place.write(input)?;
                self.place.ring.words()[offset / 8].store(word, Ordering::Relaxed);
            }
            4 => {
                self.join_or_leave(which % 4);
                self.check(&before, |_, before, after| self.is_takeover(before, after));
            }
            5 | 6 => self.publish(&before, which),
            7 | 8 => self.claim(&before, which % 2, 1 + which / 2),
            9 | 10 => self.answer(&before, which % 2, which / 2),
            11 => self.give_back(&before, which % 2),
            12 => {
                if let Some(ring) = &self.bystander {
                    // A damaged ring, at most.
                    let _ = ring.recover();
                    self.check(&before, |_, before, after| self.is_takeover(before, after));
                }
            }
            13 => self.consume(&before),
            14 if which == 0 => self.close(&before),
            14 if which == 1 => self.look(&before),
            _ => self.consume(&before),
        }
        Some(())
    }

    /// Whether a slot's change is one that a legal step made, by the rule of that step.
    fn check(&self, before: &[u64; 8], is_legal: impl Fn(usize, State, State) -> bool) {
        if self.is_live {
            return;
        }
        let after = self.place.states();
        for slot in 0..self.place.capacity {
            let (before, after) = (State::of(before[slot]), State::of(after[slot]));
            assert!(
                before == after || is_legal(slot, before, after),
                "slot {slot} went from {before:?} to {after:?}"
            );
        }
    }

    /// Whether this is what becomes of a claim whose owner is dead.
    fn is_takeover(&self, before: State, after: State) -> bool {
        let max = self.place.max_attempts;
        let expected = match (before.stage, before.attempts + 1) {
            (stage::WRITING, _) => (stage::VOID, 0),
            (stage::SIGNING, attempts) if attempts < max => (stage::WRITTEN, attempts),
            (stage::SIGNING, _) => (stage::FAILED, max),
            _ => return false,
        };
        (after.lap, after.owner, (after.stage, after.attempts)) == (before.lap, 0, expected)
    }

    fn join_or_leave(&mut self, role: usize) {
        let ring = self.place.ring.attach().ok();
        match role {
            0 if self.producer.take().is_none() => {
                self.producer = ring.and_then(|ring| ring.join_producer("source").ok());
                self.position = self.producer.as_ref().map_or(0, Producer::resume_position);
            }
            1 | 2 if self.signers[role - 1].take().is_none() => {
                self.signers[role - 1] = ring.and_then(|ring| ring.join_signer().ok());
            }
            1 | 2 => self.claims[role - 1].clear(),
            3 if self.consumer.take().is_none() => {
                self.consumer = ring.and_then(|ring| ring.join_consumer().ok()).map(|consumer| {
                    let next = consumer.first_unfreed();
                    (consumer, next)
                });
            }
            _ => {}
        }
    }

    fn publish(&mut self, before: &[u64; 8], len: usize) {
        let Some(producer) = &mut self.producer else { return };
        let bytes = [0x5A; MESSAGE_CAPACITY + 1];
        let message = Message {
            position: self.position,
            method: 1,
            intended_ns: 0,
            now_ns: 0,
            bytes: &bytes[..3 * len % 23],
        };
        let published = producer.publish(&message, WhenFull::Fail, &self.stopped);
        producer.flush();
        match published {
            Ok(sequence) => {
                self.position = self.position.wrapping_add(1);
                let (lap, own) = (self.place.lap(sequence), sequence as usize % self.place.capacity);
                self.check(before, |slot, before, after| {
                    slot == own
                        && (before.stage, before.lap) == (stage::FREE, lap)
                        && after == State { lap, stage: stage::WRITTEN, attempts: 0, owner: 0 }
                });
            }
            Err(PublishError::TooLong { len, .. }) => assert!(len > MESSAGE_CAPACITY),
            Err(_) => self.check(before, |_, _, _| false),
        }
    }

    fn claim(&mut self, before: &[u64; 8], which: usize, max: usize) {
        let (Some(signer), claims) = (&mut self.signers[which], &mut self.claims[which]) else { return };
        let had = claims.len();
        // It may claim some and meet a damaged slot then.
        let _ = signer.claim(max, claims, &self.stopped);
        assert!(claims.len() - had <= max, "more than were asked for");
        let mut message = [0; MESSAGE_CAPACITY];
        for claim in &claims[had..] {
            let len = signer.request(claim).message_len;
            assert!(len <= MESSAGE_CAPACITY, "a message of {len} bytes");
            signer.copy_message(claim, &mut message[..len]);
        }
        let new = &self.claims[which][had..];
        self.check(before, |slot, before, after| {
            let claim = new.iter().find(|claim| claim.sequence() as usize % self.place.capacity == slot);
            claim.is_some_and(|claim| claim.sequence() >> self.place.capacity.trailing_zeros() == before.lap)
                && before.stage == stage::WRITTEN
                && (after.stage, after.lap, after.attempts) == (stage::SIGNING, before.lap, before.attempts)
        });
    }

    fn answer(&mut self, before: &[u64; 8], which: usize, status: usize) {
        let Some(signer) = &mut self.signers[which] else { return };
        let Some(claim) = self.claims[which].pop() else { return };
        let (sequence, attempts) = (claim.sequence(), u64::from(claim.attempts()));
        let signature = [0xA5; SIGNATURE_CAPACITY];
        let answer = Answer {
            status: status as i32,
            signature: if status == 0 { &signature } else { &[] },
            claimed_ns: 1,
            signed_ns: 2,
            module_id: 3,
            generation: 4,
            runtime: 5,
        };
        signer.answer(claim, &answer);
        signer.flush();
        let expected = if status == 0 { stage::SIGNED } else { stage::FAILED };
        self.check_own(before, sequence, expected, attempts);
    }

    fn give_back(&mut self, before: &[u64; 8], which: usize) {
        let Some(signer) = &mut self.signers[which] else { return };
        let Some(claim) = self.claims[which].pop() else { return };
        let (sequence, attempts) = (claim.sequence(), u64::from(claim.attempts()));
        signer.give_back(claim);
        self.check_own(before, sequence, stage::WRITTEN, attempts);
    }

    /// Who holds a claim moves that slot, whatever an enemy wrote there meanwhile, and no other.
    fn check_own(&self, before: &[u64; 8], sequence: u64, expected: u64, attempts: u64) {
        let (lap, own) = (self.place.lap(sequence), sequence as usize % self.place.capacity);
        self.check(before, |slot, _, after| {
            slot == own && (after.stage, after.lap, after.attempts) == (expected, lap, attempts)
        });
    }

    fn consume(&mut self, before: &[u64; 8]) {
        let Some((consumer, next)) = &mut self.consumer else { return };
        let (mut message, mut signature) = (Vec::new(), Vec::new());
        let sequence = *next;
        let freed = match consumer.try_read(sequence, &mut message, &mut signature) {
            Ok(Some(Delivery::Record(record))) => {
                assert_eq!(record.sequence, sequence);
                assert!(message.len() <= MESSAGE_CAPACITY && signature.len() <= SIGNATURE_CAPACITY);
                assert!(usize::from(record.source) < SOURCES);
                let _ = consumer.source_name(record.source);
                consumer.answer_for(sequence, record.source, record.position).is_ok()
            }
            Ok(Some(Delivery::Void)) => consumer.free(sequence).is_ok(),
            Ok(Some(Delivery::Closed) | None) | Err(_) => false,
        };
        if freed {
            *next += 1;
            consumer.flush();
        }
        let (lap, own) = (self.place.lap(sequence), sequence as usize % self.place.capacity);
        self.check(before, |slot, before, after| {
            freed
                && slot == own
                && before.lap == lap
                && matches!(before.stage, stage::SIGNED | stage::FAILED | stage::VOID)
                && after == State { lap: lap + 1, stage: stage::FREE, attempts: 0, owner: 0 }
        });
    }

    fn close(&self, before: &[u64; 8]) {
        let Some(ring) = &self.bystander else { return };
        // A ring that is full, or damaged.
        let _ = ring.close(&self.stopped);
        self.check(before, |_, before, after| {
            before.stage == stage::FREE
                && after == State { lap: before.lap, stage: stage::CLOSED, attempts: 0, owner: 0 }
        });
    }

    fn look(&self, before: &[u64; 8]) {
        let Some(ring) = &self.bystander else { return };
        if !self.is_live {
            // The rest of a snapshot reads what nobody changes meanwhile, and asks for 255 locks.
            let held = ring.held().expect("locks on the heap don't fail");
            assert!(held.len() <= self.place.capacity);
            return self.check(before, |_, _, _| false);
        }
        let snapshot = ring.snapshot().expect("locks on the heap don't fail");
        let seen = snapshot.slots.iter().sum::<u64>() + snapshot.damaged.len() as u64;
        assert_eq!(seen, self.place.capacity as u64);
        self.check(before, |_, _, _| false);
    }
}
