//! The floor: what no ring between two cores can be faster than by much.
//!
//! One writer, one reader, no claims: a record is its sequence and its message in lines of its own, two of them for 64 bytes.
//! The message is written, then the sequence; the reader polls the sequence, with the processor's hint, and copies.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::Result;
use crate::hop::shared::{LINE, Shared, poll, poll_then_yield};
use crate::hop::transport::{CAPACITY, Receiver, Sender};

/// Either end of the ring without claims.
pub struct Floor {
    shared: Shared,
    stride: usize,
    len: usize,
    /// Records written, or read, so far.
    done: u64,
    /// The writer's: what the reader has acknowledged, when last looked at.
    acked: u64,
    yields: bool,
}

impl Floor {
    /// A ring in the file `name` of `folder`, for messages of `len` bytes. `yields`: whether polling gives the core away.
    pub fn open(folder: &Path, name: &str, len: usize, yields: bool) -> Result<Self> {
        let stride = (8 + len).next_multiple_of(LINE);
        let shared = Shared::open(&folder.join(name), stride * CAPACITY)?;
        Ok(Self { shared, stride, len, done: 0, acked: 0, yields })
    }

    fn slot(&self) -> usize {
        self.done as usize % CAPACITY * self.stride
    }

    /// Whether the next record is there to be read.
    #[inline]
    fn is_there(&self) -> bool {
        self.shared.word(self.slot()).load(Ordering::Acquire) == self.done + 1
    }

    #[inline]
    fn write(&mut self, message: &[u8]) {
        assert_eq!(message.len(), self.len);
        let slot = self.slot();
        // SAFETY: a slot has room for a message. The reader is done with it (our callers have seen its acknowledgement), and
        // reads it again only once it has seen the sequence that is stored next.
        unsafe { self.shared.at(slot + 8).copy_from_nonoverlapping(message.as_ptr(), self.len) };
        self.done += 1;
        self.shared.word(slot).store(self.done, Ordering::Release);
    }

    #[inline]
    fn read(&mut self, into: &mut [u8]) {
        assert_eq!(into.len(), self.len);
        // SAFETY: a slot has a message, its sequence was seen, and the writer leaves it alone until it is acknowledged.
        unsafe { self.shared.at(self.slot() + 8).copy_to_nonoverlapping(into.as_mut_ptr(), self.len) };
        self.done += 1;
    }

    /// Waits for a record, and copies it.
    #[inline]
    pub fn next(&mut self, into: &mut [u8]) -> Result<()> {
        let attempt = || self.is_there().then_some(());
        if self.yields {
            poll_then_yield(attempt)?
        } else {
            poll(attempt)?
        };
        self.read(into);
        Ok(())
    }
}

impl Sender for Floor {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.write(message);
        Ok(())
    }

    fn send_batch(&mut self, messages: &[u8], acked: &dyn Fn() -> u64) -> Result<()> {
        for message in messages.chunks_exact(self.len) {
            if self.done - self.acked == CAPACITY as u64 {
                let (done, mut seen) = (self.done, self.acked);
                poll(|| {
                    seen = acked();
                    (done - seen < CAPACITY as u64).then_some(())
                })?;
                self.acked = seen;
            }
            self.write(message);
        }
        Ok(())
    }

    fn settle(&mut self, acked: u64) -> Result<()> {
        self.acked = acked;
        Ok(())
    }
}

impl Receiver for Floor {
    #[inline]
    fn receive(&mut self, len: usize, into: &mut [u8]) -> Result<usize> {
        let mut chunks = into.chunks_exact_mut(len);
        let Some(first) = chunks.next() else { return Ok(0) };
        self.next(first)?;
        let mut count = 1;
        for chunk in chunks {
            if !self.is_there() {
                break;
            }
            self.read(chunk);
            count += 1;
        }
        Ok(count)
    }
}
