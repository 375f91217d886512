//! A backup of few pages: a copy of each.

use super::{Regions, page_len};
use crate::guest::wipe;

/// The pages of a memory that held anything, all of which were its own. The others were zeros.
pub(super) struct Few {
    /// The length of the memory, in bytes.
    len: usize,
    /// Where the pages are in the memory, in order.
    places: Vec<usize>,
    /// What they held: one allocation, for it has the key in it.
    bytes: Box<[u8]>,
}

impl Few {
    /// Copies those of `memory`'s pages that `holds` says hold anything.
    pub fn new(memory: &[u8], holds: &[bool]) -> Self {
        let page_len = page_len();
        let places =
            (0..holds.len()).filter(|page| holds[*page]).map(|page| page * page_len).collect::<Vec<_>>();
        let mut bytes = Vec::with_capacity(places.len() * page_len);
        places.iter().for_each(|at| bytes.extend_from_slice(&memory[*at..][..page_len]));
        Self { len: memory.len(), places, bytes: bytes.into() }
    }

    /// Makes `memory` what it was. False if it isn't as long as it was.
    pub fn restore(&self, regions: &mut Regions, memory: &mut [u8]) -> bool {
        if memory.len() != self.len {
            return false;
        }
        let page_len = page_len();
        regions.written(memory, |from, written| {
            for (at, page) in (from..).step_by(page_len).zip(written.chunks_exact_mut(page_len)) {
                match self.places.binary_search(&at) {
                    Ok(place) => page.copy_from_slice(&self.bytes[place * page_len..][..page_len]),
                    Err(_) => page.fill(0),
                }
            }
        });
        true
    }
}

impl Drop for Few {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_dropped_copy_is_wiped() {
        let memory = vec![0x5e; 2 * page_len()];
        let few = Few::new(&memory, &[true, true]);
        let at = few.bytes.as_ptr().addr() as u64;
        // As the kernel has it, for it is nobody's afterwards. Not its head, where the allocator may write.
        let held = || {
            let mut held = vec![0; page_len()];
            std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut held, at + 512).unwrap();
            held
        };
        assert!(held().iter().all(|byte| *byte == 0x5e), "it would be seen");
        drop(few);
        assert!(!held().contains(&0x5e));
    }
}
