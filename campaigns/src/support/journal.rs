//! What the consumer leaves: its journal and its summary, as any other program would read them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use cli::Failure;
use serde::Deserialize;

/// A line of the journal: what a judge needs of it.
#[derive(Debug, Deserialize)]
pub struct Line {
    /// Its place in the ring's order.
    pub seq: u64,
    /// The name of its source.
    pub source: String,
    /// Its place in that.
    pub position: u64,
    /// `ecdsa` or `schnorr`.
    pub method: String,
    /// In hexadecimal digits.
    pub message_sha256: String,
    /// In hexadecimal digits.
    pub signature: Option<String>,
    /// What the consumer says of it.
    pub verified: Option<bool>,
    /// Why there is no signature.
    pub status: Option<String>,
    /// The first eight bytes of the module's SHA-256, in hexadecimal digits.
    #[serde(default)]
    pub module: String,
    /// The swap that brought it.
    #[serde(default)]
    pub generation: u32,
    /// What ran it.
    #[serde(default)]
    pub runtime: String,
    /// When what happened.
    pub times: Times,
}

/// Times of a line, in nanoseconds.
#[derive(Debug, Deserialize)]
pub struct Times {
    /// When the message was due.
    pub intended_ns: u64,
    /// When a signer took it.
    #[serde(default)]
    pub claimed_ns: u64,
    /// When it was answered.
    #[serde(default)]
    pub signed_ns: u64,
    /// When its signature was verified.
    pub verified_ns: u64,
}

/// Reads a journal to its end.
pub struct Journal {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
    text: Vec<u8>,
}

/// The journal's file name in the consumer's folder.
const JOURNAL: &str = "signatures.ndjson";

impl Journal {
    /// The journal in the consumer's folder `out`; `None` if there is none.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(out: &Path) -> Result<Option<Self>, Failure> {
        let path = out.join(JOURNAL);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { path, reader: BufReader::new(file), number: 0, text: Vec::new() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::environment(format_args!("{}: {error}", path.display()))),
        }
    }

    /// The next line; the inner error says why it is none.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn next(&mut self) -> Result<Option<Result<Line, String>>, Failure> {
        self.text.clear();
        let read = self.reader.read_until(b'\n', &mut self.text);
        if read.map_err(|error| Failure::environment(format_args!("{}: {error}", self.path.display())))? == 0
        {
            return Ok(None);
        }
        self.number += 1;
        let at = |why: String| format!("{}:{}: {why}", self.path.display(), self.number);
        if self.text.pop() != Some(b'\n') {
            return Ok(Some(Err(at("a line without its end".into()))));
        }
        Ok(Some(serde_json::from_slice(&self.text).map_err(|error| at(error.to_string()))))
    }
}

/// The consumer's summary: what a judge needs of it.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// Records by outcome.
    pub counts: Counts,
    /// Latencies by stage.
    pub stages: Stages,
}

/// Records by outcome.
#[derive(Debug, Deserialize)]
pub struct Counts {
    /// All.
    pub records: u64,
    /// With a valid signature.
    pub verified: u64,
    /// With another, or none.
    pub not_verified: u64,
    /// That the signer could not sign.
    pub failed: u64,
    /// Slots whose producer died while writing.
    pub void: u64,
}

/// Latencies by stage.
#[derive(Debug, Deserialize)]
pub struct Stages {
    /// From when a message was due until its signature was verified.
    pub end_to_end: Latencies,
}

/// Latencies of a stage.
#[derive(Debug, Deserialize)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Left out.
    pub out_of_order: u64,
    /// Their mean.
    pub mean_ns: Option<f64>,
}

impl Summary {
    /// The summary in the consumer's folder `out`; the inner error says why there is none.
    pub fn read(out: &Path) -> Result<Self, String> {
        let path = out.join("summary.json");
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
