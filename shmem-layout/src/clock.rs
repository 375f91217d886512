//! The one clock of a ring, and the identity of the boot that it counts from.

use std::io;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The kernel's identity of this boot.
///
/// # Errors
/// `/proc` is not there or holds something else.
pub(crate) fn boot_id() -> io::Result<[u8; 16]> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    static KNOWN: OnceLock<[u8; 16]> = OnceLock::new();
    if let Some(id) = KNOWN.get() {
        return Ok(*id);
    }
    let text = std::fs::read_to_string(PATH)?;
    let digits: Vec<u8> = text.trim().bytes().filter(|b| *b != b'-').collect();
    let id = std::str::from_utf8(&digits).ok().and_then(|hex| u128::from_str_radix(hex, 16).ok());
    let id = id.ok_or_else(|| io::Error::other(format!("{PATH} holds no UUID")))?;
    Ok(*KNOWN.get_or_init(|| id.to_be_bytes()))
}
