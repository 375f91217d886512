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

/// A slot that is its producer's until it is published or given up.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claimed slot that nobody publishes holds up the ring"]
pub struct SlotClaim {
    sequence: u64,
    has_waited: bool,
}

impl SlotClaim {
    /// The sequence that the message will have.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
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
        self.check_len(message.bytes.len())?;
        let claim = self.claim(when_full, waiting)?;
        let written_ns = if claim.has_waited { clock::now_ns() } else { message.now_ns };
        Ok(self.write(claim, message, written_ns))
    }

    /// Claims a slot ahead of its message, as Aeron's `tryClaim` does: what is left to be done when the message is known is
    /// [`Producer::publish_in`]. Between far cores that is two fifths of a lone message's way, for the signers poll the very
    /// line that a claim has to take from them.
    ///
    /// Not to be held while anything is waited for: everybody behind it waits as well, and nobody takes it away from a producer
    /// that lives.
    ///
    /// # Errors
    /// Nothing was claimed.
    pub fn claim(&mut self, when_full: WhenFull, waiting: &Waiting) -> Result<SlotClaim, PublishError> {
        let mut claimed = self.ring.core.claim_free(Stage::Writing, self.ring.me).map_err(WaitError::Ring)?;
        let has_waited = claimed == Claimed::Full && when_full == WhenFull::Wait;
        if claimed == Claimed::Full {
            // Who makes room may be waiting for what is not announced yet.
            self.flush();
        }
        if has_waited {
            claimed = self.ring.wait_for_slot(Stage::Writing, self.ring.me, waiting, &mut self.watch)?;
        }
        match claimed {
            Claimed::Sequence(sequence) => Ok(SlotClaim { sequence, has_waited }),
            Claimed::Closed => Err(PublishError::Closed),
            Claimed::Full => Err(PublishError::Full),
        }
    }

    /// Writes the message into a claimed slot and publishes it, without waking anybody. Its sequence.
    ///
    /// # Errors
    /// The message is too long; the slot is given up as by [`Producer::abandon`].
    pub fn publish_in(&mut self, claim: SlotClaim, message: &Message<'_>) -> Result<u64, PublishError> {
        if let Err(error) = self.check_len(message.bytes.len()) {
            self.abandon(claim);
            return Err(error);
        }
        Ok(self.write(claim, message, message.now_ns))
    }

    /// Gives up a claimed slot without a message: its sequence is void, and the consumer passes over it.
    pub fn abandon(&mut self, claim: SlotClaim) {
        self.ring.core.give_up(claim.sequence);
        self.ring.cells().notify(Event::Signed);
    }

    fn check_len(&self, len: usize) -> Result<(), PublishError> {
        let capacity = self.ring.cells().geometry.message_capacity;
        if len > capacity { Err(PublishError::TooLong { len, capacity }) } else { Ok(()) }
    }

    fn write(&self, claim: SlotClaim, message: &Message<'_>, written_ns: u64) -> u64 {
        let sequence = claim.sequence;
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
        sequence
    }

    /// Wakes the signers if they sleep: once after each burst of messages.
    pub fn flush(&self) {
        self.ring.cells().notify(Event::Published);
        failpoint("publish: announced");
    }
}
