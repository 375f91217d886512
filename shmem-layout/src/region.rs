//! A region: the base and length of a ring's bytes, and who keeps them mapped.
//!
//! The protocol takes base and length and asks no more; how the bytes came to be mapped is in here.

mod file;
#[cfg(any(test, feature = "fuzzing"))]
mod heap;
mod segment;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::str::FromStr;

use crate::error::{AttachError, CreateError};
use crate::sys;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use heap::Heap;
pub(crate) use segment::Segment;

/// Where a ring is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingPath {
    /// A file, mapped with `memmap2`.
    File(PathBuf),
    /// A POSIX shared memory segment (`shm:NAME`), mapped with `shared_memory`.
    Segment(String),
}

impl FromStr for RingPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("shm:") {
            None if text.is_empty() => Err("a ring's path can't be empty".into()),
            None => Ok(Self::File(text.into())),
            Some(name)
                if name.is_empty() || name.len() > 200 || name.contains('/') || name.starts_with('.') =>
            {
                Err("a segment's name has 1 to 200 bytes, no slash and no dot in front: shm:NAME".into())
            }
            Some(name) => Ok(Self::Segment(name.into())),
        }
    }
}

impl From<&Path> for RingPath {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl fmt::Display for RingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Segment(name) => write!(f, "shm:{name}"),
        }
    }
}

impl RingPath {
    /// The file behind the ring: a segment is a file of `/dev/shm`.
    pub fn file_path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Segment(name) => Path::new("/dev/shm").join(name),
        }
    }

    /// The folder that the file is in.
    pub(crate) fn folder(&self) -> PathBuf {
        match self.file_path().parent() {
            Some(folder) if folder != OsStr::new("") => folder.into(),
            _ => ".".into(),
        }
    }
}

/// Mapped bytes. Whoever holds the value keeps them mapped.
pub(crate) enum Region {
    File(memmap2::MmapRaw),
    /// A file's as well, where it begins with a huge page.
    Moved(sys::Moved),
    Segment(Segment),
    #[cfg(any(test, feature = "fuzzing"))]
    Heap(Heap),
}

impl Region {
    /// Makes the bytes of a new ring, all zero and on huge pages if it `is_huge`, and lets `format` fill them before they are a
    /// ring to anybody.
    ///
    /// # Errors
    /// The ring exists, or there is no room, no permission or no huge page for it.
    pub fn create(
        path: &RingPath,
        len: usize,
        is_huge: bool,
        format: impl FnOnce(&Region),
    ) -> Result<(), CreateError> {
        match path {
            RingPath::File(path) => file::create(path, len, is_huge, format),
            RingPath::Segment(name) => segment::create(name, len, is_huge, format),
        }
    }

    /// Maps what is at `path`, once its owner, mode and kind are found right, and gives with it a descriptor of our
    /// own for the same inode: the one that was checked, and the one to hold locks on.
    ///
    /// # Errors
    /// Each refusal its own.
    pub fn open(path: &RingPath) -> Result<(Region, File), AttachError> {
        match path {
            RingPath::File(path) => file::open(path),
            RingPath::Segment(name) => segment::open(name),
        }
    }

    /// As [`Region::open`], but mapped and opened for reading alone. A segment is a file as well.
    ///
    /// # Errors
    /// As there.
    pub fn open_read_only(path: &RingPath) -> Result<(Region, File), AttachError> {
        let file = open_with(&path.file_path(), rustix::fs::OFlags::RDONLY)?;
        if let RingPath::File(_) = path {
            check_private_folder(&path.folder())?;
        }
        if file.metadata().map_err(AttachError::Open)?.len() == 0 {
            return Err(AttachError::TooShort { len: 0 });
        }
        let map = memmap2::MmapOptions::new().map_raw_read_only(&file).map_err(AttachError::Open)?;
        Ok((Region::File(map), file))
    }

