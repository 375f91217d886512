//! A ring in a POSIX shared memory segment.
//!
//! `shared_memory` maps it; owner, mode and locks need a descriptor, which that crate keeps to itself. So we open
//! the segment's file too, and compare device and inode of the two.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{major, minor};
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::{Region, RingPath, allocate, open_private};
use crate::error::{AttachError, CreateError};

/// A mapped segment.
pub(crate) struct Segment(Shmem);

// SAFETY: `Shmem` is not `Send` only for the raw pointer to the mapping, which is valid on every thread; nothing
// else in it is tied to a thread.
unsafe impl Send for Segment {}
// SAFETY: shared, it only tells base and length.
unsafe impl Sync for Segment {}

impl Segment {
    pub fn base(&self) -> *mut u8 {
        self.0.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Makes the segment. Unlike a file's, its name is there before it is complete: the magic, which `format` writes
/// last, is what makes it a ring.
pub(super) fn create(
    name: &str,
    len: usize,
    is_huge: bool,
    format: impl FnOnce(&Region),
) -> Result<(), CreateError> {
    // As its owner we remove the segment if anything below fails.
    let shmem = ShmemConf::new().os_id(name).size(len).create().map_err(|error| match error {
        ShmemError::MappingIdExists => CreateError::Exists,
        other => CreateError::Make(os_error(other)),
    })?;
    let file = open_private(&RingPath::Segment(name.into()).file_path()).map_err(CreateError::Folder)?;
    // The crate sets the size only; pages that are not there would be SIGBUS on a full tmpfs.
    allocate(&file, len, is_huge)?;
    let region = Region::Segment(Segment(shmem));
    format(&region);
    if let Region::Segment(Segment(mut shmem)) = region {
        // The segment outlives its maker.
        shmem.set_owner(false);
    }
    Ok(())
}

pub(super) fn open(name: &str) -> Result<(Region, File), AttachError> {
    let file = open_private(&RingPath::Segment(name.into()).file_path())?;
    if file.metadata().map_err(AttachError::Open)?.len() == 0 {
        return Err(AttachError::TooShort { len: 0 });
    }
    let mut shmem =
        ShmemConf::new().os_id(name).open().map_err(|error| AttachError::Open(os_error(error)))?;
    // Else our end would remove the segment under everybody else.
    shmem.set_owner(false);
    let segment = Segment(shmem);
    if !is_mapping_of(&segment, &file).map_err(AttachError::Open)? {
        return Err(AttachError::Replaced);
    }
    Ok((Region::Segment(segment), file))
}

/// Whether what was mapped is the file that was checked: the name could have changed hands in between.
fn is_mapping_of(segment: &Segment, file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let start = format!("{:x}-", segment.base() as usize);
    let device = format!("{:02x}:{:02x}", major(metadata.dev()), minor(metadata.dev()));
    let inode = metadata.ino().to_string();
    let maps = fs::read_to_string("/proc/self/maps")?;
    // 7f0a…-7f0b… rw-s 00000000 00:1a 1234 /dev/shm/name
    let mapped = maps.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    let mut fields = mapped.split_ascii_whitespace().skip(3);
    Ok(fields.next() == Some(&device) && fields.next() == Some(&inode))
}

fn os_error(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapOpenFailed(code)
        | ShmemError::MapCreateFailed(code)
        | ShmemError::UnknownOsError(code) => io::Error::from_raw_os_error(code as i32),
        other => io::Error::other(other.to_string()),
    }
}
