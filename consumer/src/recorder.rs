//! The one writer of a run's output: journal, histograms, interval log, checkpoint, and at the end the rest.
//!
//! The order of writes is what makes a kill harmless, wherever it strikes. A line is in the journal before it is
//! counted, so that no checkpoint counts what is not in the file. An interval is in the log before the checkpoint that
//! counts it: one that no checkpoint counts is cut at the next start, and its records, which are counted anew from
//! the journal, come into a later interval.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cli::{Failure, Method};

use crate::checkpoint::Checkpoint;
use crate::hgrm;
use crate::histograms::Stage;
use crate::hlog::IntervalLog;
use crate::journal::Journal;
use crate::machine::Machine;
use crate::output_folder::{self, OutputFolder};
use crate::record::Batch;
use crate::resume::Run;
use crate::summary::{FORMAT, RingFacts, Stages, Summary};
use crate::tally::Counted;
use crate::verify::VerifierChoice;
use shmem_layout::{failpoint, now_ns};

/// What of a run only its options tell.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Who verified.
    pub verifier: VerifierChoice,
    /// The keys that were trusted, compressed, in hexadecimal.
    pub public_keys: Vec<String>,
    /// In how many threads.
    pub verifier_threads: usize,
    /// How the consumer waited for the ring.
    pub wait: String,
    /// The processors that the consumer was pinned to, or `any`.
    pub cpus: String,
    /// Whether it mapped the ring beforehand.
    pub prefault: bool,
    /// The ring.
    pub ring: RingFacts,
}

/// Takes batches in the ring's order, and writes all files of a run.
pub struct Recorder {
    folder: OutputFolder,
    journal: Option<Journal>,
    log: IntervalLog,
    /// How far the run is.
    run: Checkpoint,
    /// Whether that is further than the folder's checkpoint says.
    is_ahead: bool,
    interval_ns: u64,
    watched: Option<Arc<Watched>>,
}

/// How far a run is, for another thread to look at: told with each batch, and with each interval.
#[derive(Debug, Default)]
pub struct Watched {
    /// Records counted.
    pub done: AtomicU64,
    /// The 99th percentile of the end to end latencies of the last interval, in nanoseconds; 0 if it had none.
    pub p99_ns: AtomicU64,
}

impl Recorder {
    /// A recorder that goes on with `run`, whose interval log has a line per stage every `interval_ns`. Without a
    /// `journal` the signatures are lost, and the summary says so.
    ///
    /// # Errors
    /// Interval log or checkpoint can't be written: environment.
    pub fn new(
        folder: OutputFolder,
        run: Run,
        journal: Option<Journal>,
        interval_ns: u64,
    ) -> Result<Self, Failure> {
        let Run { checkpoint, is_ahead, log, .. } = run;
        let log = IntervalLog::new(log, checkpoint.log_bytes, checkpoint.started_ns);
        let mut recorder =
            Self { folder, journal, log, run: checkpoint, is_ahead, interval_ns, watched: None };
        if recorder.log.is_empty() {
            let since_epoch = recorder.since_epoch();
            recorder.log.write_header(since_epoch).map_err(|error| recorder.log_error(&error))?;
        }
        if is_ahead {
            // So that a consumer that is killed again and again doesn't replay more and more.
            recorder.end_interval(now_ns())?;
        }
        Ok(recorder)
    }

    /// Tells `watched` from now on.
    pub fn tell(&mut self, watched: Arc<Watched>) {
        watched.done.store(self.run.tally.counts.records, Ordering::Relaxed);
        self.watched = Some(watched);
    }

    /// The sequence that comes next: all before it are answered for.
    pub fn next_sequence(&self) -> u64 {
        self.run.tally.next_sequence
    }

