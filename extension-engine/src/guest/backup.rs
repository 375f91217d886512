//! A copy of an instance's memory, to go back to.

use zeroize::Zeroize;

/// What an instance's memory was. It holds the key.
pub(crate) trait Backup: Default + Send {
    /// Takes a backup of `memory`, in the place of an earlier one.
    fn take(&mut self, memory: &mut [u8]);

    /// Makes `memory` what it was. False, and nothing done, if there is no backup or the memory isn't as long as it was.
    fn restore(&mut self, memory: &mut [u8]) -> bool;

    /// Wipes the backup, of which there is then none; `memory` stays as it is.
    fn forget(&mut self, memory: &mut [u8]);

    /// Wipes both.
    fn wipe(&mut self, memory: &mut [u8]) {
        self.forget(memory);
        wipe(memory);
    }
}

/// Zeroes `bytes`, by words: whoever does it byte by byte takes eight times as long, for a compiler may not join what must not
/// be left out.
pub(crate) fn wipe(bytes: &mut [u8]) {
    // SAFETY: any bits are a valid number.
    let (before, words, after) = unsafe { bytes.align_to_mut::<u64>() };
    before.zeroize();
    words.zeroize();
    after.zeroize();
}

/// A copy of all of it.
#[derive(Default)]
pub(crate) struct Copy {
    bytes: Vec<u8>,
}

impl Backup for Copy {
    fn take(&mut self, memory: &mut [u8]) {
        // Before it grows: a vector that moves leaves its bytes behind.
        wipe(&mut self.bytes);
        self.bytes.clear();
        self.bytes.extend_from_slice(memory);
    }

    fn restore(&mut self, memory: &mut [u8]) -> bool {
        let fits = !self.bytes.is_empty() && self.bytes.len() == memory.len();
        if fits {
            memory.copy_from_slice(&self.bytes);
        }
        fits
    }

    fn forget(&mut self, _memory: &mut [u8]) {
        wipe(&mut self.bytes);
        self.bytes.clear();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}
