//! A mapped file for what two processes of a contender say to each other beside what is measured.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::Result;
use crate::clock::ticks_before;

/// No two words of which one is written and the other polled are nearer than this.
pub const LINE: usize = 128;

/// So many ticks are some ten seconds: what polls gives up then.
const GIVE_UP_TICKS: u64 = 30_000_000_000;

/// Mapped, zeroed, all of it present.
pub struct Shared {
    map: MmapRaw,
}

impl Shared {
    /// Maps the file at `path`, which is made by whoever comes first.
    pub fn open(path: &Path, len: usize) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len as u64)?;
        Ok(Self { map: MmapOptions::new().len(len).populate().map_raw(&file)? })
    }

    /// The bytes from `offset` on.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.map.len(), "within the mapping");
        // SAFETY: it is within the mapping.
        unsafe { self.map.as_mut_ptr().add(offset) }
    }

    /// The word at `offset`.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset + 8 <= self.map.len() && offset.is_multiple_of(8), "a word of the mapping");
        // SAFETY: an aligned word within the mapping, which lives as long as `self`; words are accessed in no other way.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }
}

/// Polls, with the processor's hint, until `attempt` gives a value; an error when nothing has come for long.
#[inline(always)]
pub fn poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    let mut limit = 0;
    loop {
        for _ in 0..1024 {
            if let Some(value) = attempt() {
                return Ok(value);
            }
            std::hint::spin_loop();
        }
        limit = gives_up(limit)?;
    }
}

/// The same, giving the core away in between once it has polled for some 2 µs.
#[inline(always)]
pub fn poll_then_yield<T>(mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    for _ in 0..64 {
        if let Some(value) = attempt() {
            return Ok(value);
        }
        std::hint::spin_loop();
    }
    let mut limit = 0;
    loop {
        for _ in 0..64 {
            if let Some(value) = attempt() {
                return Ok(value);
            }
            std::thread::yield_now();
        }
        limit = gives_up(limit)?;
    }
}

#[cold]
fn gives_up(limit: u64) -> Result<u64> {
    let now = ticks_before();
    match limit {
        0 => Ok(now + GIVE_UP_TICKS),
        limit if now > limit => Err("nothing has come from the other process for some ten seconds".into()),
        limit => Ok(limit),
    }
}

/// How far the receiver has got, in a line of its own.
pub struct Acks(Shared);

impl Acks {
    /// In the file `acks` of `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Shared::open(&folder.join("acks"), 4096)?))
    }

    /// Records that the receiver is done with, of all samples together.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.word(0).load(Ordering::Acquire)
    }

    /// By the receiver alone.
    #[inline]
    pub fn set(&self, records: u64) {
        self.0.word(0).store(records, Ordering::Release);
    }
}
