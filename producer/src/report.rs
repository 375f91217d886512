//! What was asked for and what was sent, as JSON, for whoever reads the run's other files: the schedule stands nowhere else.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cli::Failure;
use serde::Serialize;

use crate::{Content, Options, Summary};

/// See the module.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    source: &'a str,
    method: String,
    /// What generated messages and random methods are drawn from.
    seed: u64,
    /// The file that messages were read from; null if they were generated.
    input: Option<String>,
    /// The bounds on a generated message.
    size_min: Option<usize>,
    size_max: Option<usize>,
    /// Positions of the source to stop before; null for all of the input.
    messages: Option<u64>,
    /// Messages a second of the schedule; null without one.
    rate: Option<f64>,
    wait: &'static str,
    /// The processors that it was pinned to, or `any`.
    cpus: String,
    prefault: bool,
    /// The position that it went on from.
    resumed_at: u64,
    sent: u64,
    /// Messages left out because they were too long for the ring.
    skipped: u64,
    /// Whether all that was asked for was sent.
    is_complete: bool,
}

impl<'a> Report<'a> {
    /// What came of `options`.
    pub fn new(options: &'a Options, summary: &Summary, is_complete: bool) -> Self {
        let (input, sizes) = match &options.content {
            Content::Generated(sizes) => (None, Some(sizes)),
            Content::Input(input) => (Some(input.path.to_string_lossy().into_owned()), None),
        };
        Self {
            source: &options.source,
            method: options.method.to_string(),
            seed: options.seed,
            input,
            size_min: sizes.map(|sizes| *sizes.start()),
            size_max: sizes.map(|sizes| *sizes.end()),
            messages: (options.messages < u64::MAX).then_some(options.messages),
            rate: options.rate,
            wait: options.wait.name(),
            cpus: options.placement.cpus_name(),
            prefault: options.placement.prefault,
            resumed_at: summary.resumed_at,
            sent: summary.sent,
            skipped: summary.skipped,
            is_complete,
        }
    }
}

/// The file that a report goes to.
pub(crate) struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// A new file at `path`, or an empty one in its place.
    ///
    /// # Errors
    /// Environment: it can't be made.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| cant_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes `report`, ending with a newline.
    ///
    /// # Errors
    /// Environment: it can't be written.
    pub fn write(self, report: &Report<'_>) -> Result<(), Failure> {
        let write = || {
            let mut out = BufWriter::new(&self.file);
            serde_json::to_writer_pretty(&mut out, report)?;
            out.write_all(b"\n")?;
            out.flush()
        };
        write().map_err(|error: io::Error| cant_write(&self.path, &error))
    }
}

fn cant_write(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format_args!("report {}: {error}", path.display()))
}
