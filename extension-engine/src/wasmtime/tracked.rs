//! A backup that copies back only what was written since.
//!
//! The backup lies in a file in memory, and the instance's memory becomes a private mapping of that file: the kernel makes
//! a page the instance's own when it is first written, and tells which ones are (see `pagemap`). These are copied back, and
//! stay the instance's, so that the next run has no page to wait for.
//!
//! ```text
//! file     │ page 0 │ page 1 │ page 2 │ …      what was backed up
//! view     │ shared: all of it                 where the host reads and writes the backup
//! memory   │ private: own page 0, the file's page 1, own page 2, …
//! ```

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::{io, ptr, slice};

use zeroize::Zeroize;

use crate::guest::{Backup, Copy};
use crate::pagemap::{Region, private_pages};

/// How many regions the kernel tells at once.
const REGIONS: usize = 512;

/// What is copied at once: large copies go past the cache, where the next run would look for its memory. Pages are
/// multiples of it.
const CHUNK_LEN: usize = 4096;

/// See the module. Where the kernel doesn't tell, or has no memory for it, a copy of all.
#[derive(Default)]
pub(super) struct Tracked {
    mapped: Option<Mapped>,
    /// Whether the backup is one, and not just room for it.
    is_taken: bool,
    whole: Copy,
    regions: Vec<Region>,
}

/// A mapping of the file, and where the memory is that is another one of it.
struct Mapped {
    view: *mut u8,
    len: usize,
    memory: *mut u8,
    /// Which pages of the file are anything but zeros that were never written.
    is_written: Vec<bool>,
}

// SAFETY: the view is this value's own, and the memory's address is only compared.
unsafe impl Send for Mapped {}

impl Tracked {
    /// Calls `each` with the ranges of `memory`, by offset, that were written since it was mapped: all of it, if the
    /// kernel doesn't tell.
    fn written(regions: &mut [Region], memory: &[u8], mut each: impl FnMut(usize, usize)) {
        if Self::own(regions, memory, &mut each).is_err() {
            each(0, memory.len());
        }
    }

    /// Calls `each` with the ranges of `memory`, by offset and length, that are its own pages, of no file.
    fn own(regions: &mut [Region], memory: &[u8], mut each: impl FnMut(usize, usize)) -> io::Result<()> {
        let start = memory.as_ptr().addr() as u64;
        private_pages(start, start + memory.len() as u64, regions, |region| {
            each((region.start - start) as usize, (region.end - region.start) as usize);
        })
    }

    /// Which pages of `memory` may hold anything but zeros: its own, and those of the file that it was last a mapping of. The
    /// others were never there, and needn't be looked at, which would make them.
    fn with_contents(&mut self, memory: &[u8]) -> io::Result<Vec<bool>> {
        let page_len = page_len();
        let mut pages = vec![false; memory.len() / page_len];
        let of_file = self.mapped.iter().flat_map(|mapped| &mapped.is_written);
        pages.iter_mut().zip(of_file).for_each(|(page, is_written)| *page = *is_written);
        Self::own(&mut self.regions, memory, |at, len| {
            pages[at / page_len..(at + len) / page_len].fill(true)
        })?;
        Ok(pages)
    }

    fn mapped_to(&mut self, memory: &[u8]) -> Option<(&mut Mapped, &mut [Region])> {
        let mapped = self.mapped.as_mut()?;
        let is_its = mapped.memory.cast_const() == memory.as_ptr() && mapped.len == memory.len();
        is_its.then_some((mapped, &mut self.regions[..]))
    }

    /// Backs up what was written since the last backup.
    fn renew(mapped: &mut Mapped, regions: &mut [Region], memory: &mut [u8]) {
        let (is_written, view) = (&mut mapped.is_written, mapped.view);
        let page_len = page_len();
        Self::written(regions, memory, |at, len| {
            // SAFETY: both mappings are at least that long, and don't overlap.
            unsafe { ptr::copy_nonoverlapping(memory.as_ptr().add(at), view.add(at), len) };
            is_written[at / page_len..(at + len) / page_len].fill(true);
        });
        // The memory's own pages are as good as the file's now.
        // SAFETY: it is mapped, to a file that holds the same bytes.
        unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_DONTNEED) };
    }
}

impl Backup for Tracked {
    fn take(&mut self, memory: &mut [u8]) {
        if self.regions.is_empty() {
            self.regions.resize(REGIONS, Region::default());
        }
        self.is_taken = true;
        if let Some((mapped, regions)) = self.mapped_to(memory) {
            return Self::renew(mapped, regions, memory);
        }
        // An earlier one is wiped when it is dropped: the memory must be no mapping of it any more.
        match self.with_contents(memory).and_then(|pages| Mapped::new(memory, &pages)) {
            Ok(mapped) => self.mapped = Some(mapped),
            Err(_) => {
                if self.mapped.is_some() {
                    make_private(memory);
                }
                self.mapped = None;
                self.whole.take(memory);
            }
        }
    }

