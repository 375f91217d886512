//! A module that takes too long where it can't be interrupted takes its process along: here the supervisor is told why.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// A worker's exit code when its extension had to be ended with the process.
pub(crate) const EXIT_CODE: i32 = 4;

/// The supervisor's socket; none yet.
static SOCKET: AtomicI32 = AtomicI32::new(-1);

/// Has what the engine says of an overdue module written to `socket`, which stays open as long as this process lives.
pub(crate) fn report_to(socket: RawFd) {
    SOCKET.store(socket, Ordering::Relaxed);
    extension_engine::on_overdue(end);
}

/// In a signal handler: system calls, and nothing else.
fn end(notice: &str) -> ! {
    let socket = SOCKET.load(Ordering::Relaxed);
    // SAFETY: it stays open (see `report_to`).
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    // The supervisor learns of the end, if not of the reason.
    let _ = rustix::io::write(socket, notice.as_bytes());
    // SAFETY: it may be called anywhere.
    unsafe { libc::_exit(EXIT_CODE) }
}
