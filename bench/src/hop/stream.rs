//! What the kernel offers: a pair of Unix sockets, and a pipe.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, fcntl_getfd, read, write};

use crate::Result;
use crate::hop::shared::poll;
use crate::hop::transport::{Receiver, Sender};

/// An end of a stream of messages of one length.
pub struct Stream {
    end: OwnedFd,
    /// What the last read has left of a message.
    rest: Vec<u8>,
    /// Whether to poll instead of sleeping in the kernel.
    polls: bool,
}

impl Stream {
    /// Over a descriptor that this process was started with.
    pub fn inherited(descriptor: RawFd, polls: bool) -> Result<Self> {
        // SAFETY: borrowed for this check alone.
        fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) })?;
        // SAFETY: it is open, and was given to this process to own it.
        Self::over(unsafe { OwnedFd::from_raw_fd(descriptor) }, polls)
    }

    /// Over an end of ours.
    pub fn over(end: OwnedFd, polls: bool) -> Result<Self> {
        if polls {
            let flags = rustix::fs::fcntl_getfl(&end)? | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&end, flags)?;
        }
        Ok(Self { end, rest: Vec::new(), polls })
    }

    fn read(&self, into: &mut [u8]) -> Result<usize> {
        let attempt = || match read(self.end.as_fd(), &mut *into) {
            Err(Errno::AGAIN) => None,
            Err(Errno::INTR) => None,
            outcome => Some(outcome),
        };
        match poll(attempt)?? {
            0 => Err("the other process has closed the stream".into()),
            count => Ok(count),
        }
    }
}

impl Sender for Stream {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let mut rest = message;
        while !rest.is_empty() {
            match write(self.end.as_fd(), rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::AGAIN) if self.polls => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn send_batch(&mut self, messages: &[u8], _acked: &dyn Fn() -> u64) -> Result<()> {
        self.send(messages)
    }
}

impl Receiver for Stream {
    #[inline]
    fn receive(&mut self, len: usize, into: &mut [u8]) -> Result<usize> {
        let mut filled = self.rest.len();
        into[..filled].copy_from_slice(&self.rest);
        while filled < len {
            filled += self.read(&mut into[filled..])?;
        }
        let count = filled / len;
        self.rest.clear();
        self.rest.extend_from_slice(&into[count * len..filled]);
        Ok(count)
    }
}
