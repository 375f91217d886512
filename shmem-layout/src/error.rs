//! Why a ring can't be made or attached to: each refusal in its own words.

use std::io;
use std::path::PathBuf;

use crate::layout::LAYOUT_VERSION;
use crate::spec::SpecError;

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
    /// It would have no huge page that it fills.
    #[error("its {len} bytes fill no huge page of 2 MiB; ask for more slots, or do without huge pages")]
    TooSmallForHugePages {
        /// Bytes of the ring.
        len: usize,
    },
    /// No huge pages for it.
    #[error(
        "no huge pages: {0}; choose a folder in memory, as /dev/shm (Linux 6.1 or newer), or do without them"
    )]
    HugePages(io::Error),
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
    /// The folder that it would be in isn't there.
    #[error("its folder {} doesn't exist; `mkdir -m 700` makes one", folder.display())]
    NoFolder {
        /// That folder.
        folder: PathBuf,
    },
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
