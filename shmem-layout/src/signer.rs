//! The signer's end: claim, read once, answer in place.

use crate::cells::Event;
use crate::failpoint::{failpoint, protect_pages};
use crate::layout::slot;
use crate::protocol::{Claim, Core, Found};
use crate::ring::{Ring, WaitError, WaitsFor};
use crate::stall::Watch;
use crate::state::{Owner, Stage};
use crate::wait::Waiting;

/// What the producer wrote beside a message: an allegation, bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The signing method, as roles number it.
    pub method: u32,
    /// Bytes of message, not above the ring's capacity for it.
    pub message_len: usize,
    /// When the record was due, in nanoseconds of the ring's clock: whatever the producer says, the future included.
    pub intended_ns: u64,
}

/// What a signer answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// 0 for a signature; else why there is none, as roles number it.
    pub status: i32,
    /// The signature.
    pub signature: &'a [u8],
    /// When the record was claimed, in nanoseconds of the ring's clock.
    pub claimed_ns: u64,
    /// When it was signed.
    pub signed_ns: u64,
    /// The first eight bytes of the signing module's SHA-256; 0 for none.
    pub module_id: u64,
    /// Which of the modules, counted up at each swap.
    pub generation: u32,
    /// The runtime, as roles number it.
    pub runtime: u32,
}

/// What [`Signer::claim`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// At least one claim was added to the batch.
    Some,
    /// The stream has ended and every record of it is answered.
    Drained,
}

/// One of a ring's signers.
pub struct Signer {
    ring: Ring,
    /// Claims that are neither answered nor given back.
    held: u64,
    watch: Watch,
}

impl Signer {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, held: 0, watch: Watch::default() }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Claims up to `max` records, waiting for the first, and adds them to `batch`.
    ///
    /// # Errors
    /// Stopped while waiting, a stall (of a stream that has ended), or the ring itself.
    pub fn claim(
        &mut self,
        max: usize,
        batch: &mut Vec<Claim>,
        waiting: &Waiting,
    ) -> Result<Claims, WaitError> {
        self.claim_while(max, batch, waiting, |_| ())
    }

    /// As [`claim`](Self::claim); `idle` is called every 10 to 20 ms while it waits.
    ///
    /// # Errors
    /// As there.
    pub fn claim_while(
        &mut self,
        max: usize,
        batch: &mut Vec<Claim>,
        waiting: &Waiting,
        mut idle: impl FnMut(&Ring),
    ) -> Result<Claims, WaitError> {
        let before = batch.len();
        let attempt = || match self.ring.core.claim_written(self.ring.me, max, batch) {
            Ok(Found::Claims) => Some(Ok(Claims::Some)),
            Ok(Found::Drained) => Some(Ok(Claims::Drained)),
            Ok(Found::Nothing) => None,
            Err(error) => Some(Err(error.into())),
        };
        // Who holds no claim owns no slot: one that bears our name was forged, and is taken over like a dead member's.
        let holder = if self.held == 0 { Owner::NOBODY } else { self.ring.me };
        let record = WaitsFor { event: Event::Published, holder, pending: &Core::pending_drain };
        let idle = || {
            idle(&self.ring);
            None
        };
        let found = self.ring.wait(&record, waiting, &mut self.watch, attempt, idle);
        self.held += (batch.len() - before) as u64;
        found
    }

    /// What the producer asked for.
    pub fn request(&self, claim: &Claim) -> Request {
        let cells = self.ring.cells();
        let slot = cells.slot(claim.sequence);
        let message_len = slot.get(slot::MESSAGE_LEN).min(cells.geometry.message_capacity as u64) as usize;
        let method = (slot.get(slot::SOURCE_AND_METHOD) >> 32) as u32;
        Request { method, message_len, intended_ns: slot.get(slot::INTENDED_NS) }
    }

    /// Copies the message into private memory: once, for whoever reads it twice may read two messages, and a nonce
    /// made for the one and a challenge made for the other give the key away.
    ///
    /// # Panics
    /// If `into` is longer than the ring's message capacity.
    pub fn copy_message(&self, claim: &Claim, into: &mut [u8]) {
        let cells = self.ring.cells();
        assert!(into.len() <= cells.geometry.message_capacity, "longer than a slot's message");
        cells.slot(claim.sequence).load_message(into);
        self.protect_message(claim.sequence, true);
        failpoint("sign: copied");
    }

    /// Writes the answer beside the message and publishes it, without waking anybody: see [`Signer::flush`].
    ///
    /// # Panics
    /// If the signature is longer than the ring's signature capacity.
    pub fn answer(&mut self, claim: Claim, answer: &Answer<'_>) {
        let cells = self.ring.cells();
        assert!(
            answer.signature.len() <= cells.geometry.signature_capacity,
            "longer than a slot's signature"
        );
        let slot = cells.slot(claim.sequence);
        slot.put(slot::CLAIMED_NS, answer.claimed_ns);
        slot.put(slot::SIGNED_NS, answer.signed_ns);
        slot.put(slot::MODULE_ID, answer.module_id);
        slot.put(
            slot::GENERATION_AND_RUNTIME,
            u64::from(answer.runtime) << 32 | u64::from(answer.generation),
        );
        let status = u64::from(answer.status.cast_unsigned());
        slot.put(slot::STATUS_AND_SIGNATURE_LEN, (answer.signature.len() as u64) << 32 | status);
        failpoint("sign: described");
        slot.store_signature(answer.signature);
        failpoint("sign: written");
        self.protect_message(claim.sequence, false);
        let stage = if answer.status == 0 { Stage::Signed } else { Stage::Failed };
        self.ring.core.answer(claim, stage, self.ring.me);
        self.held -= 1;
        failpoint("sign: answered");
    }

    /// Gives a claimed record to the next signer, as if it had not been claimed.
    pub fn give_back(&mut self, claim: Claim) {
        self.protect_message(claim.sequence, false);
        self.ring.core.give_back(claim);
        self.held -= 1;
        self.ring.cells().notify(Event::Published);
    }

    /// Wakes the consumer if it sleeps: once after each batch.
    pub fn flush(&self) {
        self.ring.cells().notify(Event::Signed);
        failpoint("sign: announced");
    }

    /// For a test that has this process die if it reads a message twice.
    fn protect_message(&self, sequence: u64, is_protected: bool) {
        let cells = self.ring.cells();
        protect_pages(cells.slot(sequence).message(), cells.geometry.message_capacity, is_protected);
    }
}
