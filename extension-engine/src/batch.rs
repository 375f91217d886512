//! A batch of records: the host's own copy of everything that an extension is shown and answers.

#[cfg(any(feature = "wasmtime", feature = "wasmi", feature = "wasm3"))]
mod block;

use std::marker::PhantomData;

use ringseal_abi::scheme::{Records, Scheme, sign_record};
use ringseal_abi::{ExtensionKind, Header, Record, Status};
use zeroize::Zeroize;

use crate::{BatchError, RecordError};

/// The longest public key that a record can carry, in bytes: a point in SEC1's uncompressed encoding.
pub const PUBLIC_KEY_LEN_MAX: usize = 65;

const HEADER_LEN: usize = size_of::<Header>();
const RECORD_LEN: usize = size_of::<Record>();

/// The status of a record that no run has reached. The ABI leaves negative numbers to the host.
const NOT_RUN: i32 = -1;

/// Records to be run at once, allocated when it is made and never again. Lengths are in bytes.
///
/// Messages and keys lie in one buffer, outputs in another; the block that a module sees is made of them:
///
/// ```text
/// header │ record 0 … record n−1 │ message 0, public key 0, … │ output 0 … output n−1
///        └ made while it is written └ one copy, inwards         └ one copy, inwards only to verify
/// ```
///
/// After a run, lengths and places are taken from here and never from the module; it answers statuses and lengths of
/// outputs alone, and these are checked.
pub struct Batch {
    records: Vec<Entry>,
    inputs: Box<[u8]>,
    inputs_len: usize,
    outputs: Box<[u8]>,
    max_records: usize,
    max_message_len: usize,
    max_output_len: usize,
}

/// What the host knows of a record. Places are offsets into [`Batch::inputs`].
struct Entry {
    message_at: u32,
    message_len: u32,
    /// Bytes of signature, for `Verify`; otherwise 0.
    signature_len: u32,
    status: i32,
    output_len: u32,
}

impl Entry {
    /// Takes the answer: the length of the output, or the status.
    fn take(&mut self, answer: Result<usize, Status>) {
        self.status = answer.err().unwrap_or(Status::Ok) as i32;
        self.output_len = answer.unwrap_or(0) as u32;
    }
}

impl Batch {
    /// The most that a batch may need of a module's memory, in bytes. Whether the module has that much is another
    /// question (see [`Limits::memory`](crate::Limits::memory)).
    pub const LEN_MAX: u64 = 32 << 20;

    /// An empty batch for up to `max_records` messages of up to `max_message_len` bytes each, with outputs, or
    /// signatures to verify, of up to `max_output_len`.
    ///
    /// # Errors
    /// [`BatchError::TooLarge`] if that needs more than [`LEN_MAX`](Self::LEN_MAX).
    pub fn new(
        max_records: usize,
        max_message_len: usize,
        max_output_len: usize,
    ) -> Result<Self, BatchError> {
        let input_len = max_message_len.saturating_add(PUBLIC_KEY_LEN_MAX);
        let record_len = input_len.saturating_add(max_output_len).saturating_add(RECORD_LEN);
        let block_len = max_records.saturating_mul(record_len).saturating_add(HEADER_LEN) as u64;
        if block_len > Self::LEN_MAX {
            return Err(BatchError::TooLarge(block_len));
        }
        Ok(Self {
            records: Vec::with_capacity(max_records),
            inputs: vec![0; max_records * input_len].into(),
            inputs_len: 0,
            outputs: vec![0; max_records * max_output_len].into(),
            max_records,
            max_message_len,
            max_output_len,
        })
    }

