//! What other threads ask of the supervisor's thread: a queue, and a bell that it can sleep on beside sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};

use rustix::event::{EventfdFlags, eventfd};

/// The supervisor's end. Dropped, it drops what waits in it.
pub(crate) struct Inbox<T> {
    queue: mpsc::Receiver<T>,
    /// Rings when there is something in it.
    bell: Arc<OwnedFd>,
}

/// The other threads' end.
pub(crate) struct Outbox<T> {
    queue: mpsc::Sender<T>,
    bell: Arc<OwnedFd>,
}

/// Both ends.
///
/// # Errors
/// No more descriptors.
pub(crate) fn inbox<T>() -> io::Result<(Inbox<T>, Outbox<T>)> {
    let (sender, receiver) = mpsc::channel();
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((Inbox { queue: receiver, bell: Arc::clone(&bell) }, Outbox { queue: sender, bell }))
}

impl<T> Inbox<T> {
    /// The next thing that waits, if any. Once there is none, [`AsFd::as_fd`] is readable when there is one again.
    pub fn next(&self) -> Option<T> {
        self.queue.try_recv().ok().or_else(|| {
            // First the bell, then another look: who rings in between is seen, or rings.
            let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
            self.queue.try_recv().ok()
        })
    }
}

impl<T> AsFd for Inbox<T> {
    /// Readable when something waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl<T> Outbox<T> {
    /// Puts it into the queue, and rings. If nobody takes it any more, it is dropped.
    pub fn put(&self, what: T) {
        let _ = self.queue.send(what);
        // A counter that is full is one that rings.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}
