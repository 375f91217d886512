//! A ring as a hostile peer has it: its bytes, mapped without any of the protocol.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64};

use cli::Failure;
use memmap2::{MmapOptions, MmapRaw};
use shmem_layout::{RingPath, RingSpec, attach};

/// The bytes of a ring's file, and where things are in it. `LAYOUT.md` says so to everybody.
pub struct RawRing {
    map: MmapRaw,
    spec: RingSpec,
}

impl RawRing {
    /// Where the three hints are.
    pub const HINTS: [usize; 3] = [512, 640, 768];
    /// Where the three events are: a counter and a flag each.
    pub const EVENTS: [usize; 3] = [896, 1024, 1152];
    /// Where the table of members is: 256 words.
    pub const MEMBERS: usize = 1280;
    /// Where the table of sources is: 64 entries of 8 words.
    pub const SOURCES: usize = 3328;
    /// What stands beside message and signature, from a slot's start: position, source and method, message length, two times
    /// of the producer; two times of the signer, module, generation and runtime, status and signature length.
    pub const SLOT_WORDS: [usize; 10] = [8, 16, 24, 32, 40, 64, 72, 80, 88, 96];

    /// Maps the ring at `path`. No lock is taken, and no member's place.
    ///
    /// # Errors
    /// There is no ring, or it can't be mapped.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::environment(format_args!("ring {}: {error}", path.display()))
        };
        let spec = attach(&RingPath::from(path)).map_err(|error| unusable(&error))?.spec().clone();
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| unusable(&error))?;
        let map = MmapOptions::new().map_raw(&file).map_err(|error| unusable(&error))?;
        if map.len() != spec.total_len() {
            return Err(unusable(&"it has another length than its spec says"));
        }
        Ok(Self { map, spec })
    }

    /// What the ring is made to.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// Bytes of the ring.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Where `slot` starts.
    pub fn slot_offset(&self, slot: u32) -> usize {
        let slots = self.spec.capacity as usize * self.spec.stride as usize;
        self.len() - slots + slot as usize * self.spec.stride as usize
    }

    /// Where the message of `slot` starts: behind two lines of words, and the signature.
    pub fn message_offset(&self, slot: u32) -> usize {
        self.slot_offset(slot) + 128 + (self.spec.signature_capacity as usize).next_multiple_of(8)
    }

    /// The byte at `offset`.
    ///
    /// # Panics
    /// If there is none.
    pub fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.len());
        // SAFETY: in bounds of a mapping that lives as long as `self` is borrowed; this process reaches its bytes as atomics
        // only.
        unsafe { &*self.map.as_mut_ptr().add(offset).cast() }
    }

    /// The word at `offset`, a multiple of 8.
    ///
    /// # Panics
    /// If there is none.
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len());
        // SAFETY: as in `byte`, and aligned, for a mapping begins on a page.
        unsafe { &*self.map.as_mut_ptr().add(offset).cast() }
    }
}
