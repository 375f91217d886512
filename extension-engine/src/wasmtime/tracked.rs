//! A backup that copies back only what was written since.
//!
//! The kernel tells which pages are the instance's own (see `pagemap`): those that were written, and no others, for all of
//! its memory begins without a page. What else there is to tell depends on how many of them hold anything when the backup is
//! taken:
//!
//! - Few of them, as a rule: they are copied, and copied back when one of the memory's pages is to be restored (see [`few`]).
//! - Many: the backup lies in a file in memory, and the instance's memory becomes a private mapping of that file, so that a
//!   page is its own again when it is next written (see [`mapped`]).
//!
//! What was restored stays the instance's, so that the next run has no page to wait for.

mod few;
mod mapped;

use std::io;
use std::sync::OnceLock;

use self::few::Few;
use self::mapped::{Mapped, make_private};
use crate::guest::{Backup, Copy, wipe};
use crate::pagemap::{Region, private_pages};

/// How many regions the kernel tells at once, at most.
const REGIONS_MAX: usize = 512;

/// So many pages with anything in them are few: copying all of them takes 3 µs, and making a file of one 40.
const FEW: usize = 16;

/// See the module. Where the kernel doesn't tell, or has no memory for it, a copy of all.
#[derive(Default)]
pub(super) struct Tracked {
    few: Option<Few>,
    /// There is one as soon as there were many pages: the memory is a mapping of it then.
    mapped: Option<Mapped>,
    whole: Copy,
    /// Whether the backup is one, and not just room for it.
    is_taken: bool,
    regions: Regions,
}

/// Room for what the kernel tells.
#[derive(Default)]
struct Regions(Vec<Region>);

impl Regions {
    /// Calls `each` with the ranges of `memory`, and their offsets, that are its own pages, of no file.
    fn own(&mut self, memory: &mut [u8], mut each: impl FnMut(usize, &mut [u8])) -> io::Result<()> {
        if self.0.is_empty() {
            let most = memory.len() / page_len() / 2 + 1;
            self.0.resize(most.min(REGIONS_MAX), Region::default());
        }
        let start = memory.as_ptr().addr() as u64;
        private_pages(start, start + memory.len() as u64, &mut self.0, |region| {
            let (from, to) = ((region.start - start) as usize, (region.end - start) as usize);
            each(from, &mut memory[from..to]);
        })
    }

    /// Calls `each` with the ranges of `memory`, and their offsets, that may have been written: all of it, if the kernel
    /// doesn't tell.
    fn written(&mut self, memory: &mut [u8], mut each: impl FnMut(usize, &mut [u8])) {
        if self.own(memory, &mut each).is_err() {
            each(0, memory);
        }
    }
}

impl Tracked {
    /// Which pages of `memory` hold anything but zeros. Only its own are looked at, and those of the file that it was last a
    /// mapping of: the others were never there, and looking at them would make them.
    fn contents(&mut self, memory: &mut [u8]) -> io::Result<Vec<bool>> {
        let page_len = page_len();
        let mut pages = vec![false; memory.len() / page_len];
        let of_file = self.mapped.iter().flat_map(|mapped| mapped.pages());
        pages.iter_mut().zip(of_file).for_each(|(page, is_filed)| *page = *is_filed);
        self.regions.own(memory, |at, own| pages[at / page_len..][..own.len() / page_len].fill(true))?;
        for (page, holds) in memory.chunks_exact(page_len).zip(&mut pages) {
            *holds = *holds && !is_zero(page);
        }
        Ok(pages)
    }

    fn take_by_pages(&mut self, memory: &mut [u8]) -> io::Result<()> {
        let pages = self.contents(memory)?;
        if self.mapped.is_none() && pages.iter().filter(|holds| **holds).count() <= FEW {
            self.few = Some(Few::new(memory, &pages));
        } else {
            // An earlier one is wiped when it is dropped: the memory must be no mapping of it any more.
            self.mapped = Some(Mapped::new(memory, pages)?);
        }
        Ok(())
    }
}

impl Backup for Tracked {
    fn take(&mut self, memory: &mut [u8]) {
        self.is_taken = true;
        self.few = None;
        if let Some(mapped) = self.mapped.as_mut().filter(|mapped| mapped.is_of(memory)) {
            return mapped.renew(&mut self.regions, memory);
        }
        if self.take_by_pages(memory).is_err() {
            if self.mapped.is_some() {
                make_private(memory);
            }
            self.mapped = None;
            self.whole.take(memory);
        }
    }

    fn restore(&mut self, memory: &mut [u8]) -> bool {
        match self {
            Self { is_taken: false, .. } => false,
            Self { few: Some(few), regions, .. } => few.restore(regions, memory),
            Self { mapped: Some(mapped), regions, .. } => mapped.restore(regions, memory),
            Self { whole, .. } => whole.restore(memory),
        }
    }

    fn forget(&mut self, memory: &mut [u8]) {
        self.is_taken = false;
        self.few = None;
        self.whole.forget(memory);
        if let Some(mapped) = &mut self.mapped {
            mapped.forget(&mut self.regions, memory);
        }
    }

    fn wipe(&mut self, memory: &mut [u8]) {
        self.is_taken = false;
        self.few = None;
        self.whole.forget(memory);
        // Dropping it wipes the file: what is the memory's own is left.
        self.mapped = None;
        self.regions.written(memory, |_, own| wipe(own));
    }
}

fn page_len() -> usize {
    static PAGE_LEN: OnceLock<usize> = OnceLock::new();
    // SAFETY: it may be called anywhere.
    *PAGE_LEN.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096))
}