    fn restore(&mut self, memory: &mut [u8]) -> bool {
        if !self.is_taken {
            return false;
        }
        if self.mapped.is_none() {
            return self.whole.restore(memory);
        }
        let Some((mapped, regions)) = self.mapped_to(memory) else { return false };
        let (view, to) = (mapped.view, memory.as_mut_ptr());
        Self::written(regions, memory, |at, len| {
            for at in (at..at + len).step_by(CHUNK_LEN) {
                // SAFETY: both mappings are longer by whole pages, which are multiples of a chunk, and don't overlap.
                unsafe { ptr::copy_nonoverlapping(view.add(at), to.add(at), CHUNK_LEN) };
            }
        });
        true
    }

    /// Wipes what of the file the memory doesn't show any more; the rest is the memory's own.
    fn forget(&mut self, memory: &mut [u8]) {
        self.is_taken = false;
        self.whole.forget(memory);
        if let Some(mapped) = &mut self.mapped {
            let view = mapped.view;
            // The memory may have grown, but doesn't shrink.
            let memory = &memory[..mapped.len.min(memory.len())];
            Self::written(&mut self.regions, memory, |at, len| {
                // SAFETY: the view is at least that long.
                unsafe { slice::from_raw_parts_mut(view.add(at), len) }.zeroize();
            });
        }
    }

    fn wipe(&mut self, memory: &mut [u8]) {
        self.is_taken = false;
        self.whole.forget(memory);
        let Some(mapped) = self.mapped.take() else { return memory.zeroize() };
        let (shown, grown) = memory.split_at_mut(mapped.len.min(memory.len()));
        grown.zeroize();
        // Drops it, which wipes the file: what is the memory's own is left.
        drop(mapped);
        let to = shown.as_mut_ptr();
        Self::written(&mut self.regions, shown, |at, len| {
            // SAFETY: the memory is at least that long, and nobody else's.
            unsafe { slice::from_raw_parts_mut(to.add(at), len) }.zeroize();
        });
    }
}

impl Mapped {
    /// Copies `memory`, all of which is in the pages that `pages` has, to a new file, and makes it a private mapping of that.
    fn new(memory: &mut [u8], pages: &[bool]) -> io::Result<Self> {
        let (len, page_len) = (memory.len(), page_len());
        let file = memory_file(len)?;
        let view = map(ptr::null_mut(), len, libc::MAP_SHARED, &file)?;
        let with_contents = memory.chunks_exact(page_len).zip(pages);
        let is_written = with_contents.map(|(page, may_hold)| *may_hold && !is_zero(page)).collect();
        let mapped = Self { view, len, memory: memory.as_mut_ptr(), is_written };
        let mut at = 0;
        for run in mapped.is_written.chunk_by(|one, next| one == next) {
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
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let page_len = page_len();
        for (i, _) in self.is_written.iter().enumerate().filter(|(_, is_written)| **is_written) {
            // SAFETY: the view has as many pages.
            unsafe { slice::from_raw_parts_mut(self.view.add(i * page_len), page_len) }.zeroize();
        }
        // SAFETY: it is ours, and as long.
        unsafe { libc::munmap(self.view.cast(), self.len) };
    }
}

fn page_len() -> usize {
    static PAGE_LEN: OnceLock<usize> = OnceLock::new();
    // SAFETY: it may be called anywhere.
    *PAGE_LEN.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096))
}

/// Writes to every page of `memory` what it holds.
fn make_private(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(page_len()) {
        let byte = ptr::from_mut(byte);
        // SAFETY: it is a reference's. The compiler may not leave it out, as if nothing came of it.
        unsafe { byte.write_volatile(byte.read_volatile()) };
    }
}

fn is_zero(page: &[u8]) -> bool {
    // By words, which the compiler makes wider ones of.
    // SAFETY: any bits are a valid number.
    let (before, words, after) = unsafe { page.align_to::<u64>() };
    words.iter().fold(0, |bits, word| bits | word) == 0 && before.iter().chain(after).all(|byte| *byte == 0)
}

