//! Who lives: the kernel's word for it, as locks on bytes far beyond the ring's end.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::sys;

/// The lock bytes of the members, one for each index.
pub(crate) const MEMBER_BYTE: u64 = 1 << 40;

/// The lock bytes of the sources, one for each entry: its one live producer holds it.
pub(crate) const SOURCE_BYTE: u64 = MEMBER_BYTE + (1 << 20);

/// Locks that end with their holder's life, and with nothing else.
pub(crate) trait Locks: Send + Sync {
    /// Takes a byte for life. False if another one holds it.
    ///
    /// # Errors
    /// The kernel's.
    fn take(&self, byte: u64) -> io::Result<bool>;

    /// Whether another one holds a byte. Never tries to take it: a try would look like a holder to others.
    ///
    /// # Errors
    /// The kernel's.
    fn is_held_by_other(&self, byte: u64) -> io::Result<bool>;

    /// Whether the ring has no name any more: nobody can join it.
    ///
    /// # Errors
    /// The kernel's.
    fn is_removed(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Open-file-description locks on the ring's own inode.
///
/// Not the classic POSIX ones, which are lost as soon as the process closes any descriptor of the file.
impl Locks for File {
    fn take(&self, byte: u64) -> io::Result<bool> {
        sys::lock_byte(self, byte)
    }

    fn is_held_by_other(&self, byte: u64) -> io::Result<bool> {
        sys::is_byte_locked_by_other(self, byte)
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() == 0)
    }
}