    /// Takes all records out.
    pub fn clear(&mut self) {
        self.records.clear();
        self.inputs_len = 0;
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether there is no room for another record.
    pub fn is_full(&self) -> bool {
        self.records.len() == self.max_records
    }

    /// Adds a record to sign or to hash, and returns its index. `fill` writes its message of `len` bytes straight
    /// into the batch, over whatever an earlier batch has left there.
    ///
    /// # Errors
    /// [`BatchError::Full`] or [`BatchError::MessageTooLong`]; `fill` was then not called.
    pub fn push(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<usize, BatchError> {
        self.add(len, 0, 0, |message, _| fill(message))
    }

    /// Adds a record to verify, and returns its index. `public_key` must have the length that its scheme fixes: it
    /// is cut, or continued with zeros, to that length.
    ///
    /// # Errors
    /// [`BatchError`] says which of the arguments is too long, or that the batch is full.
    pub fn push_verify(
        &mut self,
        message: &[u8],
        signature: &[u8],
        public_key: &[u8],
    ) -> Result<usize, BatchError> {
        let max = self.max_output_len;
        if signature.len() > max {
            return Err(BatchError::SignatureTooLong { len: signature.len(), max });
        }
        if public_key.len() > PUBLIC_KEY_LEN_MAX {
            return Err(BatchError::PublicKeyTooLong(public_key.len()));
        }
        let i = self.add(message.len(), PUBLIC_KEY_LEN_MAX, signature.len(), |to, key_room| {
            to.copy_from_slice(message);
            let (key, rest) = key_room.split_at_mut(public_key.len());
            key.copy_from_slice(public_key);
            rest.fill(0);
        })?;
        self.outputs[i * max..][..signature.len()].copy_from_slice(signature);
        Ok(i)
    }

    fn add(
        &mut self,
        len: usize,
        key_room: usize,
        signature_len: usize,
        fill: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<usize, BatchError> {
        if self.is_full() {
            return Err(BatchError::Full);
        }
        if len > self.max_message_len {
            return Err(BatchError::MessageTooLong { len, max: self.max_message_len });
        }
        let (message, rest) = self.inputs[self.inputs_len..].split_at_mut(len);
        fill(message, &mut rest[..key_room]);
        self.records.push(Entry {
            message_at: self.inputs_len as u32,
            message_len: len as u32,
            signature_len: signature_len as u32,
            status: NOT_RUN,
            output_len: 0,
        });
        self.inputs_len += len + key_room;
        Ok(self.records.len() - 1)
    }

    /// What became of record `i` in the last run: done, or verified; or why not.
    ///
    /// # Errors
    /// [`RecordError`], if it failed or was not run.
    ///
    /// # Panics
    /// If there is no record `i`.
    pub fn status(&self, i: usize) -> Result<(), RecordError> {
        let record = &self.records[i];
        match Status::from_raw(record.status) {
            _ if record.status == NOT_RUN => Err(RecordError::NotRun),
            None => Err(RecordError::UnknownStatus(record.status)),
            Some(Status::Ok) if record.output_len as usize > self.max_output_len => {
                Err(RecordError::OutputTooLong { len: record.output_len, cap: self.max_output_len })
            }
            Some(Status::Ok) => Ok(()),
            Some(status) => Err(RecordError::Failed(status)),
        }
    }

    /// The output of record `i`: its signature, digest or public key. Empty unless its [`status`](Self::status) is
    /// good, and after verifying.
    ///
    /// # Panics
    /// If there is no record `i`.
    pub fn output(&self, i: usize) -> &[u8] {
        let len = self.status(i).map_or(0, |()| self.records[i].output_len as usize);
        &self.outputs[i * self.max_output_len..][..len]
    }

    /// The message of record `i`, as it was put in.
    ///
    /// # Panics
    /// If there is no record `i`.
    pub fn message(&self, i: usize) -> &[u8] {
        let record = &self.records[i];
        &self.inputs[record.message_at as usize..][..record.message_len as usize]
    }

    /// Forgets what the last run has answered.
    #[inline]
    pub(crate) fn forget_answers(&mut self) {
        for record in &mut self.records {
            (record.status, record.output_len) = (NOT_RUN, 0);
        }
    }

    /// Zeroes all messages and keys.
    pub(crate) fn wipe_inputs(&mut self) {
        self.inputs.zeroize();
    }

    /// The records as a scheme signs them.
    pub(crate) fn signing<S>(&mut self) -> ToSign<'_, S> {
        ToSign { batch: self, scheme: PhantomData }
    }

    /// Calls `run` with each record's message, output (or signature) and room for a public key, and takes its answer:
    /// the length of the output, or the status.
    pub(crate) fn run_each(
        &mut self,
        kind: ExtensionKind,
        mut run: impl FnMut(&[u8], &mut [u8], &[u8]) -> Result<usize, Status>,
    ) {
        let verify = kind == ExtensionKind::Verify;
        for (i, record) in self.records.iter_mut().enumerate() {
            let input = &self.inputs[record.message_at as usize..self.inputs_len];
            let (message, rest) = input.split_at(record.message_len as usize);
            let output_len = if verify { record.signature_len as usize } else { self.max_output_len };
            let output = &mut self.outputs[i * self.max_output_len..][..output_len];
            let answer = run(message, output, &rest[..rest.len().min(PUBLIC_KEY_LEN_MAX)]);
            record.take(if verify { answer.map(|_| 0) } else { answer });
        }
    }
}

/// See [`Batch::signing`].
pub(crate) struct ToSign<'b, S> {
    batch: &'b mut Batch,
    scheme: PhantomData<S>,
}

impl<S: Scheme> Records for ToSign<'_, S> {
    fn count(&self) -> usize {
        self.batch.len()
    }

