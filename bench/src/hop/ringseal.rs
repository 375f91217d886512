//! Ringseal's own ring, by its public interface: a producer publishes, a signer's end claims.
//!
//! What follows the hop is done untimed, for the ring goes on only when it is: the signer's end answers, and the slots are
//! freed, by the sender's process (an application that sends and gets its signatures back) or by the signer's (so that
//! the producer finds each slot as another core left it).

use std::collections::BTreeSet;
use std::path::Path;

use shmem_layout::{
    Answer, Claim, Consumer, Message, Producer, PublishError, RingOptions, RingPath, Signer, SlotClaim,
    WaitStrategy, Waiting, WhenFull, attach, create, now_ns,
};

use crate::Result;
use crate::hop::kind::Manner;
use crate::hop::shared::poll;
use crate::hop::transport::{BATCH, CAPACITY, Receiver, Sender};

/// Makes the ring of a contender in `folder`.
pub fn make_ring(folder: &Path, len: usize) -> Result<()> {
    let options =
        RingOptions { capacity: CAPACITY as u32, message_capacity: len as u32, ..RingOptions::default() };
    create(&ring_in(folder), &options)?;
    Ok(())
}

/// Where it is.
pub fn ring_in(folder: &Path) -> RingPath {
    RingPath::File(folder.join("ring"))
}

/// Frees slots in sequence.
struct Freer {
    consumer: Consumer,
    freed: u64,
}

impl Freer {
    fn join(folder: &Path) -> Result<Self> {
        Ok(Self { consumer: attach(&ring_in(folder))?.join_consumer()?, freed: 0 })
    }

    fn free_up_to(&mut self, sequence: u64) -> Result<()> {
        while self.freed < sequence {
            self.consumer.free(self.freed)?;
            self.freed += 1;
        }
        self.consumer.flush();
        Ok(())
    }
}

/// The producer's end.
pub struct Publisher {
    producer: Producer,
    freer: Option<Freer>,
    waiting: Waiting,
    len: usize,
    position: u64,
    /// Whether lone messages find a slot that was claimed ahead; and that slot.
    claims_ahead: bool,
    claim: Option<SlotClaim>,
}

impl Publisher {
    /// Joins the ring in `folder`, and as what frees its slots if the receiver doesn't.
    pub fn join(folder: &Path, strategy: WaitStrategy, len: usize, manner: Manner) -> Result<Self> {
        let producer = attach(&ring_in(folder))?.join_producer("bench")?;
        let frees = manner != Manner::FreedByReceiver;
        let freer = if frees { Some(Freer::join(folder)?) } else { None };
        let (waiting, claims_ahead) = (Waiting::new(strategy), manner == Manner::Ahead);
        Ok(Self { producer, freer, waiting, len, position: 0, claims_ahead, claim: None })
    }

    #[inline]
    fn publish(&mut self, bytes: &[u8], when_full: WhenFull) -> Result<bool> {
        let message = Message { position: self.position, method: 0, intended_ns: 0, now_ns: 0, bytes };
        let published = match self.claim.take() {
            Some(claim) => self.producer.publish_in(claim, &message),
            None => self.producer.publish(&message, when_full, &self.waiting),
        };
        match published {
            Ok(_) => self.position += 1,
            Err(PublishError::Full) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

impl Sender for Publisher {
    fn prepare(&mut self) -> Result<()> {
        if self.claims_ahead {
            self.claim = Some(self.producer.claim(WhenFull::Wait, &self.waiting)?);
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.publish(message, WhenFull::Wait)?;
        self.producer.flush();
        Ok(())
    }

    fn send_batch(&mut self, messages: &[u8], acked: &dyn Fn() -> u64) -> Result<()> {
        for message in messages.chunks_exact(self.len) {
            let when_full = if self.freer.is_some() { WhenFull::Fail } else { WhenFull::Wait };
            poll(|| match self.publish(message, when_full) {
                Ok(true) => Some(Ok(())),
                Ok(false) => {
                    self.producer.flush();
                    self.settle(acked()).err().map(Err)
                }
                Err(error) => Some(Err(error)),
            })??;
        }
        self.producer.flush();
        self.settle(acked())
    }

    fn settle(&mut self, acked: u64) -> Result<()> {
        self.freer.as_mut().map_or(Ok(()), |freer| freer.free_up_to(acked))
    }
}

/// The signer's end.
pub struct Claimer {
    signer: Signer,
    freer: Option<Freer>,
    waiting: Waiting,
    claims: Vec<Claim>,
    /// Every sequence below it is answered.
    answered: u64,
    /// Beyond it, answered out of order: a claim passes over a slot that is still being written.
    ahead: BTreeSet<u64>,
}

impl Claimer {
    /// Joins the ring in `folder`; `frees`: also as what frees its slots.
    pub fn join(folder: &Path, strategy: WaitStrategy, frees: bool) -> Result<Self> {
        let signer = attach(&ring_in(folder))?.join_signer()?;
        let freer = if frees { Some(Freer::join(folder)?) } else { None };
        let waiting = Waiting::new(strategy);
        Ok(Self {
            signer,
            freer,
            waiting,
            claims: Vec::with_capacity(BATCH),
            answered: 0,
            ahead: BTreeSet::new(),
        })
    }

    /// Answers all that is claimed, each with what is its `signature` by its place in the batch.
    pub fn answer<'a>(&mut self, signature: impl Fn(usize) -> &'a [u8]) {
        let now = now_ns();
        for (i, claim) in self.claims.drain(..).enumerate() {
            let answer = Answer {
                status: 0,
                signature: signature(i),
                claimed_ns: now,
                signed_ns: now,
                module_id: 0,
                generation: 0,
                runtime: 0,
            };
            let sequence = claim.sequence();
            self.signer.answer(claim, &answer);
            if sequence != self.answered {
                self.ahead.insert(sequence);
                continue;
            }
            self.answered += 1;
            while !self.ahead.is_empty() && self.ahead.remove(&self.answered) {
                self.answered += 1;
            }
        }
        self.signer.flush();
    }
}

impl Receiver for Claimer {
    #[inline]
    fn receive(&mut self, len: usize, into: &mut [u8]) -> Result<usize> {
        self.signer.claim((into.len() / len).min(BATCH), &mut self.claims, &self.waiting)?;
        for (claim, chunk) in self.claims.iter().zip(into.chunks_exact_mut(len)) {
            if self.signer.request(claim).message_len != len {
                return Err("a message of another length".into());
            }
            self.signer.copy_message(claim, chunk);
        }
        Ok(self.claims.len())
    }

    fn sequence_of(&self, i: usize) -> Option<u64> {
        self.claims.get(i).map(Claim::sequence)
    }

    fn settle(&mut self) -> Result<Option<u64>> {
        self.answer(|_| &[]);
        if let Some(freer) = &mut self.freer {
            freer.free_up_to(self.answered)?;
        }
        Ok(Some(self.answered))
    }
}
