//! Failpoints that do something.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::process::{Signal, getpid, kill_process};

use crate::layout::PAGE;

/// What the environment asks for: each step, and the how manieth time of it.
static ARMED: LazyLock<HashMap<String, u64>> = LazyLock::new(|| {
    let list = env::var("RINGSEAL_FAILPOINTS").unwrap_or_default();
    let step = |text: &str| match text.split_once('@') {
        Some((step, nth)) => (step.to_owned(), nth.parse().unwrap_or(1)),
        None => (text.to_owned(), 1),
    };
    list.split(';').filter(|text| !text.is_empty()).map(step).collect()
});

static PASSED: LazyLock<Mutex<HashMap<&'static str, u64>>> = LazyLock::new(Mutex::default);

/// A step at which this process may be made to die.
pub fn failpoint(step: &'static str) {
    let Some(nth) = ARMED.get(step) else { return };
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let times = passed.entry(step).or_default();
    *times += 1;
    if *times == *nth && burn_fuse(step) {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal may take a moment; nothing may happen in it.
        loop {
            std::thread::park();
        }
    }
}

/// Whether this is the first process to die at `step`.
fn burn_fuse(step: &str) -> bool {
    let folder = env::var_os("RINGSEAL_FUSES").map(PathBuf::from).unwrap_or_default();
    File::create_new(folder.join(step.replace([' ', ':'], "-"))).is_ok()
}

/// Keeps this process from touching the whole pages in `bytes` bytes at `base`, or lets it again.
///
/// # Panics
/// If the kernel refuses: a test that protects nothing would prove nothing.
pub(crate) fn protect_pages(base: *const u8, bytes: usize, is_protected: bool) {
    static IS_ASKED_FOR: LazyLock<bool> = LazyLock::new(|| env::var_os("RINGSEAL_PROTECT").is_some());
    let start = (base as usize).next_multiple_of(PAGE);
    let end = (base as usize + bytes) / PAGE * PAGE;
    if !*IS_ASKED_FOR || start >= end {
        return;
    }
    let access = if is_protected { libc::PROT_NONE } else { libc::PROT_READ | libc::PROT_WRITE };
    // SAFETY: whole pages of a mapping that is alive while it is used. Who touches them meanwhile dies of it, which is what
    // this is for; no memory of Rust's is in them.
    let rc = unsafe { libc::mprotect(start as *mut libc::c_void, end - start, access) };
    assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
}
