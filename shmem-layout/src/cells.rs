//! The seam between the protocol and memory: the ring's words as atomics.
//!
//! In production the words are the mapped bytes (`cells/bytes.rs`); under `--cfg loom` they are loom's atomics and
//! the futex is loom's condition variable (`cells/model.rs`). The protocol above sees no difference.
//!
//! Orderings go by name: `release("written: publish")` is one end of the pair *written*, which `LAYOUT.md` explains.
//! In a model any one of them can be weakened, to see that some model notices (`./test.sh weaken`).

#[cfg(not(loom))]
mod bytes;
#[cfg(loom)]
mod model;

#[cfg(not(loom))]
pub(crate) use bytes::{Memory, Words, acquire, acquire_fence, full_fence, release, release_fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::Ordering;
#[cfg(loom)]
pub(crate) use model::{
    AtomicU32, AtomicU64, Memory, Words, acquire, acquire_fence, full_fence, release, release_fence,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::layout::{Geometry, MAGIC, control, event, header, slot, source};

/// What a member can sleep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message was published: signers wait for it.
    Published,
    /// A record was answered (signed, failed, void or closed): the consumer waits for it.
    Signed,
    /// A slot was freed: producers wait for it.
    Freed,
}

impl Event {
    #[cfg(loom)]
    const ALL: [Event; 3] = [Event::Published, Event::Signed, Event::Freed];

    fn offset(self) -> usize {
        match self {
            Event::Published => control::PUBLISHED,
            Event::Signed => control::SIGNED,
            Event::Freed => control::FREED,
        }
    }
}

/// A position that everybody may look at, never ahead of the first slot that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// The first sequence that may be unclaimed by producers.
    Head,
    /// The first sequence that may wait for a signer.
    Sign,
    /// The first sequence that the consumer has not freed.
    Tail,
}

impl Hint {
    #[cfg(loom)]
    const ALL: [Hint; 3] = [Hint::Head, Hint::Sign, Hint::Tail];

    fn offset(self) -> usize {
        match self {
            Hint::Head => control::HEAD,
            Hint::Sign => control::SIGN,
            Hint::Tail => control::TAIL,
        }
    }
}

/// The ring's words, by name.
pub(crate) struct Cells {
    pub geometry: Geometry,
    pub memory: Memory,
}

impl Cells {
    /// Makes formatted memory a ring to others.
    pub fn set_magic(&self) {
        self.memory.u64_at(header::MAGIC).store(MAGIC, release("formatted: format"));
    }

    pub fn hint(&self, hint: Hint) -> &AtomicU64 {
        self.memory.u64_at(hint.offset())
    }

    pub fn event_counter(&self, event: Event) -> &AtomicU32 {
        self.memory.u32_at(event.offset() + event::COUNTER)
    }

    pub fn event_waiters(&self, event: Event) -> &AtomicU32 {
        self.memory.u32_at(event.offset() + event::WAITERS)
    }

    pub fn member(&self, index: usize) -> &AtomicU64 {
        self.memory.u64_at(control::MEMBER_TABLE + index * control::MEMBER_LEN)
    }

    pub fn source_id(&self, index: usize) -> &AtomicU64 {
        self.memory.u64_at(source_offset(index) + source::ID)
    }

    pub fn source_next(&self, index: usize) -> &AtomicU64 {
        self.memory.u64_at(source_offset(index) + source::NEXT)
    }

    pub fn source_name(&self, index: usize, word: usize) -> &AtomicU64 {
        self.memory.u64_at(source_offset(index) + source::NAME + 8 * word)
    }

    pub fn state(&self, slot: u64) -> &AtomicU64 {
        self.memory.u64_at(self.geometry.slot_offset(slot) + slot::STATE)
    }

    /// The slot that `sequence` falls into.
    #[inline]
    pub fn slot(&self, sequence: u64) -> Slot<'_> {
        let geometry = &self.geometry;
        let start = geometry.slot_offset(geometry.slot_of(sequence));
        Slot { words: self.memory.words(start, geometry.stride), message: geometry.message_offset() }
    }
}

/// The words of one slot, by byte from its start, with one check of bounds for all of them.
pub(crate) struct Slot<'a> {
    words: Words<'a>,
    message: usize,
}

impl<'a> Slot<'a> {
    #[inline]
    pub fn get(&self, offset: usize) -> u64 {
        self.words.at(offset).load(Ordering::Relaxed)
    }

    #[inline]
    pub fn put(&self, offset: usize, word: u64) {
        self.words.at(offset).store(word, Ordering::Relaxed);
    }

    /// Copies `bytes` to where the message is, word by word; the last word is padded with zeros.
    ///
    /// Relaxed: the state word's Release, which follows, is what publishes them.
    #[inline]
    pub fn store_message(&self, bytes: &[u8]) {
        self.store_bytes(self.message, bytes);
    }

    /// As [`Slot::store_message`], for the signature.
    #[inline]
    pub fn store_signature(&self, bytes: &[u8]) {
        self.store_bytes(slot::SIGNATURE, bytes);
    }

    /// Copies the message into `bytes`: the one time that it is read from shared memory.
    ///
    /// Relaxed: the state word's Acquire, which came before, is what makes them the published ones.
    #[inline]
    pub fn load_message(&self, bytes: &mut [u8]) {
        self.load_bytes(self.message, bytes);
    }

    /// As [`Slot::load_message`], for the signature.
    #[inline]
    pub fn load_signature(&self, bytes: &mut [u8]) {
        self.load_bytes(slot::SIGNATURE, bytes);
    }

    #[inline]
    fn store_bytes(&self, offset: usize, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        let words = self.words.payload(offset, bytes.len().div_ceil(8));
        for (word, chunk) in words.clone().zip(whole) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        if let (Some(word), false) = (words.last(), rest.is_empty()) {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
    }

    #[inline]
    fn load_bytes(&self, offset: usize, bytes: &mut [u8]) {
        let words = self.words.payload(offset, bytes.len().div_ceil(8));
        let (whole, rest) = bytes.as_chunks_mut::<8>();
        for (word, chunk) in words.clone().zip(whole) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if let (Some(word), false) = (words.last(), rest.is_empty()) {
            let last = word.load(Ordering::Relaxed).to_le_bytes();
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }

    /// Where the message is.
    #[cfg(not(loom))]
    pub fn message(&self) -> *const u8 {
        std::ptr::from_ref(self.words.at(self.message)).cast()
    }

    /// Asks for the message's first lines, so that they come while a compare-and-swap waits for the state's. Nothing is read.
    #[inline]
    pub fn fetch_message(&self) {
        // To a model no line is near or far.
        #[cfg(not(loom))]
        self.words.fetch(self.message, (self.get(slot::MESSAGE_LEN) as usize).min(FETCH_MAX));
    }
}

/// Bytes of message that are asked for ahead: the processor itself asks for what follows them.
#[cfg(not(loom))]
const FETCH_MAX: usize = 256;

/// Whether `memory` holds a ring: all of its header and its slots, if so.
pub(crate) fn has_magic(memory: &Memory) -> bool {
    memory.u64_at(header::MAGIC).load(acquire("formatted: attach")) == MAGIC
}

fn source_offset(index: usize) -> usize {
    control::SOURCE_TABLE + index * source::LEN
}
