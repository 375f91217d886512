//! Several runs side by side: what signing and verifying cost on each runtime.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cli::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::output_folder::{SIGNER, SUMMARY};
use crate::summary::Summary;
use crate::table::{NOTHING, aligned};

/// The runtime that the others are held against.
const NATIVE: &str = "native";

/// What we need of the signer's `signer.json`; it says more.
#[derive(Debug, Deserialize)]
pub struct SignerReport {
    /// The runtime that signed.
    pub runtime: String,
    /// Messages signed.
    pub signed: u64,
    /// Time spent signing, over all workers, in nanoseconds.
    pub sign_busy_ns: u64,
}

/// Work of one kind in one run.
struct Work {
    by: String,
    method: String,
    messages: u64,
    busy_ns: u64,
}

/// The comparison of the runs in `folders`: a table for signing and one for verifying, with total time, time per
/// message, and the ratio to `native` doing the same method.
///
/// # Errors
/// A folder lacks a readable `summary.json` or `signer.json`: bad input that names the file.
pub fn of_runs(folders: &[PathBuf]) -> Result<String, Failure> {
    let (mut signing, mut verifying) = (Vec::new(), Vec::new());
    for folder in folders {
        let summary: Summary = read(&folder.join(SUMMARY))?;
        let signer: SignerReport = read(&folder.join(SIGNER))?;
        let method = summary.method();
        verifying.push(Work {
            by: summary.verifier,
            method: method.clone(),
            messages: summary.counts.verified + summary.counts.not_verified,
            busy_ns: summary.verify_busy_ns,
        });
        signing.push(Work {
            by: signer.runtime,
            method,
            messages: signer.signed,
            busy_ns: signer.sign_busy_ns,
        });
    }
    Ok(format!("{}\n{}", table("signing", &signing), table("verifying", &verifying)))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let parsed = fs::read(path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
    parsed.map_err(|error| {
        Failure::bad_input(format_args!(
            "{}: {error}; compare wants folders of finished runs",
            path.display()
        ))
    })
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
    fn us_per_message(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.busy_ns as f64 / 1e3 / self.messages as f64)
    }
}
