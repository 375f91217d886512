//! From the ring to the files: read, verify, journal, free; in one thread, or with more that verify in between.

use std::sync::atomic::Ordering;
use std::thread;

use cli::Failure;
use crossbeam::channel::bounded;
use shmem_layout::{Consumer, RingPath, Waiting, attach};

use crate::journal::Journal;
use crate::options::Options;
use crate::output_folder::OutputFolder;
use crate::progress;
use crate::record::Batch;
use crate::recorder::{Ran, Recorder};
use crate::resume::{begin_or_resume, begin_without_journal};
use crate::ring_end::{AnsweredFor, Fill, Reader, answer_for, answer_for_below, at};
use crate::summary::{RingFacts, Summary};
use crate::table;
use crate::verifier_lanes::{self, Dealer, Gatherer};
use crate::verify::{Verifier, VerifierPlan};

/// Records read, verified and journalled at a time: enough to make a write cheap, few enough to free slots early.
const BATCH_RECORDS: usize = 64;

/// Bytes set aside for a message beforehand; longer ones get theirs when they come.
const MESSAGE_BYTES: usize = 1024;

/// Bounds on an interval of the log, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000_000;

/// What consuming a ring came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run in numbers, as in its file.
    pub summary: Summary,
    /// The same for people, with the files' paths.
    pub table: String,
    /// Whether it was stopped before the ring's end.
    pub is_interrupted: bool,
}

/// Consumes a ring until it is closed or `waiting` is stopped, and writes all files of the run; goes on with a run that
/// was killed or stopped before.
///
/// # Errors
/// The ring, the output folder, the key or the verifier can't be used; or a file can't be written.
pub fn run(options: &Options, waiting: &Waiting) -> Result<Outcome, Failure> {
    let path = &options.ring;
    options.placement.pin()?;
    let ring = attach(path).map_err(|error| at(path, &error))?;
    if options.placement.prefault {
        ring.prefault().map_err(|error| at(path, &error))?;
    }
    let spec = ring.spec();
    let (capacity, message_capacity, max_attempts) =
        (spec.capacity, spec.message_capacity, spec.max_attempts);
    let facts = RingFacts { capacity, message_capacity, max_attempts };
    let plan = VerifierPlan::new(options.verifier, &options.keys, message_capacity as usize)?;
    let consumer = ring.join_consumer().map_err(|error| at(path, &error))?;
    // After joining: while another consumer lives, its folder is not ours to cut.
    let folder = OutputFolder::open(&options.out)?;
    let begin = if options.has_journal { begin_or_resume } else { begin_without_journal };
    let mut begun = begin(&folder, &AnsweredFor::of(&consumer, path)?)?;
    let journal = begun.journal.take();
    let journal = journal.map(|file| Journal::new(file, options.encoding, &options.keys));
    let recorder = Recorder::new(folder, begun, journal, INTERVAL_NS)?;
    answer_for_below(recorder.next_sequence(), &consumer, path)?;
    let member = consumer.ring().member();
    let (slots, next) = (consumer.ring().spec().capacity, recorder.next_sequence());
    tracing::debug!(
        ring = %path, slots, member = member.index, generation = member.generation, next_sequence = next,
        "{path}: attached, {slots} slots; member {}.{}, begins at sequence {next}", member.index, member.generation
    );

    let mut recorder = recorder;
    let drawing = progress::start(options, &mut recorder);
    let mut writer = Writer { recorder, consumer: &consumer, ring: path };
    let reader = Reader::new(&consumer, path, waiting);
    let last = match options.verify_threads {
        1 => in_one_thread(reader, plan.verifier()?, &mut writer),
        threads => in_many_threads(reader, &plan, threads, &mut writer, waiting),
    };
    drop(drawing);
    let recovered = consumer.ring().recovered();
    cli::log::taken_over(path, [recovered.voided, recovered.returned, recovered.failed], recovered);
    let ran = Ran {
        verifier: options.verifier,
        public_keys: options.keys.iter().map(|key| hex::encode(key.compressed())).collect(),
        verifier_threads: options.verify_threads,
        wait: options.wait.to_string(),
        cpus: options.placement.cpus_name(),
        prefault: options.placement.prefault,
        ring: facts,
    };
    let files = writer.recorder.files();
    // Also after a failure: what was done is worth keeping.
    let summary = writer.recorder.finish(&ran, matches!(last, Ok(Fill::Closed)))?;
    let last = last?;
    if last == Fill::Closed {
        tracing::debug!(ring = %path, "{path}: closed, and nothing is left to verify");
    }
    let is_interrupted = last == Fill::Stopped;
    let table = table::of_run(&summary, &files);
    Ok(Outcome { summary, table, is_interrupted })
}

