//! What a computation with a secret leaves on the stack.

use std::hint::black_box;
use std::mem::MaybeUninit;

/// Bytes that are wiped: the schemes use 34 KiB, and a runtime some more around them.
const WIPED_LEN: usize = 128 * 1024;

/// Does `work`, and wipes the stack that it has used: moves of a secret leave copies there, which nobody's destructor
/// knows of. Takes some µs, so it is for installing a key, not for each batch.
#[inline(never)]
pub fn wiping_stack<T>(work: impl FnOnce() -> T) -> T {
    let result = call(work);
    wipe();
    result
}

/// Not inlined: its frames must lie where those of [`wipe`] will.
#[inline(never)]
fn call<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut room = [MaybeUninit::<u64>::uninit(); WIPED_LEN / size_of::<u64>()];
    for word in &mut room {
        // SAFETY: it is a place of our own. Volatile, since nobody will read what is written.
        unsafe { word.as_mut_ptr().write_volatile(0) };
    }
    black_box(&room);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves its word on the stack, some frames below, and says where.
    #[inline(never)]
    fn leave(depth: u32) -> usize {
        let mut words = [0x5EC2_E75E_C2E7_u64; 64];
        black_box(&mut words);
        if depth == 0 { black_box(&words).as_ptr().addr() } else { leave(depth - 1) }
    }

    /// Reads own memory as the kernel has it, for the words are nobody's any more.
    fn word_at(address: usize) -> u64 {
        use std::os::unix::fs::FileExt;
        let mut word = [0; 8];
        std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut word, address as u64).unwrap();
        u64::from_ne_bytes(word)
    }

    #[test]
    fn what_work_has_left_far_down_the_stack_is_gone() {
        assert_eq!(word_at(leave(100)), 0x5EC2_E75E_C2E7, "the word would be seen");
        assert_eq!(word_at(wiping_stack(|| leave(100))), 0);
    }
}