    fn message(&self, i: usize) -> Option<&[u8]> {
        Some(self.batch.message(i))
    }

    fn answer(&mut self, i: usize, sign: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Status>) {
        let Batch { records, inputs, outputs, max_output_len, .. } = &mut *self.batch;
        let record = &mut records[i];
        let message = &inputs[record.message_at as usize..][..record.message_len as usize];
        let output = &mut outputs[i * *max_output_len..][..*max_output_len];
        record.take(sign_record::<S>(message, output, sign));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_what_it_was_made_for_and_no_more() {
        let mut batch = Batch::new(2, 4, 3).unwrap();
        let never = |_: &mut [u8]| unreachable!("refused before");
        assert_eq!(batch.push(5, never), Err(BatchError::MessageTooLong { len: 5, max: 4 }));
        assert_eq!(batch.push(4, |message| message.copy_from_slice(b"four")), Ok(0));
        let too_long = BatchError::SignatureTooLong { len: 4, max: 3 };
        assert_eq!(batch.push_verify(b"", &[0; 4], &[]), Err(too_long));
        assert_eq!(batch.push_verify(b"", &[], &[0; 66]), Err(BatchError::PublicKeyTooLong(66)));
        assert_eq!(batch.push_verify(b"", &[1; 3], &[2; 65]), Ok(1));
        assert_eq!((batch.push(0, never), batch.is_full()), (Err(BatchError::Full), true));
        assert_eq!((batch.message(0), batch.message(1)), (&b"four"[..], &b""[..]));
    }

    #[test]
    fn a_cleared_batch_has_all_its_room_again() {
        let mut batch = Batch::new(2, 4, 3).unwrap();
        for round in 0..3 {
            batch.clear();
            assert!(batch.is_empty());
            for i in 0..2 {
                assert_eq!(batch.push_verify(&[round; 4], &[0; 3], &[0; 65]), Ok(i));
            }
            assert_eq!(batch.message(1), [round; 4]);
        }
    }

    #[test]
    fn a_size_beyond_any_module_is_refused_without_overflow() {
        for (records, message, output) in
            [(usize::MAX, 1, 1), (1, usize::MAX, 1), (1, 1, usize::MAX), (1 << 20, 64, 64)]
        {
            assert!(matches!(Batch::new(records, message, output), Err(BatchError::TooLarge(_))));
        }
    }

    #[test]
    fn a_record_that_was_not_run_has_no_output() {
        let mut batch = Batch::new(1, 1, 1).unwrap();
        batch.push(1, |_| ()).unwrap();
        assert_eq!((batch.status(0), batch.output(0)), (Err(RecordError::NotRun), &[][..]));
    }
}
