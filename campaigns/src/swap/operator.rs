//! The operator: `signer ctl`, as anybody would use it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use serde::Deserialize;

use crate::support::process::{Ran, manner, run};
use crate::support::session::Session;
use crate::support::site::Site;

/// Who asks a signer to change.
pub struct Operator {
    program: PathBuf,
    /// The signer's control directory.
    pub directory: PathBuf,
}

/// The exit codes of a call that the signer refused, and of one that needn't be made, because it would.
const REFUSED: [i32; 2] = [1, 2];

/// How long a signer may take until it answers.
const SERVING_WITHIN: Duration = Duration::from_secs(30);

/// What serves a method.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Module {
    /// `ecdsa`, `schnorr` or `null`.
    pub method: String,
    /// The swap that brought it.
    pub generation: u32,
    /// What runs it.
    pub runtime: String,
    /// In hexadecimal digits; empty for native code.
    pub sha256: String,
}

/// The signer's answer to a swap.
#[derive(Debug, Deserialize)]
pub struct Swapped {
    /// What serves now.
    pub module: Module,
    /// How long it took to prepare.
    pub prepare_ns: u64,
    /// To be ready in all workers.
    pub install_ns: u64,
    /// To be switched to by all.
    pub switch_ns: u64,
}

/// A signer at a moment.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// The last swap.
    pub generation: u32,
    /// What serves each method.
    pub methods: Vec<Module>,
}

impl Operator {
    /// Who asks the signer of `site`.
    pub fn new(session: &Session, site: &Site) -> Self {
        Self { program: session.program("signer"), directory: site.path("control") }
    }

    /// The arguments of a call.
    pub fn arguments(&self, call: &[&str]) -> Vec<String> {
        let directory = self.directory.display().to_string();
        let first = ["ctl", "--json", "--control", &directory].map(str::to_owned);
        first.into_iter().chain(call.iter().map(|word| (*word).to_owned())).collect()
    }

    /// The program that asks.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Asks; the outer error is the campaign's, the inner one the signer's refusal.
    fn ask(&self, call: &[&str]) -> Result<Result<String, String>, Failure> {
        let Ran { status, stdout, stderr } = run(&self.program, self.arguments(call))?;
        match status.code() {
            Some(0) => Ok(Ok(stdout)),
            Some(code) if REFUSED.contains(&code) => Ok(Err(stderr)),
            _ => Err(Failure::failed(format_args!("signer ctl {call:?}: {}: {stderr}", manner(status)))),
        }
    }

    /// Asks for a swap; the inner error is the signer's refusal.
    ///
    /// # Errors
    /// The signer isn't there, or its answer is none.
    pub fn swap(&self, call: &[&str]) -> Result<Result<Swapped, String>, Failure> {
        let words: Vec<_> = ["swap"].iter().chain(call).copied().collect();
        match self.ask(&words)? {
            Ok(said) => serde_json::from_str(&said).map(Ok).map_err(|error| {
                Failure::failed(format_args!("signer ctl {words:?} answered {said:?}: {error}"))
            }),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// How the signer is, once it answers.
    ///
    /// # Errors
    /// It doesn't.
    pub fn await_status(&self) -> Result<Status, Failure> {
        let started = Instant::now();
        loop {
            match self.status() {
                Ok(status) => return Ok(status),
                Err(failure) if started.elapsed() > SERVING_WITHIN => return Err(failure),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// How the signer is.
    ///
    /// # Errors
    /// The signer isn't there, or its answer is none.
    pub fn status(&self) -> Result<Status, Failure> {
        let said = self.ask(&["status"])?.map_err(Failure::failed)?;
        serde_json::from_str(&said).map_err(|error| Failure::failed(format_args!("status {said:?}: {error}")))
    }
}
