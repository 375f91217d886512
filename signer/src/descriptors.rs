//! Descriptors that a process hands to another at its start, by number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

/// Adds `--flag NUMBER` to `command`, whose process will have `descriptor` under that number. No other child gets
/// it: it loses its close-on-exec in the child alone.
pub(crate) fn hand_on(command: &mut Command, flag: &str, descriptor: OwnedFd) {
    command.arg(flag).arg(descriptor.as_raw_fd().to_string());
    let keep_open = move || Ok(fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?);
    // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
    unsafe { command.pre_exec(keep_open) };
}

/// Takes the descriptor that was handed to this process under `number`: one that is open, and is not close-on-exec,
/// as are those that this process opens, or has taken already. Standard input is duplicated.
///
/// # Errors
/// There is no such descriptor.
pub(crate) fn take(number: RawFd) -> io::Result<OwnedFd> {
    match number {
        0 => return io::stdin().as_fd().try_clone_to_owned(),
        1 | 2 => return Err(io::Error::other("it is standard output or standard error")),
        _ if number < 0 => return Err(Errno::BADF.into()),
        _ => {}
    }
    // SAFETY: borrowed for one system call, which only asks whether it is open, and how.
    if fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::other("it was not handed to this process"));
    }
    // SAFETY: it is open, and nothing else in this process knows of it, for that would be close-on-exec.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}
