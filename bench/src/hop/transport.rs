//! The two ends of a hop, whatever it goes through.

use crate::Result;

/// Records of a batch in the sustained form.
pub const BATCH: usize = 64;

/// Records that may be under way.
pub const CAPACITY: usize = 1024;

/// The end that publishes.
pub trait Sender {
    /// What may be done before a message is known, like a loan.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Publishes a message, and has the receiver see it.
    fn send(&mut self, message: &[u8]) -> Result<()>;

    /// Publishes a batch of messages of equal length that lie one after the other, while the receiver has acknowledged
    /// `acked()` of all.
    fn send_batch(&mut self, messages: &[u8], acked: &dyn Fn() -> u64) -> Result<()>;

    /// Takes note that the receiver has acknowledged so many of all. Not timed for a single message.
    fn settle(&mut self, _acked: u64) -> Result<()> {
        Ok(())
    }
}

/// The end that has payloads in private memory afterwards.
pub trait Receiver {
    /// Waits for at least one message of `len` bytes, and copies as many as there are and have room into `into`. How many.
    fn receive(&mut self, len: usize, into: &mut [u8]) -> Result<usize>;

    /// The sequence of message `i` of what was received last; none: they come in order.
    fn sequence_of(&self, _i: usize) -> Option<u64> {
        None
    }

    /// Is done with what was received last: how many messages from the first one on, without a gap, or none where there are
    /// no gaps. Not timed for a single message.
    fn settle(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}
