//! From the ring to the files: read, verify, journal, free.
//!
//! Each thread does all of it. They read by turns, verify side by side, and write in the order of reading, whoever is
//! there: nothing is handed from thread to thread, so nobody waits to be given work while a core is free.

use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use cli::Failure;
use crossbeam::sync::WaitGroup;
use shmem_layout::{Consumer, RingPath, Waiting, attach};

use crate::journal::Journal;
use crate::options::Options;
use crate::output_folder::OutputFolder;
use crate::progress;
use crate::record::Batch;
use crate::recorder::{Ran, Recorder};
use crate::reorder::Reorder;
use crate::resume::{begin_or_resume, begin_without_journal};
use crate::ring_end::{AnsweredFor, Fill, Reader, answer_for, answer_for_below, at};
use crate::summary::{RingFacts, Summary};
use crate::table;
use crate::verify::{Verifier, VerifierPlan};

/// Records read, verified and journalled at a time: enough to make a write cheap, few enough to free slots early.
const BATCH_RECORDS: usize = 64;

/// Batches that go round for each thread but the first: enough to hide that one was interrupted, few enough to bound memory.
const BATCHES_PER_FURTHER_THREAD: usize = 8;

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
    let plan =
        VerifierPlan::new(options.verifier, &options.keys, message_capacity as usize, options.has_journal)?;
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
    let writer = Writer { recorder, consumer: &consumer, ring: path };
    let reader = Reader::new(&consumer, path, waiting);
    let (writer, last) = consume(reader, &plan, options.verify_threads, writer);
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
    let Some(Writer { recorder, .. }) = writer else { return Err(last.err().unwrap_or_else(writer_died)) };
    let files = recorder.files();
    // Also after a failure: what was done is worth keeping.
    let summary = recorder.finish(&ran, matches!(last, Ok(Fill::Closed)))?;
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

/// Threads that read, verify and write, whichever is due.
struct Crew<'a> {
    incoming: Mutex<Incoming<'a>>,
    outgoing: Reorder<Batch, Writer<'a>>,
}

struct Incoming<'a> {
    reader: Reader<'a>,
    /// The next batch's place among all.
    ticket: u64,
    /// How the reading has ended.
    end: Option<Fill>,
}

/// Has `threads` threads, this one among them, consume the ring to its end. Gives back the writer, for what is left to do,
/// unless it went down with a thread.
fn consume<'a>(
    reader: Reader<'a>,
    plan: &VerifierPlan,
    threads: usize,
    writer: Writer<'a>,
) -> (Option<Writer<'a>>, Result<Fill, Failure>) {
    let batches = 1 + BATCHES_PER_FURTHER_THREAD * threads.saturating_sub(1);
    let batches = (0..batches).map(|_| Batch::new(BATCH_RECORDS, MESSAGE_BYTES)).collect();
    let crew = Crew {
        incoming: Mutex::new(Incoming { reader, ticket: 0, end: None }),
        outgoing: Reorder::new(writer, batches),
    };
    thread::scope(|scope| {
        let ready = WaitGroup::new();
        let mut others = Vec::new();
        for number in 1..threads {
            let (crew, ready) = (&crew, ready.clone());
            let work = move || crew.work(plan, ready);
            match thread::Builder::new().name(format!("verify-{number}")).spawn_scoped(scope, work) {
                Ok(thread) => others.push(thread),
                Err(error) => crew.outgoing.fail(no_thread(&error)),
            }
        }
        crew.work(plan, ready);
        for thread in others {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    });
    let end = crew.incoming.into_inner().unwrap_or_else(PoisonError::into_inner).end;
    let (writer, written) = crew.outgoing.into_writer();
    (writer, written.map(|()| end.unwrap_or(Fill::Stopped)))
}

impl Crew<'_> {
    /// One thread's part, until the end or a failure, its own or another's. Nobody reads before everybody can verify.
    fn work(&self, plan: &VerifierPlan, ready: WaitGroup) {
        let _failing = self.outgoing.fail_if_panicking();
        // Here, for a verifier can't always change threads.
        let verifier = plan.verifier().map_err(|failure| self.outgoing.fail(failure));
        // Whoever could not make one has said so by then.
        ready.wait();
        if let Ok(verifier) = verifier
            && let Err(failure) = self.take_turns(verifier)
        {
            self.outgoing.fail(failure);
        }
    }

    fn take_turns(&self, mut verifier: Verifier) -> Result<(), Failure> {
        loop {
            let Some(mut batch) = self.outgoing.take() else { return Ok(()) };
            let Some(ticket) = self.fill(&mut batch)? else { return Ok(()) };
            verifier.verify(&mut batch)?;
            if self.outgoing.put(ticket, batch, Writer::write).is_break() {
                return Ok(());
            }
        }
    }

    /// Fills `batch`, and gives its ticket; nothing at the end.
    fn fill(&self, batch: &mut Batch) -> Result<Option<u64>, Failure> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if incoming.end.is_some() || self.outgoing.has_failed() {
                return Ok(None);
            }
            match incoming.reader.fill(batch)? {
                Fill::Some => {
                    let ticket = incoming.ticket;
                    incoming.ticket += 1;
                    return Ok(Some(ticket));
                }
                Fill::None => self.outgoing.meanwhile(|writer| writer.recorder.tick()),
                end => incoming.end = Some(end),
            }
        }
    }
}

fn writer_died() -> Failure {
    Failure::failed("the writing thread ended by a bug, which it has said")
}

fn no_thread(error: &io::Error) -> Failure {
    Failure::environment(format_args!("verifier thread: {error}; ask for fewer with --verify-threads"))
}
