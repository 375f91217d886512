//! What a user waits for, and what stays: from the launch of the signer to the first signature, and the memory of each process.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use shmem_layout::now_ns;
use tempfile::TempDir;

use crate::measure::{Contender, Values};
use crate::pipeline::Programs;
use crate::process::{PATIENCE, Process, work_folder};
use crate::{Error, Result};

/// Records after which memory is looked at.
const RECORDS: usize = 1000;

/// The programs on one runtime, with a cache of compiled modules that the first sample fills.
pub struct Start<'a> {
    programs: &'a Programs,
    runtime: &'static str,
    cache: TempDir,
}

#[derive(Deserialize)]
struct Line {
    verified: Option<bool>,
    times: Times,
}

#[derive(Deserialize)]
struct Times {
    signed_ns: u64,
}

impl<'a> Start<'a> {
    /// On `runtime`, with an empty cache.
    pub fn new(programs: &'a Programs, runtime: &'static str) -> Result<Self> {
        let mut start = Self { programs, runtime, cache: work_folder()? };
        // Whatever the plan is: what is measured is a warm cache.
        start.sample()?;
        Ok(start)
    }

    fn send(&self, ring: &Path, messages: usize) -> Result<()> {
        let mut producer = self.programs.quiet("producer");
        producer.arg("--ring").arg(ring).args(["--method", "ecdsa", "--messages", &messages.to_string()]);
        // Each under a name of its own: under one it would go on behind the messages that it has sent.
        producer.args(["--source", &format!("of-{messages}")]);
        Process::start("producer", &mut producer)?.finish(PATIENCE).map(|_| ())
    }
}

impl Contender for Start<'_> {
    fn name(&self) -> String {
        self.runtime.into()
    }

    fn sample(&mut self) -> Result<Values> {
        let folder = work_folder()?;
        let (ring, out) = (folder.path().join("ring"), folder.path().join("out"));
        let key = self.programs.key(folder.path())?;
        self.programs.create_ring(&ring, 1024, 64)?;
        // The first message waits for the signer.
        self.send(&ring, 1)?;
        let mut consumer = self.programs.quiet("consumer");
        consumer.arg("--ring").arg(&ring).arg("--out").arg(&out);
        let consumer =
            Process::start("consumer", consumer.args(["--public-key", &self.programs.public_key(&key)?]))?;
        let mut signer = self.programs.signer(&ring, &key, self.runtime);
        signer.arg("--cache").arg(self.cache.path().join("modules"));
        let launched_ns = now_ns();
        let signer = Process::start("signer", &mut signer)?;
        let first_ns = lines(&out, 1)?[0].times.signed_ns - launched_ns;
        self.send(&ring, RECORDS - 1)?;
        if lines(&out, RECORDS)?.iter().any(|line| line.verified != Some(true)) {
            return Err("a signature that doesn't verify".into());
        }
        let worker = children(signer.id())?.pop().ok_or("the signer has no worker")?;
        let values = Values::from([
            ("first signature", first_ns as f64 / 1e6),
            ("supervisor", resident_mib(signer.id())?),
            ("worker", resident_mib(worker)?),
            ("consumer", resident_mib(consumer.id())?),
        ]);
        signer.stop()?;
        consumer.stop()?;
        Ok(values)
    }
}

/// The first `wanted` lines of what the consumer writes, once they are there.
fn lines(out: &Path, wanted: usize) -> Result<Vec<Line>> {
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(out.join("signatures.ndjson")).unwrap_or_default();
        // One that has no end yet is still being written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if whole.clone().count() >= wanted {
            return whole.map(|line| serde_json::from_str(line).map_err(Error::from)).collect();
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{wanted} records were not signed and verified within {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes that `process` has started.
fn children(process: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// What of `process` is in memory, shared pages and all.
fn resident_mib(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: f64 = text.split_whitespace().nth(1).ok_or("statm has no second number")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64 / (1024.0 * 1024.0))
}
