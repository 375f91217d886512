//! Model memory: the words that the protocol uses, as loom's atomics, and a futex of loom's parts.
//!
//! loom 0.7 looks for orders worth trying at the *last* access of an atomic. A load that another thread's load
//! follows is forgotten, and with it the order in which that thread's store comes first: of "look, then swap", which
//! all of this protocol is, it would try a part only. So each word has a turnstile, an atomic that every access swaps
//! first: any two of its accesses depend on each other, and being relaxed it orders nothing else.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{self, Ordering};
use loom::sync::{Condvar, Mutex};

use super::{Event, Hint};
use crate::layout::{Geometry, control, event, header, slot, source};

/// The one end of a pair that is left out, for a model to notice.
static WEAKENED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("RINGSEAL_WEAKEN").ok());

fn is_weakened(label: &str) -> bool {
    WEAKENED.as_deref() == Some(label)
}

/// A store's end of the pair that `label` names.
pub(crate) fn release(label: &'static str) -> Ordering {
    if is_weakened(label) { Ordering::Relaxed } else { Ordering::Release }
}

/// A load's end of the pair that `label` names.
pub(crate) fn acquire(label: &'static str) -> Ordering {
    if is_weakened(label) { Ordering::Relaxed } else { Ordering::Acquire }
}

/// As [`release`], for the stores that follow.
pub(crate) fn release_fence(label: &'static str) {
    if !is_weakened(label) {
        atomic::fence(Ordering::Release);
    }
}

/// As [`acquire`], for the loads before.
pub(crate) fn acquire_fence(label: &'static str) {
    if !is_weakened(label) {
        atomic::fence(Ordering::Acquire);
    }
}

/// Keeps the loads that follow behind the stores before.
pub(crate) fn full_fence(label: &'static str) {
    if !is_weakened(label) {
        atomic::fence(Ordering::SeqCst);
    }
}

macro_rules! word {
    ($name:ident, $value:ty) => {
        /// An atomic behind a turnstile.
        pub(crate) struct $name {
            turnstile: atomic::AtomicBool,
            word: atomic::$name,
        }

        impl $name {
            fn new(value: $value) -> Self {
                Self { turnstile: atomic::AtomicBool::new(false), word: atomic::$name::new(value) }
            }

            fn enter(&self) -> &atomic::$name {
                self.turnstile.swap(false, Ordering::Relaxed);
                &self.word
            }

            pub fn load(&self, ordering: Ordering) -> $value {
                self.enter().load(ordering)
            }

            pub fn store(&self, value: $value, ordering: Ordering) {
                self.enter().store(value, ordering);
            }

            pub fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.enter().compare_exchange(from, to, success, failure)
            }

            pub fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                self.enter().fetch_add(value, ordering)
            }

            pub fn fetch_min(&self, value: $value, ordering: Ordering) -> $value {
                self.enter().fetch_min(value, ordering)
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);

/// A word of message or signature: a plain one to loom, which reports any two accesses that no ordering of the state
/// words keeps apart, one of them a store. Stricter than production, where a dishonest peer is to be lived with.
pub(crate) struct PayloadWord(UnsafeCell<u64>);

// SAFETY: loom checks every access, and there is one thread at a time.
unsafe impl Send for PayloadWord {}
// SAFETY: as above.
unsafe impl Sync for PayloadWord {}

impl PayloadWord {
    pub fn load(&self, _: Ordering) -> u64 {
        // SAFETY: loom fails the model if a store may happen at the same time.
        self.0.with(|word| unsafe { *word })
    }

    pub fn store(&self, value: u64, _: Ordering) {
        // SAFETY: loom fails the model if any access may happen at the same time.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}

/// Only the words that the models touch: loom pays for each.
pub(crate) struct Memory {
    words: HashMap<usize, AtomicU64>,
    halves: HashMap<usize, AtomicU32>,
    payload: HashMap<usize, PayloadWord>,
    sleepers: HashMap<usize, (Mutex<()>, Condvar)>,
}

impl Memory {
    /// The words of a ring whose messages and signatures have one word each.
    pub fn new(geometry: &Geometry) -> Self {
        let slots = (0..geometry.capacity).map(|slot| geometry.slot_offset(slot));
        let members = (0..4).map(|index| control::MEMBER_TABLE + index * control::MEMBER_LEN);
        let sources = (0..2).map(|index| control::SOURCE_TABLE + index * source::LEN + source::NEXT);
        let origins = slots.clone().flat_map(|slot| [slot + slot::POSITION, slot + slot::SOURCE_AND_METHOD]);
        let words = slots.clone().chain(Hint::ALL.map(Hint::offset)).chain(members);
        let words = words.chain(sources).chain(origins).chain([header::MAGIC]);
        let events = Event::ALL.map(Event::offset);
        let halves = events.iter().flat_map(|line| [line + event::COUNTER, line + event::WAITERS]);
        let payload = slots.flat_map(|slot| [slot + slot::SIGNATURE, slot + geometry.message_offset()]);
        Self {
            words: words.map(|offset| (offset, AtomicU64::new(0))).collect(),
            halves: halves.map(|offset| (offset, AtomicU32::new(0))).collect(),
            payload: payload.map(|offset| (offset, PayloadWord(UnsafeCell::new(0)))).collect(),
            sleepers: events.iter().map(|line| (*line, (Mutex::new(()), Condvar::new()))).collect(),
        }
    }

    pub fn u64_at(&self, offset: usize) -> &AtomicU64 {
        self.words.get(&offset).unwrap_or_else(|| panic!("the model has no word at {offset}"))
    }

    pub fn u32_at(&self, offset: usize) -> &AtomicU32 {
        self.halves.get(&offset).unwrap_or_else(|| panic!("the model has no half word at {offset}"))
    }

    pub fn words(&self, offset: usize, _len: usize) -> Words<'_> {
        Words { memory: self, start: offset }
    }

    /// Compare and sleep are one step under the lock, as in the kernel. No time limit: a lost wake is a deadlock,
    /// which loom reports.
    pub fn sleep(&self, event: Event, expected: u32, _limit: Duration) {
        let (lock, condvar) = &self.sleepers[&event.offset()];
        let guard = lock.lock().unwrap();
        // The kernel's compare reads the newest value: the bucket's lock orders it with the wake.
        if self.u32_at(event.offset()).fetch_add(0, Ordering::Relaxed) == expected {
            drop(condvar.wait(guard).unwrap());
        }
    }

    pub fn wake(&self, event: Event) {
        let (lock, condvar) = &self.sleepers[&event.offset()];
        let _guard = lock.lock().unwrap();
        condvar.notify_all();
    }
}

/// Words that follow each other, by byte from the first.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    memory: &'a Memory,
    start: usize,
}

impl<'a> Words<'a> {
    pub fn at(self, offset: usize) -> &'a AtomicU64 {
        self.memory.u64_at(self.start + offset)
    }

    pub fn payload(self, offset: usize, count: usize) -> std::vec::IntoIter<&'a PayloadWord> {
        let at = self.start + offset;
        let words: Option<Vec<_>> = (0..count).map(|i| self.memory.payload.get(&(at + 8 * i))).collect();
        words.unwrap_or_else(|| panic!("the model has no {count} words at {at}")).into_iter()
    }
}
