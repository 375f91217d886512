//! Making a ring, and attaching to one: from a path to checked, mapped bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::cells::{Cells, Memory, Ordering, has_magic};
use crate::clock;
use crate::failpoint::failpoint;
use crate::fault::FaultGuard;
use crate::layout::{LAYOUT_VERSION, control, header};
use crate::locks::Locks;
use crate::protocol::Core;
use crate::region::{Region, RingPath};
use crate::ring::Ring;
use crate::spec::{RingOptions, RingSpec, SpecError};
use crate::state::State;

/// Why a ring could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The options make no ring.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Something is there already.
    #[error("it exists already; remove it with `ringctl rm`, or choose another path")]
    Exists,
    /// The folder, or what stands in it, is not ours alone.
    #[error(transparent)]
    Folder(AttachError),
    /// No room for it.
    #[error("no room for {len} bytes: {error}; choose a smaller capacity or another folder")]
    Room {
        /// Bytes of the ring.
        len: usize,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel said no otherwise.
    #[error("can't make it: {0}")]
    Make(io::Error),
}

/// Why a ring can't be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nothing is there.
    #[error("no such ring; make one with `ringctl create`")]
    Absent,
    /// The kernel said no.
    #[error("can't open it: {0}")]
    Open(io::Error),
    /// A symbolic link could be pointed elsewhere.
    #[error("it is a symbolic link; give the ring's own path")]
    Symlink,
    /// A directory, FIFO, socket or device.
    #[error("it is no regular file")]
    NotRegular,
    /// Another user's.
    #[error("it belongs to uid {owner}, and this process runs as uid {uid}")]
    ForeignOwner {
        /// Whose it is.
        owner: u32,
        /// Who asks.
        uid: u32,
    },
    /// Group or others may read or write it.
    #[error("its mode {mode:03o} lets others in; it must be 600")]
    TooOpen {
        /// Permission bits.
        mode: u32,
    },
    /// It has another name, by which somebody may reach it.
    #[error("it has {links} hard links; a ring has one")]
    HardLinked {
        /// How many names.
        links: u64,
    },
    /// Others could put another file in its place.
    #[error("its folder {} (mode {mode:03o}, uid {owner}) is not private; use a folder of your own with mode 700", .folder.display())]
    OpenFolder {
        /// The folder.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whose it is.
        owner: u32,
    },
    /// What was mapped is not what was checked.
    #[error("it was replaced while it was being opened")]
    Replaced,
    /// Too short for what must be there.
    #[error("it has {len} bytes, too few for a ring")]
    TooShort {
        /// Bytes that are there.
        len: usize,
    },
    /// Not a ring, or one that is not complete.
    #[error("it is no ring (its first bytes are not RINGSEAL)")]
    Magic,
    /// A ring of another version.
    #[error("it has layout version {found}, and this program knows version {LAYOUT_VERSION}")]
    Version {
        /// The ring's version.
        found: u32,
    },
    /// The length of the spec goes beyond its room.
    #[error("its spec claims {len} bytes, more than the header has")]
    SpecLen {
        /// What the header says.
        len: u32,
    },
    /// The spec was changed or damaged.
    #[error("its spec doesn't match its checksum")]
    Checksum,
    /// The spec is none that a ring can have.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// File and spec disagree.
    #[error("it has {len} bytes, and its spec needs {needed}")]
    Size {
        /// Bytes that are there.
        len: usize,
        /// Bytes that the spec needs.
        needed: usize,
    },
    /// Made before the last reboot.
    #[error("it was made before this machine last booted; remove it with `ringctl rm`")]
    OtherBoot,
}

/// Makes a ring at `path`, mode 0600, all of it allocated.
///
/// # Errors
/// Each refusal its own; nothing is left behind.
pub fn create(path: &RingPath, options: &RingOptions) -> Result<RingSpec, CreateError> {
    let mut ring_id = [0; 16];
    getrandom(&mut ring_id, GetRandomFlags::empty()).map_err(|error| CreateError::Make(error.into()))?;
    let spec = RingSpec::new(options, ring_id, clock::boot_id().map_err(CreateError::Make)?)?;
    Region::create(path, spec.total_len(), |region| format(region, &spec))?;
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
    let words = memory.payload(header::SPEC, header::SPEC_CAPACITY / 8);
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
        let (region, file) = Region::open(path)?;
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
        for (bytes, word) in header.as_chunks_mut::<8>().0.iter_mut().zip(memory.payload(0, header::END / 8))
        {
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
        let core = Core { cells, locks: self.locks, max_attempts: spec.max_attempts };
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
