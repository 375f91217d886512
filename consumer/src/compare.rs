//! Several runs side by side: what signing and verifying cost on each runtime.

use std::path::PathBuf;

use cli::Failure;

use crate::run_folder::RunFolder;
use crate::table::{NOTHING, aligned};

/// The runtime that the others are held against.
pub(crate) const NATIVE: &str = "native";

/// Work of one kind in one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    /// The runtime, or the verifier.
    pub by: String,
    pub method: String,
    pub messages: u64,
    pub busy_ns: u64,
}

/// The comparison of the runs in `folders`: a table for signing and one for verifying, with total time, time per
/// message, and the ratio to `native` doing the same method.
///
/// # Errors
/// A folder lacks a readable `summary.json` or `signer.json`: bad input that names the file.
pub fn of_runs(folders: &[PathBuf]) -> Result<String, Failure> {
    let (mut signing, mut verifying) = (Vec::new(), Vec::new());
    for folder in folders {
        let run = RunFolder::read(folder, "compare")?;
        run.signer("compare")?;
        signing.extend(Work::signing(&run));
        verifying.push(Work::verifying(&run));
    }
    Ok(format!("{}\n{}", table("signing", &signing), table("verifying", &verifying)))
}

fn table(title: &str, works: &[Work]) -> String {
    let header = [title, "method", "total ms", "µs/message", "× native"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    for work in works {
        let native = works.iter().find(|other| other.by == NATIVE && other.method == work.method);
        let ratio = native.and_then(|native| Some(work.us_per_message()? / native.us_per_message()?));
        rows.push(vec![
            work.by.clone(),
            work.method.clone(),
            format!("{:.1}", work.busy_ns as f64 / 1e6),
            work.us_per_message().map_or(NOTHING.to_owned(), |us| format!("{us:.1}")),
            ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    aligned(&rows, 2)
}

impl Work {
    /// Signing in `run`; `None` if its signer left nothing to read.
    pub fn signing(run: &RunFolder) -> Option<Self> {
        let signer = run.signer.as_ref().ok()?;
        Some(Self {
            by: signer.runtime.clone(),
            method: run.summary.method(),
            messages: signer.signed,
            busy_ns: signer.sign_busy_ns,
        })
    }

    /// Verifying in `run`.
    pub fn verifying(run: &RunFolder) -> Self {
        let summary = &run.summary;
        Self {
            by: summary.verifier.clone(),
            method: summary.method(),
            messages: summary.counts.verified + summary.counts.not_verified,
            busy_ns: summary.verify_busy_ns,
        }
    }

    /// Time a message, in microseconds; `None` without messages.
    pub fn us_per_message(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.busy_ns as f64 / 1e3 / self.messages as f64)
    }
}