    /// Journals and counts `batch`. When it returns `Continue`, the batch's slots may be freed. `Break`: whoever
    /// read the journal has gone, so going on is of no use.
    ///
    /// # Errors
    /// Journal, interval log or checkpoint can't be written: environment.
    pub fn append(&mut self, batch: &Batch) -> Result<ControlFlow<()>, Failure> {
        self.tick()?;
        match self.journal.as_mut().map_or(Ok(0), |journal| journal.append(batch.records())) {
            Ok(bytes) => self.run.journal_bytes += bytes,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ControlFlow::Break(())),
            Err(error) => return Err(Failure::environment(format_args!("journal: {error}"))),
        }
        for record in batch.records() {
            self.run.count(&Counted::from(record));
        }
        self.run.tally.verify_busy_ns += batch.verify_busy_ns;
        self.is_ahead |= !batch.is_empty();
        if let Some(watched) = &self.watched {
            watched.done.store(self.run.tally.counts.records, Ordering::Relaxed);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the interval if it is over. [`Recorder::append`] does so too; while nothing comes, somebody must.
    ///
    /// # Errors
    /// Interval log or checkpoint can't be written: environment.
    pub fn tick(&mut self) -> Result<(), Failure> {
        let to_ns = now_ns();
        if to_ns.saturating_sub(self.run.interval_from_ns) < self.interval_ns {
            return Ok(());
        }
        self.end_interval(to_ns)
    }

    /// Ends the interval, and saves a checkpoint if anything happened in it.
    fn end_interval(&mut self, to_ns: u64) -> Result<(), Failure> {
        let from_ns = self.run.interval_from_ns;
        let written = self.log.write_interval(&self.run.histograms, from_ns, to_ns);
        written.map_err(|error| self.log_error(&error))?;
        failpoint("checkpoint: log written");
        if let Some(watched) = &self.watched {
            let end_to_end = self.run.histograms.interval(Stage::EndToEnd);
            let p99_ns = if end_to_end.is_empty() { 0 } else { end_to_end.value_at_quantile(0.99) };
            watched.p99_ns.store(p99_ns, Ordering::Relaxed);
        }
        self.run.log_bytes = self.log.len();
        self.run.histograms.end_interval();
        self.run.interval_from_ns = to_ns;
        if self.is_ahead && self.journal.is_some() {
            self.run.save(&self.folder)?;
            self.is_ahead = false;
        }
        Ok(())
    }

    /// Ends the run: writes the rest of the interval log, the last checkpoint, the distributions and the summary, and
    /// returns the summary. `is_finished` says whether the ring has come to its end; else the run may be resumed.
    ///
    /// # Errors
    /// A file can't be written: environment.
    pub fn finish(mut self, ran: &Ran, is_finished: bool) -> Result<Summary, Failure> {
        self.is_ahead |= self.run.is_finished != is_finished;
        self.run.is_finished = is_finished;
        self.end_interval(now_ns())?;
        for stage in Stage::ALL {
            let total = self.run.histograms.total(stage);
            self.folder.replace(&output_folder::distribution(stage), |out| hgrm::write(total, out))?;
        }
        let summary = self.summary(ran);
        self.folder.replace(output_folder::SUMMARY, |out| {
            serde_json::to_writer_pretty(&mut *out, &summary)?;
            io::Write::write_all(out, b"\n")
        })?;
        Ok(summary)
    }

    /// The paths of the files that the run leaves behind in the folder, the journal taken to be
    /// [`output_folder::JOURNAL`].
    pub fn files(&self) -> Vec<PathBuf> {
        let stages = Stage::ALL.map(output_folder::distribution);
        let journal = self.journal.is_some().then_some(output_folder::JOURNAL);
        let names = journal.into_iter().chain([output_folder::INTERVAL_LOG, output_folder::SUMMARY]);
        names.chain(stages.iter().map(String::as_str)).map(|name| self.folder.path_of(name)).collect()
    }

    fn summary(&self, ran: &Ran) -> Summary {
        let tally = &self.run.tally;
        let wall_ns = tally.last_verified_ns.saturating_sub(tally.first_written_ns.unwrap_or(u64::MAX));
        let methods = Method::ALL.map(Method::name).into_iter().filter(|name| self.has_method(name));
        Summary {
            format: FORMAT,
            measurement_only: self.measurement_only(ran),
            runtimes: tally.runtimes.clone(),
            methods: methods.map(str::to_owned).collect(),
            verifier: ran.verifier.to_string(),
            public_keys: ran.public_keys.clone(),
            verifier_threads: ran.verifier_threads,
            wait: ran.wait.clone(),
            cpus: Some(ran.cpus.clone()),
            prefault: Some(ran.prefault),
            ring: Some(ran.ring),
            machine: Some(Machine::this()),
            is_finished: Some(self.run.is_finished),
            message_bytes: tally.message_bytes,
            counts: tally.counts,
            started_unix_s: self.since_epoch().as_secs_f64(),
            resumed: self.run.resumed,
            wall_ns,
            messages_per_s: (wall_ns > 0).then(|| tally.counts.records as f64 * 1e9 / wall_ns as f64),
            verify_busy_ns: tally.verify_busy_ns,
            stages: Stages::of(&self.run.histograms),
        }
    }

    fn measurement_only(&self, ran: &Ran) -> Vec<String> {
        // Also when it was nobody before the run was resumed.
        let is_unverified = ran.verifier == VerifierChoice::None || self.run.tally.counts.unchecked > 0;
        let reasons = [
            (self.has_method(Method::Null.name()), "method null"),
            (is_unverified, "verifier none"),
            (self.journal.is_none(), "output none"),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned()).collect()
    }

    fn has_method(&self, name: &str) -> bool {
        self.run.tally.methods.iter().any(|method| method == name)
    }

    /// When the run began, on the wall clock.
    fn since_epoch(&self) -> Duration {
        Duration::from_nanos(self.run.started_unix_ns)
    }

    fn log_error(&self, error: &io::Error) -> Failure {
        self.folder.cannot_write(output_folder::INTERVAL_LOG, error)
    }
}
