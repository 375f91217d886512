//! Production memory: the mapped bytes themselves.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use rustix::thread::futex;

use super::Event;

/// A store's end of the pair that `label` names.
#[inline(always)]
pub(crate) const fn release(_label: &'static str) -> Ordering {
    Ordering::Release
}

/// A load's end of the pair that `label` names.
#[inline(always)]
pub(crate) const fn acquire(_label: &'static str) -> Ordering {
    Ordering::Acquire
}

/// As [`release`], for the stores that follow.
#[inline(always)]
pub(crate) fn release_fence(_label: &'static str) {
    fence(Ordering::Release);
}

/// As [`acquire`], for the loads before.
#[inline(always)]
pub(crate) fn acquire_fence(_label: &'static str) {
    fence(Ordering::Acquire);
}

/// Keeps the loads that follow behind the stores before.
#[inline(always)]
pub(crate) fn full_fence(_label: &'static str) {
    fence(Ordering::SeqCst);
}

/// A word of message or signature: an atomic, for a peer may write it at any time, and read and written relaxed.
pub(crate) type PayloadWord = AtomicU64;

/// `len` mapped bytes at `base`, seen as atomics.
pub(crate) struct Memory {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: everything behind `base` is reached through atomics only (see `u64_at`), which may be shared.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    /// `base` is aligned to 8 and stays mapped, readable and writable for `len` bytes as long as the value lives,
    /// and this process reaches those bytes through nothing but atomics meanwhile.
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// # Panics
    /// If the word is not inside the ring: the geometry is wrong, and it is ours.
    pub fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len, "no word at {offset}");
        // SAFETY: in bounds and aligned (checked above, with `base` aligned by contract), mapped for as long as
        // `self` is borrowed, and only ever reached as an atomic.
        unsafe { &*self.base.as_ptr().add(offset).cast() }
    }

    /// # Panics
    /// As [`Memory::u64_at`].
    pub fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "no word at {offset}");
        // SAFETY: as in `u64_at`.
        unsafe { &*self.base.as_ptr().add(offset).cast() }
    }

    /// The words of the `len` bytes from `offset` on, with one check for all.
    ///
    /// # Panics
    /// As [`Memory::u64_at`].
    #[inline]
    pub fn words(&self, offset: usize, len: usize) -> Words<'_> {
        assert!(offset.is_multiple_of(8) && offset + len <= self.len, "no {len} bytes at {offset}");
        // SAFETY: as in `u64_at`, for all of them.
        Words(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset).cast(), len / 8) })
    }

    /// Sleeps until somebody wakes `event`, its counter is no longer `expected`, or `limit` has passed.
    ///
    /// The futex is a shared one: the word is the same for every process that maps the ring.
    pub fn sleep(&self, event: Event, expected: u32, limit: Duration) {
        if cfg!(feature = "fuzzing") {
            return; // Nobody would come to wake.
        }
        let word = self.u32_at(event.offset());
        let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        // Woken, timed out, interrupted or too late to sleep: the caller looks again in every case.
        let _: Result<(), io::Error> =
            futex::wait(word, futex::Flags::empty(), expected, Some(&limit)).map_err(Into::into);
    }

    /// Wakes whoever sleeps on `event`.
    pub fn wake(&self, event: Event) {
        // Fails for an address that is no futex only, which a mapped word never is.
        let _ = futex::wake(self.u32_at(event.offset()), futex::Flags::empty(), i32::MAX as u32);
    }
}

/// Words that follow each other, by byte from the first.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a [AtomicU64]);

impl<'a> Words<'a> {
    /// # Panics
    /// If it is none of them.
    #[inline]
    pub fn at(self, offset: usize) -> &'a AtomicU64 {
        &self.0[offset / 8]
    }

    /// `count` words of payload from `offset` on.
    ///
    /// # Panics
    /// As [`Words::at`].
    #[inline]
    pub fn payload(self, offset: usize, count: usize) -> std::slice::Iter<'a, PayloadWord> {
        self.0[offset / 8..][..count].iter()
    }

    /// Has the lines of `len` bytes from `offset` on brought near.
    #[inline]
    pub fn fetch(self, offset: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        for word in self.0[offset / 8..].iter().step_by(8).take(len.div_ceil(64)) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: an address is all it takes, of which nothing is read.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) };
        }
    }
}
