//! The block that a module sees of a batch, and what is taken back from it.

use ringseal_abi::{BLOCK_VERSION, ExtensionKind};

use super::{Batch, HEADER_LEN, NOT_RUN, RECORD_LEN};

impl Batch {
    /// Bytes of the block that these records make.
    #[inline]
    pub(crate) fn block_len(&self) -> usize {
        self.outputs_at() + self.records.len() * self.max_output_len
    }

    #[inline]
    fn inputs_at(&self) -> usize {
        HEADER_LEN + self.records.len() * RECORD_LEN
    }

    #[inline]
    fn outputs_at(&self) -> usize {
        self.inputs_at() + self.inputs_len
    }

    /// Writes the block into `block`, of [`block_len`](Self::block_len) bytes, which the module knows as `address`.
    #[inline(always)]
    pub(crate) fn write_block(&self, kind: ExtensionKind, address: u32, block: &mut [u8]) {
        let inputs = address + self.inputs_at() as u32;
        let outputs = address + self.outputs_at() as u32;
        let (head, rest) = block.split_at_mut(HEADER_LEN);
        // Version, count, stride; flags, key handle and the three words of intents are 0.
        put_words(head, [BLOCK_VERSION, self.records.len() as u32, RECORD_LEN as u32, 0, 0, 0, 0, 0]);
        if self.records.is_empty() {
            return;
        }
        let (records, rest) = rest.split_at_mut(self.records.len() * RECORD_LEN);
        for ((i, record), place) in (0..).zip(&self.records).zip(records.chunks_exact_mut(RECORD_LEN)) {
            let message = inputs + record.message_at;
            let output = outputs + i * self.max_output_len as u32;
            put_words(
                place,
                [
                    message,
                    record.message_len,
                    output,
                    self.max_output_len as u32,
                    record.signature_len,
                    NOT_RUN as u32,
                    message + record.message_len,
                    0,
                ],
            );
        }
        let (to_inputs, to_outputs) = rest.split_at_mut(self.inputs_len);
        to_inputs.copy_from_slice(&self.inputs[..self.inputs_len]);
        if kind == ExtensionKind::Verify {
            to_outputs.copy_from_slice(&self.outputs[..to_outputs.len()]);
        }
    }

    /// Takes from `block`, after a run, what the module may answer: statuses, and outputs with their lengths.
    #[inline(always)]
    pub(crate) fn read_block(&mut self, kind: ExtensionKind, block: &[u8]) {
        if self.records.is_empty() {
            return;
        }
        let (head, outputs) = block.split_at(self.outputs_at());
        for (record, place) in self.records.iter_mut().zip(head[HEADER_LEN..].chunks_exact(RECORD_LEN)) {
            record.status = word(place, 5) as i32;
            record.output_len = if kind == ExtensionKind::Verify { 0 } else { word(place, 4) };
        }
        if kind != ExtensionKind::Verify {
            self.outputs[..outputs.len()].copy_from_slice(outputs);
        }
    }
}

/// Writes `words` in little-endian order; `place` has room for just as many.
#[inline]
fn put_words(place: &mut [u8], words: [u32; 8]) {
    place.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
}

#[inline]
fn word(place: &[u8], index: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&place[index * 4..][..4]);
    u32::from_le_bytes(bytes)
}
