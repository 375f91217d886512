//! One consumed record, copied out of the ring, and batches of them whose buffers are used again and again.

use std::sync::Arc;

use cli::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What became of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The signature is valid under the trusted key.
    Verified,
    /// It is not, or it is missing.
    NotVerified,
    /// The signer answered with this status instead of a signature.
    Failed(i32),
    /// No signer answered: they died with it in hand, as often as the ring allows.
    Exhausted,
    /// There is no record: its producer died before it had written one. Only the sequence means anything.
    Void,
    /// Nobody looked: verifier `none`. Every record starts so.
    #[default]
    Unchecked,
}

/// When a record passed each stage: CLOCK_MONOTONIC, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When it was due (the schedule's time under `--rate`, otherwise that of writing).
    pub intended_ns: u64,
    /// When the producer published it.
    pub written_ns: u64,
    /// When a signer took it.
    pub claimed_ns: u64,
    /// When the signer published its signature.
    pub signed_ns: u64,
    /// When its verification was done (with verifier `none`: when the consumer had it).
    pub verified_ns: u64,
}

/// One record of the ring as the consumer knows it. The bytes are private copies: nothing here changes under us.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place in the ring's order.
    pub sequence: u64,
    /// The number of the source that it came from.
    pub source_index: u16,
    /// The name of that source.
    pub source: Arc<str>,
    /// Its place in that source.
    pub position: u64,
    /// How it is signed.
    pub method: Method,
    /// The message.
    pub message: Vec<u8>,
    /// The signature as the signer left it; what it is worth is [`Record::outcome`].
    pub signature: Vec<u8>,
    /// SHA-256 of the message: set by [`Verifier::verify`](crate::verify::Verifier::verify).
    pub message_sha256: [u8; 32],
    /// When it passed each stage.
    pub times: Times,
    /// Which module signed it: the head of the SHA-256 of its file, zeros for `native`.
    pub module: [u8; 8],
    /// The generation of that module.
    pub generation: u32,
    /// The runtime that signed it.
    pub runtime: &'static str,
    /// Which of the trusted keys it was held against at last: the one that verifies it, and else the first.
    pub key: usize,
    /// What became of it. Who reads the ring sets what the ring says; the verifier settles what is unchecked.
    pub outcome: Outcome,
}

impl Record {
    fn with_capacity(message_capacity: usize) -> Self {
        Self {
            sequence: 0,
            source_index: 0,
            source: Arc::from(""),
            position: 0,
            method: Method::Null,
            message: Vec::with_capacity(message_capacity),
            signature: Vec::with_capacity(64),
            message_sha256: [0; 32],
            times: Times::default(),
            module: [0; 8],
            generation: 0,
            runtime: "",
            key: 0,
            outcome: Outcome::Unchecked,
        }
    }

    /// Sets [`Record::message_sha256`].
    pub fn hash_message(&mut self) {
        self.message_sha256 = Sha256::digest(&self.message).into();
    }
}

/// Up to a fixed number of records, in the ring's order. Clearing it keeps the buffers of its records.
#[derive(Debug)]
pub struct Batch {
    records: Vec<Record>,
    len: usize,
    /// What verifying this batch took, in nanoseconds.
    pub verify_busy_ns: u64,
}

impl Batch {
    /// A batch of at most `capacity` records with messages of about `message_capacity` bytes.
    pub fn new(capacity: usize, message_capacity: usize) -> Self {
        let records = (0..capacity).map(|_| Record::with_capacity(message_capacity)).collect();
        Self { records, len: 0, verify_busy_ns: 0 }
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.len = 0;
        self.verify_busy_ns = 0;
    }

    /// Whether no further record fits.
    pub fn is_full(&self) -> bool {
        self.len == self.records.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next record to fill in, with empty message and signature and nothing known about its outcome and key; its other
    /// fields hold what an earlier batch left there. `None` when the batch is full.
    pub fn push(&mut self) -> Option<&mut Record> {
        let record = self.records.get_mut(self.len)?;
        self.len += 1;
        record.message.clear();
        record.signature.clear();
        record.key = 0;
        record.outcome = Outcome::Unchecked;
        Some(record)
    }

    /// Takes the last record out again: there was nothing to fill in.
    pub fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records[..self.len]
    }

    /// The records, for whoever changes them.
    pub fn records_mut(&mut self) -> &mut [Record] {
        &mut self.records[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_earlier_batch_shows_in_the_next() {
        let mut batch = Batch::new(1, 8);
        let record = batch.push().unwrap();
        record.message.extend_from_slice(b"old");
        record.signature.extend_from_slice(b"old");
        record.outcome = Outcome::Verified;
        record.key = 1;
        batch.verify_busy_ns = 7;
        assert!(batch.is_full() && batch.push().is_none());

        batch.clear();
        assert!(batch.is_empty() && batch.records().is_empty() && batch.verify_busy_ns == 0);
        let record = batch.push().unwrap();
        assert!(record.message.is_empty() && record.signature.is_empty());
        assert_eq!((record.outcome, record.key), (Outcome::Unchecked, 0));
        batch.pop();
        assert!(batch.is_empty());
    }

    #[test]
    fn a_batch_used_again_allocates_nothing() {
        let mut batch = Batch::new(1, 8);
        let first = batch.push().unwrap().message.as_ptr();
        batch.clear();
        assert_eq!(batch.push().unwrap().message.as_ptr(), first);
    }
}
