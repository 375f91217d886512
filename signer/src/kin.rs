//! What the supervisor's children have in common: they are this very program, executed again, and their lives are tied to
//! its.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::{descriptors, orders, overdue};

/// How much everybody else goes before what is made ready beside their work.
pub(crate) const NICENESS: i32 = 10;

/// Starts `signer SUBCOMMAND`, with what `more` adds to it, and returns it with the supervisor's end of a socket to it.
///
/// # Errors
/// There is no process to be had.
pub(crate) fn start(
    subcommand: &str,
    more: impl FnOnce(&mut Command) -> io::Result<()>,
) -> io::Result<(Child, UnixStream)> {
    let (socket, theirs) = UnixStream::pair()?;
    orders::bound_writes(&socket)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("signer").arg(subcommand).args(["--supervisor", &std::process::id().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    more(&mut command)?;
    descriptors::hand_on(&mut command, "--control", theirs.into());
    // The command goes with our copy of the child's end, so that there is an end when the child dies.
    Ok((command.spawn()?, socket))
}

/// Takes the socket that the supervisor hands on, and ties this process's life to the supervisor's.
///
/// The kernel kills us when the supervisor's main thread ends, so that nothing that we do or wait for, an extension
/// that never returns included, keeps us. The records in a worker's hands are then another signer's to take. A supervisor
/// that was gone before we asked for that is nobody's parent any more. (The end of its socket would not tell: a sibling that
/// it was about to start may hold a copy for a while.)
///
/// # Errors
/// There is no such socket, or no such supervisor.
pub(crate) fn attach(control: RawFd, supervisor: i32) -> io::Result<UnixStream> {
    let control = UnixStream::from(descriptors::take(control)?);
    overdue::report_to(control.as_raw_fd());
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if Pid::as_raw(getppid()) != supervisor {
        return Err(io::Error::other("its supervisor is gone"));
    }
    Ok(control)
}

/// Whether there is something to hear on `socket`, its end included.
pub(crate) fn has_spoken(socket: &UnixStream) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&now)), Ok(1))
}
