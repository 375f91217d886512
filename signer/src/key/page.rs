//! The memory that a secret key is kept in: a page of its own, which goes nowhere.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};
use zeroize::Zeroize;

/// What is asked for; the kernel gives whole pages.
const PAGE_LEN: usize = 4096;

/// The key's 32 bytes at the start of a page of their own. The page is no part of a core file and of no child, is kept
/// out of the swap space where that is allowed, and is wiped before it is given back.
pub(super) struct Page {
    map: MmapMut,
    is_locked: bool,
}

impl Page {
    /// A page of zeros.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> io::Result<Self> {
        let map = MmapMut::map_anon(PAGE_LEN)?;
        map.advise(Advice::DontDump)?;
        // Between fork and exec a child has all that its parent has: but for this.
        map.advise(Advice::DontFork)?;
        // A user may have no memory left to lock (RLIMIT_MEMLOCK): the key serves in a page that can be swapped, too.
        let is_locked = map.lock().is_ok();
        Ok(Self { map, is_locked })
    }

    /// Whether it stays in memory.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }
}

impl Deref for Page {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        let (bytes, _) = self.map.as_chunks();
        &bytes[0]
    }
}

impl DerefMut for Page {
    fn deref_mut(&mut self) -> &mut [u8; 32] {
        let (bytes, _) = self.map.as_chunks_mut();
        &mut bytes[0]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Also what lies behind the key, should anybody ever have written there.
        self.map.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What the kernel says of the mapping that begins at `address`.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&format!("{address:08x}-")));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"));
        flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_page_is_alone_locked_and_neither_dumped_nor_inherited() {
        let page = Page::new().unwrap();
        let flags = flags_at(page.map.as_ptr() as usize);
        let has = |flag: &str| flags.iter().any(|found| found == flag);
        assert!(has("dd") && has("dc"), "dump and fork: {flags:?}");
        assert_eq!(has("lo"), page.is_locked(), "{flags:?}");
    }

    #[test]
    fn a_dropped_page_was_wiped() {
        let mut page = Page::new().unwrap();
        page.fill(0x5e);
        page.zeroize();
        assert_eq!(*page, [0; 32]);
    }
}
