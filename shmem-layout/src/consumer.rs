//! The consumer's end: read in sequence, answer for, free.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cells::Event;
use crate::failpoint::failpoint;
use crate::layout::{SOURCES, slot};
use crate::protocol::{Core, RingError};
use crate::ring::{Ring, WaitError, WaitsFor};
use crate::source;
use crate::stall::Watch;
use crate::state::{Owner, Stage, State};
use crate::wait::Waiting;

/// What stands beside a record's message and signature: allegations of producer and signer, bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its sequence in the ring.
    pub sequence: u64,
    /// The index of its source, below [`SOURCES`].
    pub source: u16,
    /// Its position in its source.
    pub position: u64,
    /// The signing method, as roles number it.
    pub method: u32,
    /// How many signers died with it in hand.
    pub attempts: u8,
    /// 0 for a signature; else why there is none, as roles number it.
    pub status: i32,
    /// Whether it was answered as failed because signers died with it, and by no signer.
    pub is_exhausted: bool,
    /// When it should have been sent, in nanoseconds of the ring's clock, as the other times.
    pub intended_ns: u64,
    /// When it was written.
    pub written_ns: u64,
    /// When a signer claimed it.
    pub claimed_ns: u64,
    /// When it was signed.
    pub signed_ns: u64,
    /// The first eight bytes of the signing module's SHA-256; 0 for none.
    pub module_id: u64,
    /// Which of the modules.
    pub generation: u32,
    /// The runtime, as roles number it.
    pub runtime: u32,
}

/// What the ring holds at a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A record: signed if its status is 0, failed otherwise.
    Record(Record),
    /// Nothing: its producer died while writing. To be freed like a record.
    Void,
    /// The end of the stream.
    Closed,
}

/// A ring's one consumer.
///
/// Reading and freeing take `&self`, so that one thread may read ahead of another that frees. There may be one
/// of each, and each goes in sequence.
pub struct Consumer {
    ring: Ring,
    /// The reader's alone, and locked only while it waits.
    watch: Mutex<Watch>,
}

impl Consumer {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, watch: Mutex::default() }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The first sequence that was not freed: where a consumer begins.
    pub fn first_unfreed(&self) -> u64 {
        self.ring.core.first_unfreed()
    }

    /// What is at `sequence`, if it is answered by now. Message and signature are copied, once, to the ends of the
    /// given buffers, which need not be empty.
    ///
    /// # Errors
    /// A damaged ring.
    pub fn try_read(
        &self,
        sequence: u64,
        message: &mut Vec<u8>,
        signature: &mut Vec<u8>,
    ) -> Result<Option<Delivery>, RingError> {
        Ok(self.ring.core.answered(sequence)?.map(|(stage, state)| match stage {
            Stage::Closed => Delivery::Closed,
            Stage::Void => Delivery::Void,
            _ => Delivery::Record(self.copy(sequence, state, message, signature)),
        }))
    }

    /// As [`Consumer::try_read`], waiting for about `limit` at most.
    ///
    /// # Errors
    /// Stopped while waiting, a stall, or a damaged ring.
    pub fn read(
        &self,
        sequence: u64,
        message: &mut Vec<u8>,
        signature: &mut Vec<u8>,
        waiting: &Waiting,
        limit: Duration,
    ) -> Result<Option<Delivery>, WaitError> {
        let attempt = || match self.try_read(sequence, message, signature) {
            Ok(None) => None,
            outcome => Some(outcome.map_err(WaitError::Ring)),
        };
        let started = Instant::now();
        let idle = || (started.elapsed() >= limit).then_some(None);
        let pending = |core: &Core| core.pending_answer(sequence);
        // A consumer owns no slot that is being written or signed.
        let answer = WaitsFor { event: Event::Signed, holder: Owner::NOBODY, pending: &pending };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        self.ring.wait(&answer, waiting, &mut watch, attempt, idle)
    }

    fn copy(&self, sequence: u64, state: State, message: &mut Vec<u8>, signature: &mut Vec<u8>) -> Record {
        let cells = self.ring.cells();
        let geometry = &cells.geometry;
        let slot = cells.slot(sequence);
        let get = |offset| slot.get(offset);
        slot.load_message(room(message, get(slot::MESSAGE_LEN), geometry.message_capacity));
        let producer = Record {
            sequence,
            source: (get(slot::SOURCE_AND_METHOD) as u16).min(SOURCES as u16 - 1),
            position: get(slot::POSITION),
            method: (get(slot::SOURCE_AND_METHOD) >> 32) as u32,
            attempts: state.attempts(),
            intended_ns: get(slot::INTENDED_NS),
            written_ns: get(slot::WRITTEN_NS),
            ..Record::default()
        };
        if state.stage() == Some(Stage::Failed) && state.owner() == Owner::NOBODY {
            // Whatever stands in the signer's words, no living signer has answered for it.
            return Record { is_exhausted: true, ..producer };
        }
        let answer = get(slot::STATUS_AND_SIGNATURE_LEN);
        slot.load_signature(room(signature, answer >> 32, geometry.signature_capacity));
        let origin = get(slot::GENERATION_AND_RUNTIME);
        Record {
            status: (answer as u32).cast_signed(),
            claimed_ns: get(slot::CLAIMED_NS),
            signed_ns: get(slot::SIGNED_NS),
            module_id: get(slot::MODULE_ID),
            generation: origin as u32,
            runtime: (origin >> 32) as u32,
            ..producer
        }
    }

    /// The name of a source.
    pub fn source_name(&self, source: u16) -> String {
        source::source_name(self.ring.cells(), usize::from(source).min(SOURCES - 1))
    }

    /// Notes that the record at `position` of `source` is answered for, so that it is never sent again, then frees its
    /// slot. Only once it is in the journal. Wakes nobody: see [`Consumer::flush`].
    ///
    /// # Errors
    /// The ring's sequences are used up.
    pub fn answer_for(&self, sequence: u64, source: u16, position: u64) -> Result<(), RingError> {
        self.ring.core.answer_for(source, position);
        self.free(sequence)
    }

    /// Frees the slot of a sequence that held no record.
    ///
    /// # Errors
    /// The ring's sequences are used up.
    pub fn free(&self, sequence: u64) -> Result<(), RingError> {
        self.ring.core.free(sequence)
    }

    /// Wakes the producers if they sleep: once after each batch.
    pub fn flush(&self) {
        self.ring.cells().notify(Event::Freed);
        failpoint("free: announced");
    }
}

/// Room for `len` more bytes, but no more than `capacity`, at the end of `bytes`.
fn room(bytes: &mut Vec<u8>, len: u64, capacity: usize) -> &mut [u8] {
    let start = bytes.len();
    bytes.resize(start + len.min(capacity as u64) as usize, 0);
    &mut bytes[start..]
}
