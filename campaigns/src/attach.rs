//! `campaign attach`: of many that start at once one wins, whoever is merely stopped keeps what it has, and a ring left by
//! dead processes is picked up again or removed.

mod leftovers;
mod race;
pub mod starter;

use clap::Args;
use cli::{Exit, Failure};

use self::starter::Role;
use crate::support::session::{Common, Session};

/// What the campaign is told.
#[derive(Args)]
pub struct AttachOptions {
    #[command(flatten)]
    common: Common,

    /// Starts in all for each of the roles that one process may have
    #[arg(long, default_value_t = 1000)]
    starts: u64,

    /// How many of them start at once, in a race of their own
    #[arg(long, default_value_t = 100)]
    at_once: u64,
}

/// How many of the real programs start at once: each brings a runtime along.
const PROGRAMS: usize = 20;

/// Runs the campaign.
///
/// # Errors
/// Arguments or environment; what goes wrong in the campaign is a complaint of its verdict.
pub fn run(options: &AttachOptions) -> Result<Exit, Failure> {
    let session = Session::begin("attach", &options.common)?;
    let mut rng = session.rng();
    let mut counts = Vec::new();
    for role in [Role::Consumer, Role::Producer, Role::Creator] {
        let (mut races, mut starts, mut winners) = (0, 0, 0);
        while starts < options.starts {
            let race = race::run(&session, role, options.at_once.clamp(1, options.starts - starts))?;
            races += 1;
            starts += race.starts;
            winners += race.winners;
        }
        counts.push(format!("{} {starts} starts in {races} races, {winners} winners", role.name()));
    }
    leftovers::programs(&session, PROGRAMS)?;
    leftovers::stopped_member(&session, &mut rng)?;
    leftovers::left_by_the_dead(&session, &mut rng)?;
    leftovers::removal(&session, &mut rng)?;
    let complaints = session.complaints();
    session.finish(format_args!("{}; {complaints} complaints", counts.join(", ")))
}