/// A file in memory, of `len` zeros.
fn memory_file(len: usize) -> io::Result<File> {
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

fn map(at: *mut u8, len: usize, flags: libc::c_int, file: &File) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: `at` is null, or the place of a memory of this length that holds what the file holds.
    let place = unsafe { libc::mmap(at.cast(), len, protection, flags, file.as_raw_fd(), 0) };
    if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(place.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory as wasmtime has it: pages of its own.
    struct Pages(*mut u8, usize);

    impl Pages {
        fn new(pages: usize) -> Self {
            let len = pages * page_len();
            let file = memory_file(len).unwrap();
            let place = map(ptr::null_mut(), len, libc::MAP_PRIVATE, &file).unwrap();
            Self(place, len)
        }

        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: it was mapped as long as that.
            unsafe { slice::from_raw_parts_mut(self.0, self.1) }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: it was mapped as long as that.
            unsafe { libc::munmap(self.0.cast(), self.1) };
        }
    }

    fn file(tracked: &Tracked) -> &[u8] {
        let mapped = tracked.mapped.as_ref().expect("Linux 6.7 or newer, with memory in files");
        // SAFETY: the view is as long as that.
        unsafe { slice::from_raw_parts(mapped.view, mapped.len) }
    }

    const OLD: u8 = 0x11;
    const NEW: u8 = 0x22;

    /// Pages of old bytes, but for the last, and a backup of them.
    fn taken(pages: &mut Pages) -> Tracked {
        let len = pages.bytes().len();
        pages.bytes()[..len - page_len()].fill(OLD);
        let mut tracked = Tracked::default();
        assert!(!tracked.restore(pages.bytes()), "there is none yet");
        tracked.take(pages.bytes());
        tracked
    }

    #[test]
    fn what_was_written_is_what_is_restored() {
        let mut pages = Pages::new(8);
        let mut tracked = taken(&mut pages);
        let before = pages.bytes().to_vec();
        let page = page_len();
        for written in [0..1, 3 * page - 1..3 * page + 1, 7 * page..8 * page, 0..8 * page, 0..0] {
            pages.bytes()[written].fill(NEW);
            assert!(tracked.restore(pages.bytes()));
            assert!(pages.bytes() == before);
        }
        assert!(!tracked.restore(&mut pages.bytes()[..page]), "it is of another length");
    }

    #[test]
    fn a_memory_that_has_grown_is_backed_up_with_what_it_shows_of_the_earlier_backup() {
        let mut pages = Pages::new(8);
        let mut tracked = Tracked::default();
        pages.bytes()[..3 * page_len()].fill(OLD);
        tracked.take(&mut pages.bytes()[..4 * page_len()]);
        // Of these pages the memory has one of its own again; the others are the file's.
        pages.bytes()[page_len()] = NEW;
        pages.bytes()[6 * page_len()..7 * page_len()].fill(NEW);
        let before = pages.bytes().to_vec();
        tracked.take(pages.bytes());
        assert!(pages.bytes() == before && file(&tracked) == before);
        pages.bytes().fill(0x33);
        assert!(tracked.restore(pages.bytes()));
        assert!(pages.bytes() == before);
    }

    #[test]
    fn a_backup_taken_again_is_of_what_is_there_then() {
        let mut pages = Pages::new(8);
        let mut tracked = taken(&mut pages);
        pages.bytes()[page_len()..2 * page_len()].fill(NEW);
        tracked.forget(pages.bytes());
        assert!(!tracked.restore(pages.bytes()), "there is none any more");
        tracked.take(pages.bytes());
        let before = pages.bytes().to_vec();
        assert_eq!((before[0], before[page_len()]), (OLD, NEW));
        pages.bytes().fill(0x33);
        assert!(tracked.restore(pages.bytes()));
        assert!(pages.bytes() == before);
    }

    #[test]
    fn what_a_forgotten_backup_alone_held_is_wiped_and_the_memory_is_as_it_was() {
        let mut pages = Pages::new(4);
        let mut tracked = taken(&mut pages);
        let page = page_len();
        pages.bytes()[page..2 * page].fill(NEW);
        let before = pages.bytes().to_vec();
        tracked.forget(pages.bytes());
        assert!(file(&tracked)[page..2 * page].iter().all(|byte| *byte == 0));
        assert!(pages.bytes() == before);
        // Two keys later, no page of the file has the first one.
        tracked.take(pages.bytes());
        assert!(file(&tracked) == before);
    }

    #[test]
    fn in_the_end_memory_and_file_are_zeros() {
        let mut pages = Pages::new(4);
        let mut tracked = taken(&mut pages);
        pages.bytes()[page_len()] = NEW;
        tracked.wipe(pages.bytes());
        // What the memory doesn't own it shows of the file.
        assert!(pages.bytes().iter().all(|byte| *byte == 0));
        let mut never_taken = Pages::new(2);
        never_taken.bytes().fill(NEW);
        Tracked::default().wipe(never_taken.bytes());
        assert!(never_taken.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn without_a_file_the_whole_is_copied_and_the_memory_stays_what_it_was() {
        let mut pages = Pages::new(4);
        let mut tracked = taken(&mut pages);
        let before = pages.bytes().to_vec();
        make_private(pages.bytes());
        tracked.mapped = None;
        assert!(pages.bytes() == before, "although the file was wiped");
        tracked.whole.take(pages.bytes());
        pages.bytes().fill(NEW);
        assert!(tracked.restore(pages.bytes()));
        assert!(pages.bytes() == before);
        tracked.wipe(pages.bytes());
        assert!(!tracked.restore(pages.bytes()) && pages.bytes().iter().all(|byte| *byte == 0));
    }
}
