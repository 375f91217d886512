//! The two loops of a hop: records one by one, timed each, and records as fast as they go.
//!
//! A message's first word is the counter when it was sent, its second its sequence, and the rest follows from the sequence.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::{ticks_after, ticks_before};
use crate::hop::shared::{Acks, poll};
use crate::hop::transport::{BATCH, Receiver, Sender};
use crate::process::{say, told};
use crate::stats::latencies;
use crate::{Result, clock};

/// What both processes do next.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Records as fast as they go, instead of one by one.
    pub is_sustained: bool,
    /// How many.
    pub count: u64,
}

/// What the receiver has measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Received {
    /// One by one: ticks from sending to having the payload; 50th, 99th and 99.9th percentile.
    pub ticks: [f64; 3],
    /// The counter after the last record.
    pub ended: u64,
}

/// What word `i` of the message is.
pub fn word_of(sequence: u64, i: usize) -> u64 {
    (sequence.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i as u64
}

/// Writes everything but the first word.
pub fn fill(message: &mut [u8], sequence: u64) {
    for (i, word) in message.as_chunks_mut::<8>().0.iter_mut().enumerate().skip(1) {
        *word = if i == 1 { sequence } else { word_of(sequence, i) }.to_le_bytes();
    }
}

/// Whether it is the message that [`fill`] made; else which word is not.
pub fn check(message: &[u8], sequence: u64) -> Result<()> {
    for (i, word) in message.as_chunks::<8>().0.iter().enumerate().skip(1) {
        let expected = if i == 1 { sequence } else { word_of(sequence, i) };
        if u64::from_le_bytes(*word) != expected {
            return Err(format!("record {sequence} has arrived wrong in word {i}").into());
        }
    }
    Ok(())
}

/// The first word.
pub fn stamp_of(message: &[u8]) -> u64 {
    message.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// The sender's loops.
pub trait Drive {
    /// Sends so many one by one, each when the one before was received and `gap` ticks have passed.
    fn one_by_one(&mut self, count: u64, gap: u64) -> Result<()>;

    /// Sends so many in batches as fast as they go. The counter when it began.
    fn sustained(&mut self, count: u64) -> Result<u64>;
}

/// [`Drive`] over a sender.
pub struct Driver<S> {
    sender: S,
    acks: Acks,
    len: usize,
    sent: u64,
}

impl<S: Sender + 'static> Driver<S> {
    /// Over `sender`, whose receiver acknowledges in `folder`.
    pub fn boxed(sender: S, folder: &Path, len: usize) -> Result<Box<dyn Drive>> {
        Ok(Box::new(Self { sender, acks: Acks::open(folder)?, len, sent: 0 }))
    }
}

impl<S: Sender> Drive for Driver<S> {
    fn one_by_one(&mut self, count: u64, gap: u64) -> Result<()> {
        let mut message = vec![0; self.len];
        for _ in 0..count {
            fill(&mut message, self.sent);
            self.sender.prepare()?;
            clock::spin_for(gap);
            // Else each record would be sent just after the counter has moved, which it does every 10 ns or so.
            (0..word_of(self.sent, 0) >> 58).for_each(|i| {
                std::hint::black_box(i);
            });
            message[..8].copy_from_slice(&ticks_before().to_le_bytes());
            self.sender.send(&message)?;
            self.sent += 1;
            let sent = self.sent;
            poll(|| (self.acks.get() == sent).then_some(()))?;
            self.sender.settle(sent)?;
        }
        Ok(())
    }

    fn sustained(&mut self, count: u64) -> Result<u64> {
        let mut messages = vec![0; self.len * BATCH];
        let begun = ticks_before();
        let last = self.sent + count;
        while self.sent < last {
            for message in messages.chunks_exact_mut(self.len) {
                mark(message, self.sent);
                self.sent += 1;
            }
            let acks = &self.acks;
            self.sender.send_batch(&messages, &|| acks.get())?;
        }
        poll(|| (self.acks.get() == last).then_some(()))?;
        self.sender.settle(last)?;
        Ok(begun)
    }
}

/// The sequence in the first and in the last word: all that a sustained record is checked by, for a check of every word
/// would be what is measured.
fn mark(message: &mut [u8], sequence: u64) {
    let words = message.as_chunks_mut::<8>().0;
    if let [first, .., last] = words {
        *first = sequence.to_le_bytes();
        *last = word_of(sequence, 0).to_le_bytes();
    }
}

fn is_marked(message: &[u8], sequence: u64) -> bool {
    let words = message.as_chunks::<8>().0;
    matches!(words, [first, .., last]
        if *first == sequence.to_le_bytes() && *last == word_of(sequence, 0).to_le_bytes())
}

/// The receiver's process: does the jobs that it is told, until its input ends.
pub fn serve<R: Receiver>(mut receiver: R, folder: &Path, len: usize) -> Result<()> {
    let acks = Acks::open(folder)?;
    let mut buffer = vec![0; len * BATCH];
    let mut sequence = 0;
    say(&"ready")?;
    while let Some(line) = told()? {
        let job: Job = serde_json::from_str(&line)?;
        let mut ticks = Vec::with_capacity(if job.is_sustained { 0 } else { job.count as usize });
        let last = sequence + job.count;
        // Of the sequences that have come: the sum tells whether each has come once.
        let mut sum = 0_u64;
        say(&"go")?;
        while sequence < last {
            let first = sequence;
            if job.is_sustained {
                let count = receiver.receive(len, &mut buffer)?;
                for (i, message) in buffer.chunks_exact(len).take(count).enumerate() {
                    let expected = receiver.sequence_of(i).unwrap_or(first + i as u64);
                    if !is_marked(message, expected) {
                        return Err(format!("record {expected} has arrived wrong").into());
                    }
                    sum = sum.wrapping_add(expected);
                }
                sequence += count as u64;
            } else {
                receiver.receive(len, &mut buffer[..len])?;
                let now = ticks_after();
                ticks.push(now.saturating_sub(stamp_of(&buffer)));
                check(&buffer[..len], sequence)?;
                sequence += 1;
            }
            acks.set(receiver.settle()?.unwrap_or(sequence));
        }
        let expected = (last - job.count..last).fold(0, u64::wrapping_add);
        if job.is_sustained && sum != expected {
            return Err("a record has come twice, and another not at all".into());
        }
        say(&Received { ticks: latencies(&mut ticks), ended: ticks_before() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_any_other_byte_is_not_taken() {
        let mut message = [0; 64];
        fill(&mut message, 7);
        assert!(check(&message, 7).is_ok() && check(&message, 8).is_err());
        for at in 8..64 {
            message[at] ^= 1;
            assert!(check(&message, 7).is_err(), "{at}");
            message[at] ^= 1;
        }
    }
}
