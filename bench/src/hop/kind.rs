//! What a record can go through from one process to the other.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use shmem_layout::WaitStrategy;

use crate::Result;
use crate::hop::drive::{Drive, Driver, serve};
use crate::hop::floor::Floor;
use crate::hop::iceoryx::{Publishing, Subscribing};
use crate::hop::ringseal::{Claimer, Publisher, make_ring};
use crate::hop::stream::Stream;
use crate::process::Peer;

/// The way that a contender goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Floor`].
    Floor,
    /// Ringseal's ring.
    Ringseal(WaitStrategy, Manner),
    /// iceoryx2; whether a lone message's sample is loaned ahead.
    Iceoryx(bool),
    /// A pair of Unix sockets; whether it is polled.
    Socket(bool),
    /// A pipe; whether it is polled.
    Pipe(bool),
}

/// How Ringseal's ring is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A lone message's slot is claimed before the message is known; the sender's process frees.
    Ahead,
    /// As by [`shmem_layout::Producer::publish`]: a claim, a copy, and it is published. The sender's process frees.
    Whole,
    /// The same, but the receiver's process frees.
    FreedByReceiver,
}

impl Kind {
    /// All of them, in the report's order.
    pub const ALL: [Self; 12] = [
        Self::Floor,
        Self::Ringseal(WaitStrategy::Spin, Manner::Ahead),
        Self::Ringseal(WaitStrategy::Adaptive, Manner::Ahead),
        Self::Iceoryx(true),
        Self::Ringseal(WaitStrategy::Spin, Manner::Whole),
        Self::Ringseal(WaitStrategy::Spin, Manner::FreedByReceiver),
        Self::Ringseal(WaitStrategy::Block, Manner::Whole),
        Self::Iceoryx(false),
        Self::Socket(true),
        Self::Socket(false),
        Self::Pipe(true),
        Self::Pipe(false),
    ];

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ringseal(WaitStrategy::Spin, Manner::Ahead) => "ringseal spin",
            Self::Ringseal(WaitStrategy::Spin, Manner::Whole) => "ringseal spin, with the claim",
            Self::Ringseal(WaitStrategy::Spin, Manner::FreedByReceiver) => {
                "ringseal spin, with the claim, the receiver frees"
            }
            Self::Ringseal(WaitStrategy::Adaptive, _) => "ringseal adaptive",
            Self::Ringseal(WaitStrategy::Block, _) => "ringseal block, with the claim",
            Self::Ringseal(WaitStrategy::Yield, _) => "ringseal yield",
            Self::Iceoryx(true) => "iceoryx2",
            Self::Iceoryx(false) => "iceoryx2, with the loan",
            Self::Socket(true) => "unix socket, polled",
            Self::Socket(false) => "unix socket",
            Self::Pipe(true) => "pipe, polled",
            Self::Pipe(false) => "pipe",
        }
    }

    /// Whether its receiver sleeps between records.
    pub const fn sleeps(self) -> bool {
        matches!(self, Self::Ringseal(WaitStrategy::Block, _) | Self::Socket(false) | Self::Pipe(false))
    }

    /// Whether it does in batches what another one of the list does.
    pub const fn repeats_sustained(self) -> bool {
        matches!(self, Self::Ringseal(WaitStrategy::Spin, Manner::Whole) | Self::Iceoryx(false))
    }

    /// Both ends: the sender here, the receiver in a process of its own on `core`.
    pub fn open(self, folder: &Path, len: usize, core: usize) -> Result<(Box<dyn Drive>, Peer)> {
        match self {
            Self::Floor => {
                let peer = self.receiver(folder, len, core, None)?;
                Ok((Driver::boxed(Floor::open(folder, "floor", len, false)?, folder, len)?, peer))
            }
            Self::Ringseal(strategy, manner) => {
                make_ring(folder, len)?;
                let sender = Publisher::join(folder, strategy, len, manner)?;
                Ok((Driver::boxed(sender, folder, len)?, self.receiver(folder, len, core, None)?))
            }
            Self::Iceoryx(ahead) => {
                let sender: Box<dyn Drive> = match len {
                    64 => Driver::boxed(Publishing::<64>::open(folder, ahead)?, folder, len)?,
                    256 => Driver::boxed(Publishing::<256>::open(folder, ahead)?, folder, len)?,
                    _ => return Err("made for 64 and 256 bytes".into()),
                };
                Ok((sender, self.receiver(folder, len, core, None)?))
            }
            Self::Socket(polls) => {
                let (ours, theirs) =
                    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
                let peer = self.receiver(folder, len, core, Some(&theirs))?;
                Ok((Driver::boxed(Stream::over(ours, polls)?, folder, len)?, peer))
            }
            Self::Pipe(polls) => {
                let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                let peer = self.receiver(folder, len, core, Some(&theirs))?;
                Ok((Driver::boxed(Stream::over(ours, polls)?, folder, len)?, peer))
            }
        }
    }

    fn receiver(self, folder: &Path, len: usize, core: usize, end: Option<&OwnedFd>) -> Result<Peer> {
        let mut command = Command::new(std::env::current_exe()?);
        let index = Self::ALL.iter().position(|kind| *kind == self).ok_or("one of the list")?;
        command.args(["role", "hop-receiver"]).arg(folder);
        command.args([index, len, core].map(|number| number.to_string()));
        if let Some(end) = end {
            // Given on as it is; the one that this process keeps meanwhile is closed with `end`.
            let end = rustix::io::dup(end)?;
            command.arg(end.as_raw_fd().to_string());
            let mut peer = Peer::start_command(self.name(), &mut command)?;
            peer.hear::<String>()?;
            return Ok(peer);
        }
        let mut peer = Peer::start_command(self.name(), &mut command)?;
        peer.hear::<String>()?;
        Ok(peer)
    }

    /// The receiver's process: `FOLDER INDEX LEN CORE [DESCRIPTOR]`.
    pub fn receive(
        folder: &Path,
        index: usize,
        len: usize,
        core: usize,
        descriptor: Option<i32>,
    ) -> Result<()> {
        crate::clock::pin(core)?;
        let kind = *Self::ALL.get(index).ok_or("no such kind")?;
        let descriptor = || descriptor.ok_or("a stream's end is missing");
        match kind {
            Self::Floor => serve(Floor::open(folder, "floor", len, false)?, folder, len),
            Self::Ringseal(strategy, manner) => {
                let frees = manner == Manner::FreedByReceiver;
                serve(Claimer::join(folder, strategy, frees)?, folder, len)
            }
            Self::Iceoryx(_) if len == 64 => serve(Subscribing::<64>::open(folder)?, folder, len),
            Self::Iceoryx(_) => serve(Subscribing::<256>::open(folder)?, folder, len),
            Self::Socket(polls) | Self::Pipe(polls) => {
                serve(Stream::inherited(descriptor()?, polls)?, folder, len)
            }
        }
    }
}
