//! A trial: the three programs with one hostile module, and messages that provoke it among others.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shmem_layout::attach;

use super::DEADLINE;
use super::exhibits::{self, Exhibit, Fate};
use super::judge::{Asked, is_guilty};
use crate::support::ledger::Ledger;
use crate::support::process::{Process, manner};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

/// Records that a worker claims at once at most.
const BATCH: u32 = 4;

/// Records of the longest batch that a module is tried with before it is taken.
const KNOWN_ANSWERS: u32 = 7;

/// Workers that may die with a record in hand: the default of `ringctl create`.
const ATTEMPTS: u32 = 3;

/// Messages of a trial: fewer than the ring has slots.
const MESSAGES: usize = 40;
const CAPACITY: usize = 64;

/// How long a trial may take.
const BOUND: Duration = Duration::from_secs(100);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long a signer may take to refuse a module: what the preparation of one has at most, on a loaded machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(40);

/// The source of all messages.
const SOURCE: &str = "alpha";

/// What trials came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many.
    pub trials: u64,
    /// Guilty records.
    pub guilty: u64,
    /// The others.
    pub neighbours: u64,
    /// Modules that were not taken.
    pub refused: u64,
    /// Workers that died of a module.
    pub deaths: u64,
    /// CPU time of all processes of the signer.
    pub spent: Duration,
    /// The worst ratio of CPU time to budget, and with which module.
    pub worst: (f64, String),
}

impl Outcome {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.trials += other.trials;
        self.guilty += other.guilty;
        self.neighbours += other.neighbours;
        self.refused += other.refused;
        self.deaths += other.deaths;
        self.spent += other.spent;
        if other.worst.0 > self.worst.0 {
            self.worst.clone_from(&other.worst);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} trials, {} refused, {} guilty records among {} others, {} workers ended, at most {:.2} of the budget ({})",
            self.trials,
            self.refused,
            self.guilty,
            self.neighbours,
            self.deaths,
            self.worst.0,
            if self.worst.1.is_empty() { "-" } else { &self.worst.1 },
        )
    }
}

/// See the module.
pub struct Trial<'a> {
    runtime: &'a str,
    exhibit: &'a Exhibit,
    /// The exhibit in binary.
    module: &'a [u8],
    deadline: Duration,
    /// CPU time of a trial in which nobody does harm.
    honest: Duration,
    verifies: bool,
    rng: Rng,
}

impl<'a> Trial<'a> {
    /// A trial of `exhibit` on `runtime`; with `verifies`, by a signer that looks at what it signs.
    pub fn new(
        runtime: &'a str,
        exhibit: &'a Exhibit,
        module: &'a [u8],
        honest: Duration,
        verifies: bool,
        rng: Rng,
    ) -> Self {
        Self { runtime, exhibit, module, deadline: DEADLINE, honest, verifies, rng }
    }

    /// The same, with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What it has to complain of; or the campaign can't go on.
    pub fn run(mut self, session: &Session) -> Result<Outcome, Failure> {
        let site = Site::new(session)?;
        let mut complaints = Vec::new();
        let outcome = self.run_in(&site, &mut complaints);
        if complaints.is_empty() {
            return outcome;
        }
        if let Err(failure) = outcome {
            complaints.push(failure.message);
        }
        let (name, more) = (&self.exhibit.name, complaints.len() - 1);
        let how = if self.verifies { ", verified before release" } else { "" };
        Err(Failure::failed(format_args!(
            "{name} on {}{how}: {} (and {more} more); {}",
            self.runtime,
            complaints[0],
            site.keep()
        )))
    }

