//! A backup of many pages: a file in memory, which the instance's memory is a private mapping of.
//!
//! ```text
//! file     │ page 0 │ page 1 │ page 2 │ …      what was backed up
//! view     │ shared: all of it                 where the host reads and writes the backup
//! memory   │ private: own page 0, the file's page 1, own page 2, …
//! ```

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::{io, ptr, slice};

use super::{Regions, page_len};
use crate::guest::wipe;

/// What is copied at once: large copies go past the cache, where the next run would look for its memory. Pages are
/// multiples of it.
const CHUNK_LEN: usize = 4096;

/// A mapping of the file, and where the memory is that is another one of it.
pub(super) struct Mapped {
    view: *mut u8,
    len: usize,
    memory: *const u8,
    /// Which pages of the file are anything but zeros that were never written.
    pages: Vec<bool>,
}

// SAFETY: the view is this value's own, and the memory's address is only compared.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Copies the `pages` of `memory` that hold anything to a new file, and makes it a private mapping of that.
    pub fn new(memory: &mut [u8], pages: Vec<bool>) -> io::Result<Self> {
        let (len, page_len) = (memory.len(), page_len());
        let file = memory_file(len)?;
        let view = map(ptr::null_mut(), len, libc::MAP_SHARED, &file)?;
        let mapped = Self { view, len, memory: memory.as_ptr(), pages };
        let mut at = 0;
        for run in mapped.pages.chunk_by(|one, next| one == next) {
            let run_len = run.len() * page_len;
            if run[0] {
                // Written by the kernel, which has no page to map for it.
                file.write_all_at(&memory[at..at + run_len], at as u64)?;
            }
            at += run_len;
        }
        // wasmtime has reserved the addresses for this memory and mapped them readable and writable, asks of them no more
        // than that, and unmaps all of them in the end.
        map(memory.as_mut_ptr(), len, libc::MAP_PRIVATE | libc::MAP_FIXED, &file)?;
        Ok(mapped)
    }

    /// Which pages of the file may hold anything but zeros.
    pub fn pages(&self) -> &[bool] {
        &self.pages
    }

    /// Whether `memory` is the mapping of its file, and all of it is.
    pub fn is_of(&self, memory: &[u8]) -> bool {
        self.memory == memory.as_ptr() && self.len == memory.len()
    }

    pub fn file(&mut self) -> &mut [u8] {
        // SAFETY: the view is that long, and nobody else's; nobody else changes the file, for the memory is a private mapping.
        unsafe { slice::from_raw_parts_mut(self.view, self.len) }
    }

    /// Backs up what `memory`, which [is of](Self::is_of) this file, has had written since.
    pub fn renew(&mut self, regions: &mut Regions, memory: &mut [u8]) {
        let page_len = page_len();
        regions.written(memory, |at, written| {
            self.file()[at..][..written.len()].copy_from_slice(written);
            self.pages[at / page_len..][..written.len() / page_len].fill(true);
        });
        // The memory's own pages are as good as the file's now.
        // SAFETY: it is mapped, to a file that holds the same bytes.
        unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_DONTNEED) };
    }

    /// Makes `memory` what it was. False if it isn't as long as it was.
    pub fn restore(&mut self, regions: &mut Regions, memory: &mut [u8]) -> bool {
        let is_of = self.is_of(memory);
        if is_of {
            let file = self.file();
            regions.written(memory, |at, written| {
                let was = file[at..].chunks_exact(CHUNK_LEN);
                written.chunks_exact_mut(CHUNK_LEN).zip(was).for_each(|(to, from)| to.copy_from_slice(from));
            });
        }
        is_of
    }

    /// Wipes what of the file `memory` doesn't show any more; the rest is the memory's own.
    pub fn forget(&mut self, regions: &mut Regions, memory: &mut [u8]) {
        // The memory may have grown, but doesn't shrink.
        let shared = self.len.min(memory.len());
        let file = self.file();
        regions.written(&mut memory[..shared], |at, written| wipe(&mut file[at..][..written.len()]));
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let page_len = page_len();
        let pages = std::mem::take(&mut self.pages);
        let held = self.file().chunks_exact_mut(page_len).zip(pages);
        held.filter(|(_, holds)| *holds).for_each(|(page, _)| wipe(page));
        // SAFETY: it is ours, and as long.
        unsafe { libc::munmap(self.view.cast(), self.len) };
    }
}

/// Writes to every page of `memory` what it holds.
pub(super) fn make_private(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(page_len()) {
        let byte = ptr::from_mut(byte);
        // SAFETY: it is a reference's. The compiler may not leave it out, as if nothing came of it.
        unsafe { byte.write_volatile(byte.read_volatile()) };
    }
}

/// A file in memory, of `len` zeros.
pub(super) fn memory_file(len: usize) -> io::Result<File> {
    // SAFETY: the name is a string with its NUL.
    let fd = unsafe { libc::memfd_create(c"extension-backup".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64)?;
    Ok(file)
}

pub(super) fn map(at: *mut u8, len: usize, flags: libc::c_int, file: &File) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: `at` is null, or the place of a memory of this length that holds what the file holds.
    let place = unsafe { libc::mmap(at.cast(), len, protection, flags, file.as_raw_fd(), 0) };
    if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(place.cast()) }
}
