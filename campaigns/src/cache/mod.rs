//! Compiled modules that are not what they were: tampered, cut, stale, foreign. None reaches the runtime, and signing goes on.
//! And a crowd of processes that load, save, evict and clear at once, and are killed in the middle of it.

mod crowd;
mod signers;
mod tamper;
mod vault;

use clap::Args;
use cli::{Exit, Failure};

use crate::support::session::{Common, Session};

pub use crowd::{MemberOptions, run_member};

/// How many files.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Files that are not to be loaded
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    files: u64,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("cache", &options.common)?;
    let mut rng = session.rng();
    let (mut tamper_rng, mut crowd_rng) = (rng.fork(), rng.fork());
    let tampered = tamper::run(&session, &mut tamper_rng, options.files)?;
    let crowd = crowd::run(&session, &mut crowd_rng, options.files)?;
    let warned = session.heed(signers::run(&session))?.unwrap_or(0);
    session.finish(format!(
        "{} files hurt, {} deserialized; {} untouched, all deserialized; skipped {}; a crowd of {} processes, {} killed, \
         {} loads, {} broken; signers over a hurt cache: {warned} lines of warning",
        tampered.hurt,
        tampered.deserialized,
        tampered.controls,
        tampered.skipped,
        crowd.started,
        crowd.killed,
        crowd.loads,
        crowd.broken
    ))
}
