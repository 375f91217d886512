//! A folder that a run left behind, read back: what `compare` and `report` go by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cli::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::output_folder::{PRODUCER, SIGNER, SUMMARY};
use crate::summary::Summary;

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Where it lies.
    pub path: PathBuf,
    /// What the consumer says.
    pub summary: Summary,
    /// What the signer says, or why nothing is known of it.
    pub signer: Result<SignerReport, String>,
    /// What the producer says, or why nothing is known of it.
    pub producer: Result<ProducerReport, String>,
}

/// What we need of the signer's `signer.json`; it says more. `None`: the file is older than the field.
#[derive(Clone, Debug, Deserialize)]
pub struct SignerReport {
    /// The runtime that signed.
    pub runtime: String,
    /// Whether it was one instance in all, whose module was swapped when the method changed.
    #[serde(default)]
    pub is_swapping: bool,
    /// Signing processes.
    pub workers: Option<u64>,
    /// How many of them died.
    #[serde(default)]
    pub worker_deaths: u64,
    /// Messages signed.
    pub signed: u64,
    /// Time spent signing, over all workers, in nanoseconds.
    pub sign_busy_ns: u64,
    /// Batches claimed.
    pub batches: Option<u64>,
    /// Modules swapped.
    #[serde(default)]
    pub swaps: u64,
    /// Memories restored after an error.
    #[serde(default)]
    pub restores: u64,
    /// Instances replaced after a trap, a missed deadline or a full heap.
    #[serde(default)]
    pub replacements: u64,
    /// Modules that were found compiled in memory.
    pub cache_memory_hits: Option<u64>,
    /// Modules that were found compiled on disk.
    pub cache_disk_hits: Option<u64>,
    /// Modules that had to be compiled.
    pub cache_misses: Option<u64>,
    /// Time spent compiling, or fetching what was compiled.
    pub compile_ns: Option<u64>,
    /// Time spent making instances.
    pub instantiate_ns: Option<u64>,
    /// Instances made.
    pub instances: Option<u64>,
    /// First batches of instances.
    pub first_calls: Option<u64>,
    /// Time that these took: part of `sign_busy_ns`.
    pub first_call_ns: Option<u64>,
    /// Records claimed at a time, at most.
    pub batch: Option<u64>,
    /// How the workers waited for the ring.
    pub wait: Option<String>,
    /// The processors that they were pinned to, or `any`.
    pub cpus: Option<String>,
    /// Whether they mapped the ring beforehand.
    pub prefault: Option<bool>,
    /// What signed each method.
    #[serde(default)]
    pub methods: Vec<SignedMethod>,
}

/// What signed a method.
#[derive(Clone, Debug, Deserialize)]
pub struct SignedMethod {
    /// The method.
    pub method: String,
    /// The runtime, at the end of the run.
    pub runtime: String,
    /// The variant of the module; `None` for `native`, as the next.
    pub variant: Option<String>,
    /// The module, in hexadecimal.
    pub module_sha256: Option<String>,
}

/// What we need of the producer's `producer.json`; it says more.
#[derive(Clone, Debug, Deserialize)]
pub struct ProducerReport {
    /// What messages were drawn from.
    pub seed: u64,
    /// The file that they were read from; `None` if they were generated.
    pub input: Option<String>,
    /// Messages asked for; `None`: all of the input.
    pub messages: Option<u64>,
    /// Messages a second of the schedule; `None` without one.
    pub rate: Option<f64>,
    /// How it waited for the ring.
    pub wait: String,
    /// The processors that it was pinned to, or `any`.
    pub cpus: String,
    /// Whether it mapped the ring beforehand.
    pub prefault: bool,
    /// Messages written into the ring.
    pub sent: u64,
    /// Messages left out because they were too long for the ring.
    pub skipped: u64,
    /// Whether all that was asked for was sent.
    pub is_complete: bool,
}

impl RunFolder {
    /// The run in the folder `path`.
    ///
    /// # Errors
    /// It has no readable `summary.json`: bad input that names the file and says that `who` wants it.
    pub fn read(path: &Path, who: &str) -> Result<Self, Failure> {
        let summary = path.join(SUMMARY);
        Ok(Self {
            path: path.to_owned(),
            summary: parse(&summary).map_err(|error| no_run(&summary, &error, who))?,
            signer: parse(&path.join(SIGNER)),
            producer: parse(&path.join(PRODUCER)),
        })
    }

    /// What the signer says.
    ///
    /// # Errors
    /// Nothing that can be read: bad input that names the file and says that `who` wants it.
    pub fn signer(&self, who: &str) -> Result<&SignerReport, Failure> {
        self.signer.as_ref().map_err(|error| no_run(&self.path.join(SIGNER), error, who))
    }
}

fn no_run(file: &Path, error: &str, who: &str) -> Failure {
    Failure::bad_input(format_args!("{}: {error}; {who} wants folders of finished runs", file.display()))
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let parsed = fs::read(path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
    parsed.map_err(|error| error.to_string())
}