    fn run_in(&mut self, site: &Site, complaints: &mut Vec<String>) -> Result<Outcome, Failure> {
        let path = site.path(&format!("{}.wasm", self.exhibit.name));
        write(&path, self.module)?;
        let longest = if self.exhibit.is_large { 131_072 } else { 256 };
        let arguments = ["--capacity", &CAPACITY.to_string(), "--message-capacity", &longest.to_string()];
        site.create_ring(&arguments.map(str::to_owned))?;
        if self.exhibit.fate == Fate::Refused {
            return self.see_refused(site, &path, complaints);
        }
        let messages = self.messages();
        let ledger = Ledger { source: SOURCE.into(), path: site.path("lines"), lines: messages.len() as u64 };
        write(&ledger.path, &[messages.join(&b'\n'), b"\n".to_vec()].concat())?;
        // All of them are there before anybody signs, so that batches are as long as they get.
        see_end(&mut site.producer(SOURCE, &ledger.arguments())?, &[0])?;
        let mut consumer = site.consumer(&[])?;
        let mut signer = site.signer(self.runtime, &self.signer_arguments(site, &path))?;
        self.await_answers(site, &mut signer, &messages)?;
        self.see_status(site, complaints)?;
        site.close_ring()?;
        let is_done = [0, i32::from(!matches!(self.exhibit.fate, Fate::Signed))];
        let ended = signer.wait_with_cpu_time(BOUND)?;
        let Some((status, spent)) = ended else { return Err(Failure::failed("the signer doesn't end")) };
        if !status.code().is_some_and(|code| is_done.contains(&code)) {
            complaints.push(format!("the signer: {}: {}", manner(status), signer.last_words()));
        }
        see_end(&mut consumer, &is_done)?;
        let short = hex::encode(&Sha256::digest(self.module)[..8]);
        let asked = Asked {
            messages: &messages,
            fate: &self.exhibit.fate,
            verifies: self.verifies,
            dies_for_time: self.runtime == "wasm3",
            origin: (&short, self.runtime),
        };
        let (found, batches) = asked.complaints(&site.out(), site.public_key())?;
        complaints.extend(found);
        self.see_words(&signer, &path, complaints);
        let guilty = messages.iter().filter(|message| is_guilty(message)).count() as u64;
        let deaths = signer.said().matches("starting another one").count() as u64;
        let mut outcome = Outcome {
            trials: 1,
            guilty,
            neighbours: messages.len() as u64 - guilty,
            refused: 0,
            deaths,
            spent,
            worst: (0.0, String::new()),
        };
        self.see_budget(&mut outcome, &batches, complaints);
        Ok(outcome)
    }