fn is_zero(page: &[u8]) -> bool {
    // By words, which the compiler makes wider ones of.
    // SAFETY: any bits are a valid number.
    let (before, words, after) = unsafe { page.align_to::<u64>() };
    words.iter().fold(0, |bits, word| bits | word) == 0 && before.iter().chain(after).all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::{ptr, slice};

    use super::mapped::{map, memory_file};
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

    fn file(tracked: &mut Tracked) -> &mut [u8] {
        tracked.mapped.as_mut().expect("Linux 6.7 or newer, with memory in files").file()
    }

    const OLD: u8 = 0x11;
    const NEW: u8 = 0x22;

    /// Few pages, and many.
    const SIZES: [usize; 2] = [8, FEW + 8];

    /// Pages of old bytes, but for the last, and a backup of them.
    fn taken(pages: &mut Pages) -> Tracked {
        let len = pages.bytes().len();
        pages.bytes()[..len - page_len()].fill(OLD);
        let mut tracked = Tracked::default();
        assert!(!tracked.restore(pages.bytes()), "there is none yet");
        tracked.take(pages.bytes());
        let is_few = len <= SIZES[0] * page_len();
        assert_eq!((tracked.few.is_some(), tracked.mapped.is_some()), (is_few, !is_few));
        tracked
    }

    #[test]
    fn what_was_written_is_what_is_restored() {
        for size in SIZES {
            let mut pages = Pages::new(size);
            let mut tracked = taken(&mut pages);
            let before = pages.bytes().to_vec();
            let page = page_len();
            for written in [0..1, 3 * page - 1..3 * page + 1, 7 * page..8 * page, 0..size * page, 0..0] {
                pages.bytes()[written].fill(NEW);
                assert!(tracked.restore(pages.bytes()));
                assert!(pages.bytes() == before);
            }
            assert!(!tracked.restore(&mut pages.bytes()[..page]), "it is of another length");
        }
    }

    #[test]
    fn pages_that_held_nothing_hold_nothing_again_wherever_they_are() {
        let page = page_len();
        for holding in [vec![], vec![0], vec![5], vec![1, 6], vec![3, 4]] {
            let mut pages = Pages::new(8);
            holding.iter().for_each(|at| pages.bytes()[at * page + 7] = OLD);
            let before = pages.bytes().to_vec();
            let mut tracked = Tracked::default();
            tracked.take(pages.bytes());
            for written in 0..8 {
                pages.bytes()[written * page..][..page].fill(NEW);
                assert!(tracked.restore(pages.bytes()) && pages.bytes() == before, "{holding:?}, {written}");
            }
        }
    }

    #[test]
    fn a_memory_that_has_grown_is_backed_up_with_what_it_shows_of_the_earlier_backup() {
        for size in SIZES {
            let mut pages = Pages::new(size);
            let mut tracked = Tracked::default();
            let page = page_len();
            pages.bytes()[..(size - 5) * page].fill(OLD);
            tracked.take(&mut pages.bytes()[..(size - 4) * page]);
            // Of these pages the memory has one of its own again; the others are the file's, if there is one.
            pages.bytes()[page] = NEW;
            pages.bytes()[(size - 2) * page..(size - 1) * page].fill(NEW);
            let before = pages.bytes().to_vec();
            tracked.take(pages.bytes());
            assert!(pages.bytes() == before);
            if size > FEW {
                assert!(file(&mut tracked) == before);
            }
            pages.bytes().fill(0x33);
            assert!(tracked.restore(pages.bytes()));
            assert!(pages.bytes() == before);
        }
    }

    #[test]
    fn few_pages_that_become_many_and_few_again_are_backed_up_each_time() {
        let mut pages = Pages::new(SIZES[1]);
        let mut tracked = Tracked::default();
        for (len, byte) in [(3, OLD), (FEW + 1, NEW), (SIZES[1], 0), (2, OLD)] {
            pages.bytes()[..len * page_len()].fill(byte);
            let before = pages.bytes().to_vec();
            tracked.forget(pages.bytes());
            tracked.take(pages.bytes());
            pages.bytes().fill(0x33);
            assert!(tracked.restore(pages.bytes()) && pages.bytes() == before, "{len}");
        }
    }

    #[test]
    fn a_backup_taken_again_is_of_what_is_there_then() {
        for size in SIZES {
            let mut pages = Pages::new(size);
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
    }

    #[test]
    fn what_a_forgotten_backup_alone_held_is_wiped_and_the_memory_is_as_it_was() {
        for size in SIZES {
            let mut pages = Pages::new(size);
            let mut tracked = taken(&mut pages);
            let page = page_len();
            pages.bytes()[page..2 * page].fill(NEW);
            let before = pages.bytes().to_vec();
            tracked.forget(pages.bytes());
            assert!(pages.bytes() == before && tracked.few.is_none());
            if size > FEW {
                assert!(file(&mut tracked)[page..2 * page].iter().all(|byte| *byte == 0));
                // Two keys later, no page of the file has the first one.
                tracked.take(pages.bytes());
                assert!(file(&mut tracked) == before);
            }
        }
    }

    #[test]
    fn in_the_end_memory_and_file_are_zeros() {
        for size in SIZES {
            let mut pages = Pages::new(size);
            let mut tracked = taken(&mut pages);
            pages.bytes()[page_len()] = NEW;
            tracked.wipe(pages.bytes());
            // What the memory doesn't own it shows of the file.
            assert!(pages.bytes().iter().all(|byte| *byte == 0));
        }
        let mut never_taken = Pages::new(2);
        never_taken.bytes().fill(NEW);
        Tracked::default().wipe(never_taken.bytes());
        assert!(never_taken.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn without_a_file_the_whole_is_copied_and_the_memory_stays_what_it_was() {
        let mut pages = Pages::new(SIZES[1]);
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
