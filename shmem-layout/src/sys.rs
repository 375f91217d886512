//! The system calls that no safe wrapper we use has: locks of byte ranges, allocating a file, mapping its pages.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::Duration;

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

/// A shared mapping of a file that was moved to where it begins at a multiple of something.
pub(crate) struct Moved {
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping is this value's own, and the same on every thread.
unsafe impl Send for Moved {}
// SAFETY: shared, it only tells base and length.
unsafe impl Sync for Moved {}

impl Moved {
    /// Moves `map` to where it begins at a multiple of `multiple` bytes, which is a power of two, and more than a page.
    ///
    /// # Errors
    /// There are no addresses left for that: `map`, where it was.
    pub fn to_multiple_of(multiple: usize, map: memmap2::MmapRaw) -> Result<Self, memmap2::MmapRaw> {
        let len = map.len();
        // Addresses with nothing there, enough to find the right one among them, and kept from others meanwhile.
        let reserved = memmap2::MmapOptions::new().no_reserve_swap().len(len + multiple).map_anon();
        let Ok(mut reserved) = reserved else { return Err(map) };
        let (start, all) = (reserved.as_mut_ptr(), reserved.len());
        let ahead = start.addr().next_multiple_of(multiple) - start.addr();
        // SAFETY: within what was reserved, which is longer by `multiple`.
        let base = unsafe { start.add(ahead) };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: `map` is a whole mapping, and where it goes nobody else has anything: `reserved` is ours, and holds nothing.
        if unsafe { libc::mremap(map.as_mut_ptr().cast(), len, len, flags, base) } == libc::MAP_FAILED {
            return Err(map);
        }
        // What they owned has another owner, or none: the file's mapping has gone, and has replaced a part of what was reserved.
        std::mem::forget((map, reserved));
        let end = ahead + len.next_multiple_of(rustix::param::page_size());
        for (from, to) in [(0, ahead), (end, all)] {
            if from < to {
                // SAFETY: that part of what was reserved, by whole pages, that nothing was moved to.
                unsafe { libc::munmap(start.add(from).cast(), to - from) };
            }
        }
        Ok(Self { base, len })
    }

    pub fn base(&self) -> *mut u8 {
        self.base
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        // SAFETY: it is ours, and whoever has a pointer to it keeps this value.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// Puts what the `len` bytes at `base` have of whole huge pages, in a mapping of a file in memory, on such pages.
///
/// # Errors
/// The kernel's: there are none, the file system has none, or it is older than 6.1.
pub(crate) fn collapse(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // A page that something else holds makes it say "again", once in a thousand times.
    for _ in 0..100 {
        // SAFETY: no byte changes. What isn't mapped is refused.
        if unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_COLLAPSE) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::ErrorKind::ResourceBusy.into())
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