    /// Good ones, and a few guilty ones in their midst, sometimes side by side.
    fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut guilty = Vec::new();
        for _ in 0..2 {
            let first = self.rng.within(4..MESSAGES as u64 - 6);
            guilty.extend(first..first + self.rng.within(1..3));
        }
        let message = |position: u64| {
            let is_guilty = guilty.contains(&position);
            let mut text = format!("{}{SOURCE} {position} ", if is_guilty { "EVIL " } else { "" });
            let len = if is_guilty && self.exhibit.is_large { 100_000 } else { 60 };
            text.extend(std::iter::repeat_n('.', len));
            text.into_bytes()
        };
        (0..MESSAGES as u64).map(message).collect()
    }

    fn signer_arguments(&self, site: &Site, module: &Path) -> Vec<String> {
        let mut arguments = vec![
            "--module".to_owned(),
            format!("ecdsa={}", module.display()),
            "--batch".into(),
            BATCH.to_string(),
            // Who waits takes no CPU time.
            "--wait".into(),
            "block".into(),
            "--deadline".into(),
            self.deadline.as_millis().to_string(),
            "--control".into(),
            site.path("control").display().to_string(),
        ];
        if self.verifies {
            arguments.push("--verify-before-release".into());
        }
        arguments
    }

    fn await_answers(&self, site: &Site, signer: &mut Process, messages: &[Vec<u8>]) -> Result<(), Failure> {
        let ring = attach(&site.ring_path()).map_err(Failure::failed)?;
        let started = Instant::now();
        loop {
            let snapshot = ring.snapshot().map_err(Failure::failed)?;
            let delivered: u64 = snapshot.sources.iter().map(|source| source.next).sum();
            if delivered == messages.len() as u64 {
                return Ok(());
            }
            if let Some(status) = signer.try_wait()? {
                let (manner, words) = (manner(status), signer.last_words());
                return Err(Failure::failed(format_args!("the signer ended: {manner}: {words}")));
            }
            if started.elapsed() > BOUND {
                return Err(Failure::failed(format_args!("{delivered} delivered in {BOUND:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The operator can see what became of it.
    fn see_status(&self, site: &Site, complaints: &mut Vec<String>) -> Result<(), Failure> {
        let control = site.path("control").display().to_string();
        let asked = ["ctl", "--control", &control, "--json", "status"].map(str::to_owned);
        let said = site.run("signer", &asked)?.stdout;
        let status: Value = serde_json::from_str(&said).map_err(Failure::failed)?;
        let count = |name: &str| status["counters"][name].as_u64().unwrap_or(0);
        let seen = count("restores") + count("replacements") + count("worker_deaths");
        let is_harmed = match &self.exhibit.fate {
            // An answer is refused, and the instance was none the worse for it.
            Fate::Fails(failures) => !failures.contains(&exhibits::Failure::Answer),
            _ => false,
        } && !self.exhibit.words.is_empty();
        if is_harmed && seen == 0 {
            complaints.push(format!("status shows no restore, replacement or death: {said}"));
        }
        let deaths = status["workers"][0]["deaths"].as_u64().unwrap_or(0);
        let last = status["workers"][0]["last_death"].as_str().unwrap_or_default();
        if deaths > 0 && !self.exhibit.words.iter().any(|words| last.contains(words)) {
            complaints.push(format!("status calls its last death {last:?}"));
        }
        Ok(())
    }

    /// The signer has said which module did what.
    fn see_words(&self, signer: &Process, module: &Path, complaints: &mut Vec<String>) {
        let said = signer.said();
        let is_told = |words: &String| {
            said.lines().any(|line| line.contains(words) && line.contains(&module.display().to_string()))
        };
        if !self.exhibit.words.is_empty() && !self.exhibit.words.iter().any(is_told) {
            let words = &self.exhibit.words;
            complaints.push(format!("the signer doesn't name the module and say {words:?}: {said:?}"));
        }
        if said.contains('\x1b') || said.contains("panicked") {
            complaints.push(format!("the signer says {said:?}"));
        }
    }

    /// What guilty records have: a try with their batch, and one alone. Where workers die, the batch isn't known, and there
    /// are more tries.
    fn budget(&self, batches: &[(u32, u32)]) -> Duration {
        let guilty: u32 = batches.iter().map(|batch| batch.1).sum();
        if self.runtime == "wasm3" {
            return self.deadline * (BATCH + ATTEMPTS - 1) * guilty;
        }
        let together: u32 = batches.iter().map(|batch| batch.0).filter(|records| *records > 1).sum();
        self.deadline * (together + guilty)
    }

    fn see_budget(&self, outcome: &mut Outcome, batches: &[(u32, u32)], complaints: &mut Vec<String>) {
        if self.honest == Duration::MAX {
            return;
        }
        // Who is started again costs no more than a whole trial.
        let usual = self.honest * (1 + outcome.deaths as u32);
        let over = outcome.spent.saturating_sub(usual);
        let budget = self.budget(batches);
        outcome.worst = (over.as_secs_f64() / budget.as_secs_f64(), self.exhibit.name.clone());
        if over > 2 * budget {
            let (spent, deaths) = (outcome.spent, outcome.deaths);
            complaints.push(format!("{spent:?} of CPU time with {deaths} deaths, where {usual:?} are usual and the budget is {budget:?}"));
        }
    }

    /// The signer ends with a word about it.
    fn see_refused(
        &self,
        site: &Site,
        module: &Path,
        complaints: &mut Vec<String>,
    ) -> Result<Outcome, Failure> {
        let mut signer = site.signer(self.runtime, &self.signer_arguments(site, module))?;
        let ended = signer.wait_with_cpu_time(REFUSED_WITHIN)?;
        let Some((status, spent)) = ended else {
            return Err(Failure::failed("the signer doesn't refuse it"));
        };
        let said = signer.said();
        if status.code() != Some(2) || said.lines().count() != 1 {
            complaints.push(format!("the signer: {}, not 2 and one line: {said:?}", manner(status)));
        }
        self.see_words(&signer, module, complaints);
        let mut outcome = Outcome { trials: 1, refused: 1, spent, ..Outcome::default() };
        self.see_budget(&mut outcome, &[(KNOWN_ANSWERS, 1)], complaints);
        // There is no record whose budget it could be.
        outcome.worst = Default::default();
        Ok(outcome)
    }
}

/// The native runtime is refused with any module.
///
/// # Errors
/// It isn't; or the campaign can't go on.
pub fn native_runs_no_modules(session: &Session) -> Result<(), Failure> {
    let site = Site::new(session)?;
    site.create_ring(&[])?;
    let path: PathBuf = site.path("module.wasm");
    write(&path, super::BASE)?;
    let mut signer = site.signer("native", &["--module".into(), format!("ecdsa={}", path.display())])?;
    see_end(&mut signer, &[2])?;
    match signer.said() {
        said if said.contains("runs no modules") && said.contains("module.wasm") => Ok(()),
        said => Err(Failure::failed(format_args!("native, with a module: {said:?}"))),
    }
}

fn see_end(process: &mut Process, codes: &[i32]) -> Result<(), Failure> {
    let status = process.wait_for(BOUND)?;
    if status.and_then(|status| status.code()).is_some_and(|code| codes.contains(&code)) {
        return Ok(());
    }
    let (name, words) = (process.name(), process.last_words());
    let how = status.map_or("doesn't end".to_owned(), manner);
    Err(Failure::failed(format_args!("{name}: {how}, not {codes:?}: {words}")))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| Failure::environment(format_args!("{}: {error}", path.display())))
}
