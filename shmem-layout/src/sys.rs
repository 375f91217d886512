//! The system calls that no safe wrapper we use has: locks of byte ranges, allocating a file, mapping its pages.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// Takes the lock of one byte of `file`'s inode for this open file description. False if another one has it.
///
/// # Errors
/// The kernel's, other than that the byte is taken.
pub(crate) fn lock_byte(file: &File, byte: u64) -> io::Result<bool> {
    match fcntl_lock(file, libc::F_OFD_SETLK, byte) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another open file description holds the lock of this byte. Asks without trying.
///
/// # Errors
/// The kernel's.
pub(crate) fn is_byte_locked_by_other(file: &File, byte: u64) -> io::Result<bool> {
    Ok(fcntl_lock(file, libc::F_OFD_GETLK, byte)? != libc::F_UNLCK)
}

fn fcntl_lock(file: &File, command: libc::c_int, byte: u64) -> io::Result<libc::c_int> {
    // SAFETY: `flock` is plain numbers, for which zeros are valid; `l_pid` must be 0 for these commands.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as _;
    range.l_whence = libc::SEEK_SET as _;
    range.l_start = byte as _;
    range.l_len = 1;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `range` is a valid `flock` to read and
    // (for F_OFD_GETLK) to write.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &mut range) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(range.l_type.into())
}

/// Gives `file` `len` bytes that are really there, so that a full disk is an error here and not SIGBUS later.
///
/// # Errors
/// The kernel's; `ENOSPC` when there is no room.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Puts what the `len` bytes at `base` have of whole huge pages, in a mapping of a file in memory, on such pages.
///
/// # Errors
/// The kernel's: there are none, the file system has none, or it is older than 6.1.
pub(crate) fn collapse(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: no byte changes. What isn't mapped is refused.
    match unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_COLLAPSE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps every page of the `len` bytes at `base`, which lie in a shared mapping of a file, for writing.
///
/// # Errors
/// The kernel's: it is older than 5.14, or the file has become shorter.
pub(crate) fn populate(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: no byte changes. What isn't mapped is refused.
    match unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
