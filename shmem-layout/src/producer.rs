//! The producer's end: claim, write, publish.

use crate::cells::Event;
use crate::clock;
use crate::failpoint::failpoint;
use crate::layout::slot;
use crate::protocol::Claimed;
use crate::ring::{Ring, WaitError};
use crate::stall::Watch;
use crate::state::Stage;
use crate::wait::Waiting;

/// A message to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its position in its source.
    pub position: u64,
    /// The signing method, as roles number it: the ring doesn't look at it.
    pub method: u32,
    /// When it should have been sent, in nanoseconds of the ring's clock.
    pub intended_ns: u64,
    /// The time now, by the same clock: the caller has just read it, and needn't have it read once more. Publishing that has
    /// to wait for a slot reads it again.
    pub now_ns: u64,
    /// The message.
    pub bytes: &'a [u8],
}

/// What to do when every slot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for the consumer.
    #[default]
    Wait,
    /// Fail with [`PublishError::Full`].
    Fail,
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Longer than a slot's message capacity.
    #[error("message of {len} bytes is longer than the ring's {capacity}")]
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes that a slot holds.
        capacity: usize,
    },
    /// The stream has ended.
    #[error("the ring is closed")]
    Closed,
    /// Every slot is taken, and the caller would not wait.
    #[error("the ring is full")]
    Full,
    /// Stopped while waiting, or the ring itself.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// A ring's producer, for one source.
pub struct Producer {
    ring: Ring,
    source: u16,
    watch: Watch,
}

impl Producer {
    pub(crate) fn new(ring: Ring, source: u16) -> Self {
        Self { ring, source, watch: Watch::default() }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The position that the source goes on from: 0 for a new one.
    pub fn resume_position(&self) -> u64 {
        self.ring.core.resume_position(self.source)
    }

    /// Claims a slot, writes the message into it and publishes it, without waking anybody: see [`Producer::flush`].
    /// The claim is held for no longer than the copy takes.
    ///
    /// # Errors
    /// The message was not published. What was published before it, was.
    pub fn publish(
        &mut self,
        message: &Message<'_>,
        when_full: WhenFull,
        waiting: &Waiting,
    ) -> Result<u64, PublishError> {
        let capacity = self.ring.cells().geometry.message_capacity;
        if message.bytes.len() > capacity {
            return Err(PublishError::TooLong { len: message.bytes.len(), capacity });
        }
        let mut written_ns = message.now_ns;
        let mut claimed = self.ring.core.claim_free(Stage::Writing, self.ring.me).map_err(WaitError::Ring)?;
        if claimed == Claimed::Full {
            // Who makes room may be waiting for what is not announced yet.
            self.flush();
            if when_full == WhenFull::Wait {
                claimed = self.ring.wait_for_slot(Stage::Writing, self.ring.me, waiting, &mut self.watch)?;
                written_ns = clock::now_ns();
            }
        }
        match claimed {
            Claimed::Sequence(sequence) => {
                self.write(sequence, message, written_ns);
                Ok(sequence)
            }
            Claimed::Closed => Err(PublishError::Closed),
            Claimed::Full => Err(PublishError::Full),
        }
    }

    fn write(&self, sequence: u64, message: &Message<'_>, written_ns: u64) {
        let slot = self.ring.cells().slot(sequence);
        slot.put(slot::POSITION, message.position);
        slot.put(slot::SOURCE_AND_METHOD, u64::from(message.method) << 32 | u64::from(self.source));
        slot.put(slot::MESSAGE_LEN, message.bytes.len() as u64);
        slot.put(slot::INTENDED_NS, message.intended_ns);
        slot.put(slot::WRITTEN_NS, written_ns);
        failpoint("publish: described");
        slot.store_message(message.bytes);
        failpoint("publish: written");
        self.ring.core.publish(sequence);
        failpoint("publish: published");
    }

    /// Wakes the signers if they sleep: once after each burst of messages.
    pub fn flush(&self) {
        self.ring.cells().notify(Event::Published);
        failpoint("publish: announced");
    }
}
