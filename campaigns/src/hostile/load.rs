//! A producer and a consumer in one: publishes the same message again and again, and takes every signature to the judge.

use std::path::Path;
use std::time::Duration;

use cli::{Failure, Method};
use shmem_layout::{
    Consumer, Delivery, Message, Producer, PublishError, RingPath, WaitStrategy, Waiting, WhenFull, attach,
    now_ns,
};

use super::judge::Judge;

/// How long to wait for a signature before looking whether the signer lives.
const PATIENCE: Duration = Duration::from_millis(200);

/// Both honest ends of a ring.
pub struct Load {
    producer: Producer,
    consumer: Consumer,
    waiting: Waiting,
    published: u64,
    consumed: u64,
}

impl Load {
    /// Joins the new ring at `path` as its producer and its consumer.
    ///
    /// # Errors
    /// It can't be joined.
    pub fn join(path: &Path) -> Result<Self, Failure> {
        let path = RingPath::from(path);
        let ring = || attach(&path).map_err(|error| unusable(&error));
        Ok(Self {
            producer: ring()?.join_producer("hostile").map_err(|error| unusable(&error))?,
            consumer: ring()?.join_consumer().map_err(|error| unusable(&error))?,
            waiting: Waiting { stall_after: Duration::from_secs(30), ..Waiting::new(WaitStrategy::Adaptive) },
            published: 0,
            consumed: 0,
        })
    }

    /// Has `message` signed `count` times, by both methods in turn, or until `is_enough`. `look_after` is asked while no
    /// signature comes.
    ///
    /// # Errors
    /// The ring, what `look_after` says, or a record without a signature.
    pub fn run(
        &mut self,
        message: &[u8],
        count: u64,
        judge: &mut Judge,
        is_enough: impl Fn(&Judge) -> bool,
        mut look_after: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while self.consumed < count && !is_enough(judge) {
            while self.published < count && self.publish(message)? {}
            self.producer.flush();
            if !self.consume(judge)? {
                look_after()?;
            }
        }
        Ok(())
    }

    /// Publishes the message once; false if the ring is full.
    fn publish(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let method = if self.published.is_multiple_of(2) { Method::Ecdsa } else { Method::Schnorr };
        let message = Message {
            position: self.published,
            method: method as u32,
            intended_ns: now_ns(),
            now_ns: now_ns(),
            bytes,
        };
        match self.producer.publish(&message, WhenFull::Fail, &self.waiting) {
            Ok(_) => self.published += 1,
            Err(PublishError::Full) => return Ok(false),
            Err(error) => return Err(unusable(&error)),
        }
        Ok(true)
    }

    /// Takes all that is signed by now to the judge; false if nothing came for a while.
    fn consume(&mut self, judge: &mut Judge) -> Result<bool, Failure> {
        let (mut message, mut signature) = (Vec::new(), Vec::new());
        let mut delivery = self
            .consumer
            .read(self.consumed, &mut message, &mut signature, &self.waiting, PATIENCE)
            .map_err(|error| unusable(&error))?;
        let has_any = delivery.is_some();
        while let Some(Delivery::Record(record)) = delivery {
            let method = Method::from_raw(record.method).filter(|_| record.status == 0).ok_or_else(|| {
                Failure::failed(format_args!(
                    "sequence {} was answered with status {} instead of a signature",
                    record.sequence, record.status
                ))
            })?;
            judge.take(method, &signature);
            self.consumer
                .answer_for(self.consumed, record.source, record.position)
                .map_err(|error| unusable(&error))?;
            self.consumed += 1;
            message.clear();
            signature.clear();
            delivery = self
                .consumer
                .try_read(self.consumed, &mut message, &mut signature)
                .map_err(|error| unusable(&error))?;
        }
        Ok(has_any)
    }

    /// Ends the stream, once what was published is consumed or the ring has room for its end.
    ///
    /// # Errors
    /// The ring.
    pub fn close(&self) -> Result<(), Failure> {
        self.producer.ring().close(&self.waiting).map(drop).map_err(|error| unusable(&error))
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format_args!("the ring of the campaign: {error}"))
}