/// The end of the pipeline: the journal, then the ring.
struct Writer<'a> {
    recorder: Recorder,
    consumer: &'a Consumer,
    ring: &'a RingPath,
}

impl Writer<'_> {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        if self.recorder.append(batch)?.is_break() {
            return Err(Failure::failed("journal: its reader has gone away"));
        }
        answer_for(self.consumer, self.ring, batch)
    }
}

fn in_one_thread(
    mut reader: Reader<'_>,
    mut verifier: Verifier,
    writer: &mut Writer<'_>,
) -> Result<Fill, Failure> {
    let mut batch = Batch::new(BATCH_RECORDS, MESSAGE_BYTES);
    loop {
        match reader.fill(&mut batch)? {
            Fill::Some => {
                verifier.verify(&mut batch)?;
                writer.write(&batch)?;
            }
            Fill::None => writer.recorder.tick()?,
            end => return Ok(end),
        }
    }
}

/// A thread reads, `threads` verify, and this one writes. As many batches go round as the lanes hold.
fn in_many_threads(
    reader: Reader<'_>,
    plan: &VerifierPlan,
    threads: usize,
    writer: &mut Writer<'_>,
    waiting: &Waiting,
) -> Result<Fill, Failure> {
    let plan = plan.clone();
    let (dealer, gatherer) = verifier_lanes::start(threads, move || {
        let mut verifier = plan.verifier()?;
        Ok(move |batch: &mut Batch| verifier.verify(batch))
    })?;
    let (give_back, given_back) = bounded(gatherer.capacity());
    for _ in 0..gatherer.capacity() {
        // There is room for each: the channel is as long.
        let _ = give_back.send(Batch::new(BATCH_RECORDS, MESSAGE_BYTES));
    }
    thread::scope(|scope| {
        let reading = scope.spawn(move || read_and_deal(reader, dealer, given_back.iter()));
        let written = gather_and_write(gatherer, writer, |batch| give_back.send(batch).is_ok());
        drop(give_back);
        if written.is_err() {
            waiting.stop.store(true, Ordering::Relaxed);
        }
        let read =
            reading.join().unwrap_or_else(|_| Err(Failure::failed("the reading thread ended by a bug")));
        written.and(read)
    })
}

fn read_and_deal(
    mut reader: Reader<'_>,
    mut dealer: Dealer,
    free: impl Iterator<Item = Batch>,
) -> Result<Fill, Failure> {
    for mut batch in free {
        loop {
            match reader.fill(&mut batch)? {
                Fill::Some => break,
                Fill::None => {}
                end => return Ok(end),
            }
        }
        dealer.deal(batch)?;
    }
    // The writer has given up, and says why.
    Ok(Fill::Stopped)
}

fn gather_and_write(
    mut gatherer: Gatherer,
    writer: &mut Writer<'_>,
    give_back: impl Fn(Batch) -> bool,
) -> Result<(), Failure> {
    while let Some(batch) = gatherer.gather()? {
        writer.write(&batch)?;
        // False when the reader has come to the end.
        let _ = give_back(batch);
    }
    Ok(())
}
