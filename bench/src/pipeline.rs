//! Ringseal's own programs, by their command lines: a ring, a producer, a signer, a consumer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench_signing::SECRET;
use serde::Deserialize;

use crate::Result;
use crate::process::{PATIENCE, Process, work_folder};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs(PathBuf);

/// What messages are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Generated, of so many bytes.
    Generated(usize),
    /// Lines of hexadecimal digits, of 64 bytes at most.
    Lines(PathBuf),
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The signer's runtime.
    pub runtime: &'static str,
    /// The method.
    pub method: &'static str,
    /// How many processes sign.
    pub workers: usize,
    /// How many messages.
    pub messages: u64,
    /// What they are.
    pub content: Content,
    /// Messages a second, if not as many as can be.
    pub rate: Option<f64>,
    /// Slots of the ring.
    pub capacity: usize,
    /// Who verifies; `none` also writes no signatures.
    pub verifier: &'static str,
    /// In how many threads.
    pub verify_threads: usize,
    /// The folder of the signer's control plane, if it has one.
    pub control: Option<PathBuf>,
}

impl Setup {
    /// One worker, as many messages a second as can be, in a ring of 1,024 slots, verified by nobody.
    pub fn new(runtime: &'static str, method: &'static str, messages: u64) -> Self {
        let content = Content::Generated(64);
        Self {
            runtime,
            method,
            workers: 1,
            messages,
            content,
            rate: None,
            capacity: 1024,
            verifier: "none",
            verify_threads: 1,
            control: None,
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// Records in a second, from the first one's writing to the last one's arrival.
    pub records_per_s: f64,
    /// From when each was due to its arrival: 50th, 99th and 99.9th percentile, in µs.
    pub end_to_end_us: [f64; 3],
    /// CPU time of all processes, from their start to their end.
    pub cpu: Duration,
    /// The signatures in hexadecimal digits, unless the verifier was `none`.
    pub signatures: Vec<String>,
}

#[derive(Deserialize)]
struct Summary {
    counts: Counts,
    messages_per_s: Option<f64>,
    stages: Stages,
}

#[derive(Deserialize)]
struct Counts {
    records: u64,
    verified: u64,
    unchecked: u64,
}

#[derive(Deserialize)]
struct Stages {
    end_to_end: Latencies,
}

#[derive(Deserialize)]
struct Latencies {
    p50_ns: Option<f64>,
    p99_ns: Option<f64>,
    p99_9_ns: Option<f64>,
}

#[derive(Deserialize)]
struct Line {
    signature: String,
}

impl Programs {
    /// In `folder`.
    pub fn at(folder: &Path) -> Result<Self> {
        for program in ["ringctl", "producer", "signer", "consumer"] {
            if !folder.join(program).is_file() {
                return Err(format!("there is no {program} in {}: run.sh builds it", folder.display()).into());
            }
        }
        Ok(Self(folder.to_owned()))
    }

    /// Whether the signer has that runtime.
    pub fn has_runtime(&self, runtime: &str) -> Result<bool> {
        let folder = work_folder()?;
        let (ring, key) = (folder.path().join("none"), self.key(folder.path())?);
        let status = self.signer(&ring, &key, runtime).status()?;
        // Environment, for there is no such ring; bad arguments, if it hasn't.
        Ok(status.code() == Some(3))
    }

    /// Runs the three roles. An error if a record is lost, or one is not as it should be.
    pub fn run(&self, setup: &Setup) -> Result<Ran> {
        let folder = work_folder()?;
        let (ring, out) = (folder.path().join("ring"), folder.path().join("out"));
        let key = self.key(folder.path())?;
        let len = if let Content::Generated(len) = setup.content { len } else { 64 };
        self.create_ring(&ring, setup.capacity, len.max(64))?;

        let mut consumer = self.quiet("consumer");
        consumer.arg("--ring").arg(&ring).arg("--out").arg(&out).args(["--verifier", setup.verifier]);
        consumer.args(["--verify-threads", &setup.verify_threads.to_string()]);
        if setup.verifier == "none" {
            consumer.args(["--output", "none"]);
        } else {
            consumer.args(["--public-key", &self.public_key(&key)?]);
        }
        let consumer = Process::start("consumer", &mut consumer)?;
        let mut signer = self.signer(&ring, &key, setup.runtime);
        if let Some(control) = &setup.control {
            signer.arg("--control").arg(control);
        }
        let signer = Process::start("signer", signer.args(["--workers", &setup.workers.to_string()]))?;
        self.wait_for_members(&ring, 1 + setup.workers)?;

        let mut producer = self.quiet("producer");
        producer.arg("--ring").arg(&ring).args(["--method", setup.method, "--close"]);
        producer.args(["--messages", &setup.messages.to_string()]);
        match &setup.content {
            Content::Generated(len) => producer.args(["--size", &len.to_string()]),
            Content::Lines(path) => producer.arg("--input").arg(path).args(["--format", "hex"]),
        };
        if let Some(rate) = setup.rate {
            producer.args(["--rate", &rate.to_string()]);
        }
        let producer = Process::start("producer", &mut producer)?;
        let limit = PATIENCE + Duration::from_micros(setup.messages * 10_000);
        let mut cpu = producer.finish(limit)?;
        cpu += signer.finish(PATIENCE)?;
        cpu += consumer.finish(PATIENCE)?;
        let mut ran = read_summary(&out, setup)?;
        ran.cpu = cpu;
        Ok(ran)
    }

    /// A file in `folder` with the key that everybody signs with.
    pub fn key(&self, folder: &Path) -> Result<PathBuf> {
        let key = folder.join("key");
        fs::write(&key, SECRET.map(|byte| format!("{byte:02x}")).concat())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok(key)
    }

    /// A ring at `ring` of so many slots, for messages of so many bytes.
    pub fn create_ring(&self, ring: &Path, capacity: usize, message_capacity: usize) -> Result<()> {
        let mut create = self.quiet("ringctl");
        create.arg("create").arg(ring).args(["--capacity", &capacity.to_string()]);
        create.args(["--message-capacity", &message_capacity.to_string()]);
        Process::start("ringctl", &mut create)?.finish(PATIENCE).map(|_| ())
    }

    /// A signer for `ring`, which is still to be started.
    pub fn signer(&self, ring: &Path, key: &Path, runtime: &str) -> Command {
        let mut signer = self.quiet("signer");
        signer.arg("--ring").arg(ring).arg("--key").arg(key).args(["--runtime", runtime]);
        signer
    }

    /// With its words discarded.
    pub fn quiet(&self, program: &str) -> Command {
        let mut command = Command::new(self.0.join(program));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The public key of the one in the file `key`, in hexadecimal digits.
    pub fn public_key(&self, key: &Path) -> Result<String> {
        let output = Command::new(self.0.join("signer")).args(["public-key", "--key"]).arg(key).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn wait_for_members(&self, ring: &Path, wanted: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let output = Command::new(self.0.join("ringctl")).arg("show").arg(ring).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_ready = |line: &&str| {
                let mut words = line.split_whitespace();
                words.next() == Some("member")
                    && matches!(words.next(), Some("signer" | "consumer"))
                    && line.contains("alive")
            };
            if text.lines().filter(is_ready).count() >= wanted {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("signer and consumer have not joined the ring after {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn read_summary(out: &Path, setup: &Setup) -> Result<Ran> {
    let summary: Summary = serde_json::from_str(&fs::read_to_string(out.join("summary.json"))?)?;
    let verifies = setup.verifier != "none";
    let good = if verifies { summary.counts.verified } else { summary.counts.unchecked };
    if (summary.counts.records, good) != (setup.messages, setup.messages) {
        let records = summary.counts.records;
        return Err(
            format!("of {} messages {records} came, and {good} as they should", setup.messages).into()
        );
    }
    let mut signatures = Vec::new();
    if verifies {
        for line in fs::read_to_string(out.join("signatures.ndjson"))?.lines() {
            signatures.push(serde_json::from_str::<Line>(line)?.signature);
        }
    }
    let latencies = summary.stages.end_to_end;
    let us = |ns: Option<f64>| ns.unwrap_or_default() / 1000.0;
    Ok(Ran {
        records_per_s: summary.messages_per_s.unwrap_or_default(),
        end_to_end_us: [us(latencies.p50_ns), us(latencies.p99_ns), us(latencies.p99_9_ns)],
        cpu: Duration::ZERO,
        signatures,
    })
}
