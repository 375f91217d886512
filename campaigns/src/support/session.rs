//! The frame of a campaign: what it is told, its seed, what it complains of, its verdict.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use cli::{Exit, Failure};
use rustix::rand::{GetRandomFlags, getrandom};

use super::rng::Rng;

/// What every campaign is told.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Folder of the programs producer, signer, consumer and ringctl [default: the one that this program is in]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// What the plan is drawn from [default: drawn at random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Append a line to this file: time, campaign, seed, counts, commit, result; tabs in between
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

/// A campaign at work. Its threads may share it.
pub struct Session {
    name: &'static str,
    seed: u64,
    programs: PathBuf,
    results: Option<PathBuf>,
    complaints: AtomicU64,
}

/// The programs that every campaign runs.
const PROGRAMS: [&str; 4] = ["producer", "signer", "consumer", "ringctl"];

impl Session {
    /// Begins the campaign `name`: says its seed, finds the programs.
    ///
    /// # Errors
    /// A program isn't there: bad input.
    pub fn begin(name: &'static str, common: &Common) -> Result<Self, Failure> {
        let seed = common.seed.map_or_else(random_seed, Ok)?;
        let programs = common.programs.clone().map_or_else(own_folder, Ok)?;
        // Children are started in folders of their own.
        let programs = programs.canonicalize().map_err(|error| {
            Failure::bad_input(format_args!("--programs {}: {error}", programs.display()))
        })?;
        for program in PROGRAMS {
            if !programs.join(program).is_file() {
                return Err(Failure::bad_input(format_args!(
                    "--programs {}: there is no {program}; build the programs first",
                    programs.display()
                )));
            }
        }
        let session =
            Self { name, seed, programs, results: common.results.clone(), complaints: AtomicU64::new(0) };
        session.say(format_args!("seed {seed}"));
        Ok(session)
    }

    /// The numbers that the plan is drawn from.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed)
    }

    /// What all of its plan is drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The path of one of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Says something.
    pub fn say(&self, what: impl Display) {
        // Whoever has stopped listening still gets the exit code.
        let _ = cli::print(&format!("{}: {what}\n", self.name));
    }

    /// Says what went wrong, and counts it: a campaign with a complaint has failed.
    pub fn complain(&self, what: impl Display) {
        self.complaints.fetch_add(1, Ordering::Relaxed);
        self.say(format_args!("FAILED: {what}"));
    }

    /// What a part of the campaign came to; `None`, and a complaint, if it was the programs that failed.
    ///
    /// # Errors
    /// It can't be said whose fault it is: the campaign can't go on.
    pub fn heed<T>(&self, result: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.exit == Exit::Failed => {
                self.complain(failure);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// How often it has complained.
    pub fn complaints(&self) -> u64 {
        self.complaints.load(Ordering::Relaxed)
    }

    /// Ends with the verdict: one line, which is also noted among the results.
    ///
    /// # Errors
    /// The results can't be written.
    pub fn finish(self, counts: impl Display) -> Result<Exit, Failure> {
        let is_good = self.complaints() == 0;
        self.say(&counts);
        if let Some(path) = &self.results {
            let result = if is_good { "passed" } else { "failed" };
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let line = format!("{time}\t{}\t{}\t{counts}\t{}\t{result}\n", self.name, self.seed, commit());
            append(path, &line)?;
        }
        Ok(if is_good { Exit::Done } else { Exit::Failed })
    }
}

fn random_seed() -> Result<u64, Failure> {
    let mut seed = [0; 4];
    // Four bytes: short enough to be read out and typed.
    getrandom(&mut seed, GetRandomFlags::empty()).map_err(|error| {
        Failure::environment(format_args!("no random seed: {error}; give one with --seed"))
    })?;
    Ok(u32::from_le_bytes(seed).into())
}

fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::environment(format_args!("{error}; say where the programs are with --programs"))
    })?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Lines of several campaigns that end at once stay whole: each is one write at the end of the file.
fn append(path: &Path, line: &str) -> Result<(), Failure> {
    let appended = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    appended.map_err(|error| Failure::environment(format_args!("--results {}: {error}", path.display())))
}

/// The commit of the working directory, with `-dirty` if tracked files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => commit + "-dirty",
        _ => "unknown".to_owned(),
    }
}