    pub fn base(&self) -> NonNull<u8> {
        let base = match self {
            Self::File(map) => map.as_mut_ptr(),
            Self::Moved(moved) => moved.base(),
            Self::Segment(segment) => segment.base(),
            #[cfg(any(test, feature = "fuzzing"))]
            Self::Heap(heap) => heap.base().as_ptr(),
        };
        NonNull::new(base).unwrap_or(NonNull::dangling())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::File(map) => map.len(),
            Self::Moved(moved) => moved.len(),
            Self::Segment(segment) => segment.len(),
            #[cfg(any(test, feature = "fuzzing"))]
            Self::Heap(heap) => heap.len(),
        }
    }
}

/// Whoever can write a ring can forge what is in it: it must be ours, and ours alone.
fn check_private(metadata: &Metadata) -> Result<(), AttachError> {
    if metadata.is_symlink() {
        return Err(AttachError::Symlink);
    }
    if !metadata.is_file() {
        return Err(AttachError::NotRegular);
    }
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != uid {
        return Err(AttachError::ForeignOwner { owner: metadata.uid(), uid });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(AttachError::TooOpen { mode: metadata.mode() & 0o7777 });
    }
    if metadata.nlink() > 1 {
        return Err(AttachError::HardLinked { links: metadata.nlink() });
    }
    Ok(())
}

/// Whether others can put another file in the ring's place.
fn check_private_folder(folder: &Path) -> Result<(), AttachError> {
    let metadata = std::fs::metadata(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AttachError::NoFolder { folder: folder.into() },
        _ => AttachError::Open(error),
    })?;
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != uid || metadata.mode() & 0o077 != 0 {
        return Err(AttachError::OpenFolder {
            folder: folder.into(),
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
        });
    }
    Ok(())
}

/// Opens a ring's file for reading and writing, as [`open_with`].
fn open_private(path: &Path) -> Result<File, AttachError> {
    open_with(path, rustix::fs::OFlags::RDWR)
}

/// Opens a ring's file without following a link, waiting for a FIFO's other end, or handing it on to a child.
fn open_with(path: &Path, access: rustix::fs::OFlags) -> Result<File, AttachError> {
    use rustix::fs::{Mode, OFlags};
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(error) => {
            return Err(match error {
                rustix::io::Errno::LOOP => AttachError::Symlink,
                rustix::io::Errno::ISDIR => AttachError::NotRegular,
                rustix::io::Errno::NOENT => AttachError::Absent,
                // Another user's ring can't be opened at all: say whose it is.
                _ => std::fs::symlink_metadata(path)
                    .ok()
                    .and_then(|metadata| check_private(&metadata).err())
                    .unwrap_or(AttachError::Open(error.into())),
            });
        }
    };
    check_private(&file.metadata().map_err(AttachError::Open)?)?;
    Ok(file)
}

/// Bytes of a huge page.
const HUGE_PAGE_LEN: usize = 2 << 20;

/// Gives `file` its `len` bytes, so that they are really there, on huge pages if it `is_huge`.
fn allocate(file: &File, len: usize, is_huge: bool) -> Result<(), CreateError> {
    if is_huge && len < HUGE_PAGE_LEN {
        return Err(CreateError::TooSmallForHugePages { len });
    }
    sys::allocate(file, len as u64).map_err(|error| CreateError::Room { len, error })?;
    if is_huge {
        let region = map(file).map_err(CreateError::Make)?;
        sys::collapse(region.base(), region.len()).map_err(CreateError::HugePages)?;
    }
    Ok(())
}

/// Maps all of `file`, so that its huge pages, if it has some, are the memory's: where both begin at a multiple of their length,
/// if there are addresses for that.
fn map(file: &File) -> io::Result<Region> {
    let map = memmap2::MmapOptions::new().map_raw(file)?;
    if map.len() < HUGE_PAGE_LEN || map.as_ptr().addr().is_multiple_of(HUGE_PAGE_LEN) {
        return Ok(Region::File(map));
    }
    Ok(sys::Moved::to_multiple_of(HUGE_PAGE_LEN, map).map_or_else(Region::File, Region::Moved))
}
