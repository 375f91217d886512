//! Making a ring, and attaching to one: from a path to checked, mapped bytes.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::cells::{Cells, Memory, Ordering, has_magic};
use crate::clock;
use crate::error::{AttachError, CreateError};
use crate::failpoint::failpoint;
use crate::fault::FaultGuard;
use crate::layout::{LAYOUT_VERSION, control, header};
use crate::locks::Locks;
use crate::protocol::Core;
use crate::recovery::RecoveredCounts;
use crate::region::{Region, RingPath};
use crate::ring::Ring;
use crate::spec::{RingOptions, RingSpec};
use crate::state::State;

/// Makes a ring at `path`, mode 0600, all of it allocated.
///
/// # Errors
/// Each refusal its own; nothing is left behind.
pub fn create(path: &RingPath, options: &RingOptions) -> Result<RingSpec, CreateError> {
    let mut ring_id = [0; 16];
    getrandom(&mut ring_id, GetRandomFlags::empty()).map_err(|error| CreateError::Make(error.into()))?;
    let spec = RingSpec::new(options, ring_id, clock::boot_id().map_err(CreateError::Make)?)?;
    Region::create(path, spec.total_len(), options.huge_pages, |region| format(region, &spec))?;
    Ok(spec)
}

/// Removes what is at `path` without asking who uses it: see [`Ring::members`] for that.
///
/// # Errors
/// The kernel's.
pub fn remove(path: &RingPath) -> io::Result<()> {
    fs::remove_file::<&Path>(path.file_path().as_ref())
}

/// Writes all that a new ring holds, the magic last.
pub(crate) fn format(region: &Region, spec: &RingSpec) {
    let memory = memory_of(region);
    let archive = spec.to_archive();
    let mut padded = archive.to_vec();
    padded.resize(header::SPEC_CAPACITY, 0);
    let words = memory.words(header::SPEC, header::SPEC_CAPACITY).payload(0, header::SPEC_CAPACITY / 8);
    for (word, bytes) in words.zip(padded.as_chunks::<8>().0) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    memory.u32_at(header::LAYOUT_VERSION).store(LAYOUT_VERSION, Ordering::Relaxed);
    memory.u32_at(header::SPEC_LEN).store(archive.len() as u32, Ordering::Relaxed);
    memory.u32_at(header::SPEC_CRC32).store(crc32fast::hash(&archive), Ordering::Relaxed);
    let cells = Cells { geometry: spec.geometry(), memory };
    for slot in 0..cells.geometry.capacity {
        cells.state(slot).store(State::free(0).0, Ordering::Relaxed);
    }
    cells.set_magic();
}

fn memory_of(region: &Region) -> Memory {
    // SAFETY: a region's base is page-aligned (heap: aligned to its words) and mapped for `len` bytes as long as the
    // region lives; who builds a `Memory` here keeps it no longer than that (`Ring` drops the region last). Nothing
    // else in this crate touches those bytes.
    unsafe { Memory::new(region.base(), region.len()) }
}

/// Mapped bytes of which nothing is known yet. [`Unchecked::check`] makes a [`Ring`] of them.
pub struct Unchecked {
    region: Region,
    guard: Option<FaultGuard>,
    locks: Box<dyn Locks>,
}

impl Unchecked {
    /// Opens and maps what is at `path`: owner, mode and kind are right, the bytes may be anything.
    ///
    /// # Errors
    /// Each refusal its own.
    pub fn open(path: &RingPath) -> Result<Self, AttachError> {
        Self::guarded(path, Region::open(path)?)
    }

    /// As [`Unchecked::open`], for who only reads: a store would be a fault.
    pub(crate) fn open_read_only(path: &RingPath) -> Result<Self, AttachError> {
        Self::guarded(path, Region::open_read_only(path)?)
    }

    fn guarded(path: &RingPath, (region, file): (Region, File)) -> Result<Self, AttachError> {
        failpoint("attach: opened");
        let base = region.base().as_ptr() as usize;
        let guard = FaultGuard::new(base, region.len(), &path.to_string()).map_err(AttachError::Open)?;
        Ok(Self { region, guard: Some(guard), locks: Box::new(file) })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn on_heap(heap: &crate::region::Heap) -> Self {
        Self { region: Region::Heap(heap.clone()), guard: None, locks: Box::new(heap.holder()) }
    }

    /// Checks a **private copy** of the header, and takes every bound from that copy from then on.
    ///
    /// # Errors
    /// Each refusal its own.
    pub fn check(self) -> Result<Ring, AttachError> {
        let len = self.region.len();
        if len < control::SLOTS {
            return Err(AttachError::TooShort { len });
        }
        let memory = memory_of(&self.region);
        if !has_magic(&memory) {
            return Err(AttachError::Magic);
        }
        let mut header = [0_u8; header::END];
        let words = memory.words(0, header::END).payload(0, header::END / 8);
        for (bytes, word) in header.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        let spec = check_header(&header)?;
        if spec.total_len() != len {
            return Err(AttachError::Size { len, needed: spec.total_len() });
        }
        if spec.boot_id != clock::boot_id().map_err(AttachError::Open)? {
            return Err(AttachError::OtherBoot);
        }
        failpoint("attach: checked");
        let cells = Cells { geometry: spec.geometry(), memory };
        let core = Core {
            cells,
            locks: self.locks,
            max_attempts: spec.max_attempts,
            recovered: RecoveredCounts::default(),
        };
        Ok(Ring::new(spec, core, self.guard, self.region))
    }
}

/// The spec in a private copy of the header.
fn check_header(header: &[u8; header::END]) -> Result<RingSpec, AttachError> {
    let word = |offset: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[offset..offset + 4]);
        u32::from_le_bytes(bytes)
    };
    let found = word(header::LAYOUT_VERSION);
    if found != LAYOUT_VERSION {
        return Err(AttachError::Version { found });
    }
    let len = word(header::SPEC_LEN);
    let archive = header[header::SPEC..].get(..len as usize).ok_or(AttachError::SpecLen { len })?;
    if crc32fast::hash(archive) != word(header::SPEC_CRC32) {
        return Err(AttachError::Checksum);
    }
    Ok(RingSpec::from_archive(archive)?)
}
