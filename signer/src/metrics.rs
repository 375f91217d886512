//! Metrics, health and readiness over HTTP: what a monitoring system asks of a running signer.
//!
//! The server runs on one niced thread of its own and knows no ring, no worker and no key. For each request it asks the
//! supervisor's thread for a [`Snapshot`], which comes from pages that the workers write without knowing who reads them, and makes
//! text of it. A client, whatever it does, costs the workers nothing but processor time that they don't need.
//!
//! ```text
//! client ──HTTP──► server's thread ──Question, eventfd──► supervisor's thread ◄──reads── pages of statistics
//!                        ◄──────────────Snapshot────────────────┘
//! ```

mod address;
mod families;
mod server;
#[cfg(test)]
mod tests;

use clap::Args;
use extension_engine::Runtime;
use tokio::sync::oneshot;

use crate::memory_lock::Locked;
use crate::stats::Totals;

pub use address::Address;
pub(crate) use server::Server;

/// The metrics' part of the signer's command line.
#[derive(Args)]
pub(crate) struct MetricsArguments {
    /// Serve /metrics for Prometheus, /healthz and /readyz: at 127.0.0.1:PORT or unix:PATH
    ///
    /// Port 0 is any that is free, and is said on standard error. A socket lies in a folder of yours with mode 700, which is made
    /// if it is missing
    #[arg(long, value_name = "ADDRESS", help_heading = "Operation")]
    pub metrics: Option<Address>,
}

/// Takes the answer of the supervisor's thread. Dropped, it tells the client that the signer is ending.
pub(crate) type Question = oneshot::Sender<Box<Snapshot>>;

/// A signer at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Seconds since 1970, as of the start.
    pub started_unix_seconds: f64,
    /// What all workers have counted.
    pub totals: Totals,
    /// The places of workers, and how many of them have one that can sign.
    pub workers: usize,
    pub workers_ready: usize,
    /// What has happened to them.
    pub tally: Tally,
    /// The last swap.
    pub generation: u32,
    /// What serves each method.
    pub modules: Vec<ModuleInfo>,
    /// How much of the workers' memory is never swapped out; none before the first has started.
    pub locked: Option<Locked>,
    /// Slots of the ring in use, and all there are; none before a worker has seen it.
    pub ring: Option<(u64, u64)>,
    /// Whether it goes on.
    pub course: Course,
}

/// What the supervisor counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Worker processes started, those on standby included.
    pub starts: u64,
    /// Those of them that took the place of one that had died.
    pub restarts: u64,
    /// Workers that died, in the order of [`Tally::DEATH_NAMES`].
    pub deaths: [u64; Tally::DEATHS],
    /// Changes made.
    pub key_rotations: u64,
    pub limit_changes: u64,
}

impl Tally {
    /// How a worker may die: killed by SIGKILL, by another signal, by a panic, by a module that could not be interrupted, or with an
    /// exit code of another meaning.
    pub const DEATH_NAMES: [&'static str; Self::DEATHS] = ["sigkill", "signal", "panic", "overdue", "exit"];
    const DEATHS: usize = 5;
}

/// What serves a method.
#[derive(Clone, Debug)]
pub(crate) struct ModuleInfo {
    pub method: &'static str,
    pub runtime: Runtime,
    /// Empty for the native code, as is the next.
    pub variant: String,
    /// In hexadecimal digits.
    pub sha256: String,
    pub generation: u32,
}

/// Whether the signer goes on.
#[derive(Clone, Debug, Default)]
pub(crate) enum Course {
    /// It does.
    #[default]
    On,
    /// It finishes what is claimed, and ends.
    Draining,
    /// It ends, for this reason.
    GivenUp(String),
}

impl Snapshot {
    /// Whether the supervisor has not given its workers up; else why.
    fn health(&self) -> Result<(), String> {
        match &self.course {
            Course::GivenUp(why) => Err(format!("given up: {why}")),
            Course::On | Course::Draining => Ok(()),
        }
    }

    /// Whether records are signed that come now; else why not.
    fn readiness(&self) -> Result<(), String> {
        self.health()?;
        match &self.course {
            Course::Draining => Err("draining: nothing more is claimed".to_owned()),
            _ if self.workers_ready > 0 => Ok(()),
            _ if self.tally.deaths.iter().sum::<u64>() > 0 => Err(format!(
                "none of {} workers is ready: the last one died, and another one starts",
                self.workers
            )),
            _ => Err(format!("none of {} workers is ready yet", self.workers)),
        }
    }
}
