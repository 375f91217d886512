//! The ring's end of the consumer: records come in in sequence, and are answered for and freed in sequence.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use cli::{Failure, Method};
use extension_engine::Runtime;
use shmem_layout::{Consumer, Delivery, RingPath, SOURCES, WaitError, Waiting};

use crate::record::{Batch, Outcome, Record, Times};

/// How long a reader waits for a record before its caller gets to look after something else.
const PATIENCE: Duration = Duration::from_millis(200);

/// What filling a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// There is at least one record.
    Some,
    /// There was none for a while.
    None,
    /// The stream has ended.
    Closed,
    /// The stop flag is set.
    Stopped,
}

/// Reads a ring in sequence.
pub struct Reader<'a> {
    consumer: &'a Consumer,
    ring: &'a RingPath,
    waiting: &'a Waiting,
    next: u64,
    sources: Vec<Option<Arc<str>>>,
}

impl<'a> Reader<'a> {
    /// A reader that begins with the first sequence that was not freed.
    pub fn new(consumer: &'a Consumer, ring: &'a RingPath, waiting: &'a Waiting) -> Self {
        Self { consumer, ring, waiting, next: consumer.first_unfreed(), sources: vec![None; SOURCES] }
    }

    /// Fills `batch` with what is answered by now, waiting a while for the first.
    ///
    /// # Errors
    /// A damaged ring: environment.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<Fill, Failure> {
        batch.clear();
        loop {
            let is_first = batch.is_empty();
            let Some(record) = batch.push() else { return Ok(Fill::Some) };
            let (message, signature) = (&mut record.message, &mut record.signature);
            let delivery = if is_first {
                self.consumer.read(self.next, message, signature, self.waiting, PATIENCE)
            } else {
                self.consumer.try_read(self.next, message, signature).map_err(WaitError::Ring)
            };
            match delivery {
                Ok(Some(Delivery::Record(read))) => self.describe(&read, record),
                Ok(Some(Delivery::Void)) => (record.sequence, record.outcome) = (self.next, Outcome::Void),
                end => {
                    batch.pop();
                    return match end {
                        // Whatever it is: it will be met again.
                        _ if !is_first => Ok(Fill::Some),
                        Ok(Some(_)) => Ok(Fill::Closed),
                        Ok(None) => Ok(Fill::None),
                        Err(WaitError::Stopped) => Ok(Fill::Stopped),
                        Err(error) => Err(at(self.ring, &error)),
                    };
                }
            }
            self.next += 1;
        }
    }

    /// Fills in what the ring says of a record. Methods and runtimes that we don't know are peers' nonsense: such a
    /// record is never verified.
    fn describe(&mut self, read: &shmem_layout::Record, record: &mut Record) {
        let name = self.sources[usize::from(read.source)]
            .get_or_insert_with(|| self.consumer.source_name(read.source).into());
        // Counting references costs more than looking: most often it is the source that the last record here had.
        if !Arc::ptr_eq(&record.source, name) {
            record.source = Arc::clone(name);
        }
        record.sequence = read.sequence;
        record.source_index = read.source;
        record.position = read.position;
        record.method = Method::from_raw(read.method).unwrap_or(Method::Null);
        record.times = Times {
            intended_ns: read.intended_ns,
            written_ns: read.written_ns,
            claimed_ns: read.claimed_ns,
            signed_ns: read.signed_ns,
            verified_ns: 0,
        };
        record.module = read.module_id.to_be_bytes();
        record.generation = read.generation;
        record.runtime = runtime_name(read.runtime);
        record.outcome = match read.status {
            _ if read.is_exhausted => Outcome::Exhausted,
            0 => Outcome::Unchecked,
            status => Outcome::Failed(status),
        };
    }
}

/// What a ring says when its consumer starts: how much of it was answered for by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnsweredFor {
    /// Which ring.
    pub ring_id: [u8; 16],
    /// All sequences below this one.
    pub below: u64,
    /// For each source, all positions below this one.
    pub sources: BTreeMap<String, u64>,
}

impl AnsweredFor {
    /// What the ring of `consumer` says.
    ///
    /// # Errors
    /// The ring can't be looked at: environment.
    pub fn of(consumer: &Consumer, path: &RingPath) -> Result<Self, Failure> {
        let ring = consumer.ring();
        let snapshot = ring.snapshot().map_err(|error| at(path, &error))?;
        let sources = snapshot.sources.into_iter().map(|source| (source.name, source.next));
        Ok(Self { ring_id: ring.spec().ring_id, below: consumer.first_unfreed(), sources: sources.collect() })
    }
}

/// Answers for all records of `batch`, which must be in the journal by now, and gives their slots to the next lap.
///
/// # Errors
/// The ring's sequences are used up: environment.
pub fn answer_for(consumer: &Consumer, ring: &RingPath, batch: &Batch) -> Result<(), Failure> {
    for record in batch.records() {
        match record.outcome {
            Outcome::Void => consumer.free(record.sequence),
            _ => consumer.answer_for(record.sequence, record.source_index, record.position),
        }
        .map_err(|error| at(ring, &error))?;
    }
    consumer.flush();
    Ok(())
}

/// Answers for all records below `sequence`: they are in the journal, but a kill came before their slots were freed.
///
/// # Errors
/// The ring doesn't hold them, or is damaged: environment.
pub fn answer_for_below(sequence: u64, consumer: &Consumer, ring: &RingPath) -> Result<(), Failure> {
    let (mut message, mut signature) = (Vec::new(), Vec::new());
    for sequence in consumer.first_unfreed()..sequence {
        message.clear();
        signature.clear();
        match consumer.try_read(sequence, &mut message, &mut signature).map_err(|error| at(ring, &error))? {
            Some(Delivery::Record(read)) => consumer.answer_for(sequence, read.source, read.position),
            Some(Delivery::Void) => consumer.free(sequence),
            Some(Delivery::Closed) | None => {
                let error =
                    format!("sequence {sequence} is in the journal, but was never answered in the ring");
                return Err(at(ring, &format_args!("{error}; choose another folder with --out")));
            }
        }
        .map_err(|error| at(ring, &error))?;
    }
    consumer.flush();
    Ok(())
}

/// An error that the ring's path belongs to.
pub fn at(ring: &RingPath, error: &dyn Display) -> Failure {
    Failure::environment(format_args!("{ring}: {error}"))
}

/// The runtime that a signer gives as `number`: 0 is none.
fn runtime_name(number: u32) -> &'static str {
    let runtime = (number as usize).checked_sub(1).and_then(|index| Runtime::ALL.get(index));
    runtime.map_or("none", |runtime| runtime.name())
}
