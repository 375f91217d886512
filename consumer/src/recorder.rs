//! The one writer of a run's output: journal, histograms, interval log, and at the end the rest.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

use cli::{Failure, Method};

use crate::hgrm;
use crate::histograms::{Histograms, Stage};
use crate::hlog::IntervalLog;
use crate::journal::Journal;
use crate::output_folder::{self, OutputFolder};
use crate::record::{Batch, Outcome, Record};
use crate::summary::{Counts, FORMAT, MessageBytes, Stages, Summary};
use crate::verify::VerifierChoice;
use shmem_layout::now_ns;

/// What of a run only its options tell.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Who verified.
    pub verifier: VerifierChoice,
    /// In how many threads.
    pub verifier_threads: usize,
    /// How the consumer waited for the ring.
    pub wait: String,
}

/// Takes batches in the ring's order, and writes all files of a run.
pub struct Recorder {
    folder: OutputFolder,
    journal: Option<Journal>,
    log: IntervalLog<File>,
    histograms: Histograms,
    tally: Tally,
    started_at: SystemTime,
    interval_ns: u64,
    interval_from_ns: u64,
}

impl Recorder {
    /// A recorder for `folder`, whose interval log has a line per stage every `interval_ns`. Without a `journal`
    /// the signatures are lost, and the summary says so.
    ///
    /// # Errors
    /// The interval log can't be written: as [`OutputFolder::open_new`] says.
    pub fn begin(folder: OutputFolder, journal: Option<Journal>, interval_ns: u64) -> Result<Self, Failure> {
        let (started_at, started_ns) = (SystemTime::now(), now_ns());
        let file = folder.open_new(output_folder::INTERVAL_LOG)?;
        let log =
            IntervalLog::begin(file, started_at, started_ns).map_err(|error| log_error(&folder, &error))?;
        Ok(Self {
            folder,
            journal,
            log,
            histograms: Histograms::new(),
            tally: Tally::default(),
            started_at,
            interval_ns,
            interval_from_ns: started_ns,
        })
    }

    /// Journals and counts `batch`. When it returns `Continue`, the batch's slots may be freed. `Break`: whoever
    /// read the journal has gone, so going on is of no use.
    ///
    /// # Errors
    /// Journal or interval log can't be written: environment.
    pub fn append(&mut self, batch: &Batch) -> Result<ControlFlow<()>, Failure> {
        self.tick()?;
        match self.journal.as_mut().map_or(Ok(()), |journal| journal.append(batch.records())) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ControlFlow::Break(())),
            Err(error) => return Err(Failure::environment(format_args!("journal: {error}"))),
        }
        for record in batch.records() {
            self.histograms.record(&record.times, record.outcome);
            self.tally.count(record);
        }
        self.tally.verify_busy_ns += batch.verify_busy_ns;
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the interval if it is over. [`Recorder::append`] does so too; while nothing comes, somebody must.
    ///
    /// # Errors
    /// The interval log can't be written: environment.
    pub fn tick(&mut self) -> Result<(), Failure> {
        let to_ns = now_ns();
        if to_ns - self.interval_from_ns < self.interval_ns {
            return Ok(());
        }
        self.end_interval(to_ns)
    }

    fn end_interval(&mut self, to_ns: u64) -> Result<(), Failure> {
        let written = self.log.write_interval(&self.histograms, self.interval_from_ns, to_ns);
        written.map_err(|error| log_error(&self.folder, &error))?;
        self.histograms.end_interval();
        self.interval_from_ns = to_ns;
        Ok(())
    }

    /// Ends the run: writes the rest of the interval log, the distributions and the summary, and returns the
    /// summary.
    ///
    /// # Errors
    /// A file can't be written: environment.
    pub fn finish(mut self, ran: &Ran) -> Result<Summary, Failure> {
        self.end_interval(now_ns())?;
        for stage in Stage::ALL {
            let total = self.histograms.total(stage);
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
        let tally = &self.tally;
        let wall_ns = tally.last_verified_ns.saturating_sub(tally.first_written_ns.unwrap_or(u64::MAX));
        let methods = Method::ALL.into_iter().filter(|method| tally.methods.contains(method));
        Summary {
            format: FORMAT,
            measurement_only: self.measurement_only(ran),
            runtimes: tally.runtimes.iter().map(|name| (*name).to_owned()).collect(),
            methods: methods.map(|method| method.name().to_owned()).collect(),
            verifier: ran.verifier.to_string(),
            verifier_threads: ran.verifier_threads,
            wait: ran.wait.clone(),
            message_bytes: tally.message_bytes,
            counts: tally.counts,
            started_unix_s: self
                .started_at
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
            wall_ns,
            messages_per_s: (wall_ns > 0).then(|| tally.counts.records as f64 * 1e9 / wall_ns as f64),
            verify_busy_ns: tally.verify_busy_ns,
            stages: Stages::of(&self.histograms),
        }
    }

    fn measurement_only(&self, ran: &Ran) -> Vec<String> {
        let reasons = [
            (self.tally.methods.contains(&Method::Null), "method null"),
            (ran.verifier == VerifierChoice::None, "verifier none"),
            (self.journal.is_none(), "output none"),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned()).collect()
    }
}

fn log_error(folder: &OutputFolder, error: &io::Error) -> Failure {
    let path = folder.path_of(output_folder::INTERVAL_LOG);
    Failure::environment(format_args!("output {}: {error}", path.display()))
}

/// What is counted beside the histograms.
#[derive(Default)]
struct Tally {
    counts: Counts,
    methods: Vec<Method>,
    runtimes: Vec<&'static str>,
    message_bytes: Option<MessageBytes>,
    first_written_ns: Option<u64>,
    last_verified_ns: u64,
    verify_busy_ns: u64,
}

impl Tally {
    fn count(&mut self, record: &Record) {
        *match record.outcome {
            Outcome::Verified => &mut self.counts.verified,
            Outcome::NotVerified => &mut self.counts.not_verified,
            Outcome::Failed(_) | Outcome::Exhausted => &mut self.counts.failed,
            Outcome::Unchecked => &mut self.counts.unchecked,
            Outcome::Void => {
                self.counts.void += 1;
                return;
            }
        } += 1;
        self.counts.records += 1;
        if !self.methods.contains(&record.method) {
            self.methods.push(record.method);
        }
        if !self.runtimes.contains(&record.runtime) {
            self.runtimes.push(record.runtime);
        }
        let len = record.message.len() as u64;
        let bytes = self.message_bytes.get_or_insert(MessageBytes { min: len, max: len, total: 0 });
        *bytes = MessageBytes { min: bytes.min.min(len), max: bytes.max.max(len), total: bytes.total + len };
        self.first_written_ns.get_or_insert(record.times.written_ns);
        self.last_verified_ns = record.times.verified_ns;
    }
}
