//! SIGSTOP of each role for up to half a minute under load: who is merely slow must never be taken for dead.
//!
//! Several rings at once, for most of the time is spent waiting. On each, stops of different roles overlap.

mod round;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use cli::{Exit, Failure};

use crate::support::load::Totals;
use crate::support::session::{Common, Session};

use round::{Plan, Stops};

/// What to stop, and for how long.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// How often somebody is stopped
    #[arg(long, value_name = "N", default_value_t = 1000)]
    stops: u64,
    /// The longest stop. Each order of magnitude from 0.2 ms up to it is as likely as the others
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    longest: f64,
    /// Runtimes that sign, in turn
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "native",
        value_parser = ["native", "wasmtime", "wasmi", "wasm3"])]
    runtimes: Vec<String>,
}

/// Rings at once.
const LANES: u64 = 4;

/// Stops on one ring, at least and at most.
const ROUND_STOPS: (u64, u64) = (4, 40);

/// What the lanes share.
struct Shared {
    plans: VecDeque<Plan>,
    stops: Stops,
    totals: Totals,
    failure: Option<Failure>,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("pause", &options.common)?;
    let longest = Duration::try_from_secs_f64(options.longest)
        .map_err(|error| Failure::bad_input(format_args!("--longest {}: {error}", options.longest)))?;
    let mut rng = session.rng();
    let size = (options.stops / (2 * LANES)).clamp(ROUND_STOPS.0, ROUND_STOPS.1);
    let mut plans = VecDeque::new();
    let mut planned = 0;
    while planned < options.stops {
        let stops = size.min(options.stops - planned);
        let runtime = &options.runtimes[plans.len() % options.runtimes.len()];
        plans.push_back(Plan::draw(runtime, stops, longest, &mut rng));
        planned += stops;
    }
    let shared = Shared { plans, stops: Stops::default(), totals: Totals::default(), failure: None };
    let shared = Mutex::new(shared);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| run_lane(&session, &shared));
        }
    });
    let Shared { stops, totals, failure, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    session.say(format_args!("{stops}"));
    session.say(format_args!("{} lines delivered", totals.delivered));
    let takeovers = stops.takeovers + totals.void + totals.failed;
    if totals.void > 0 {
        session.complain(format_args!("{} slots of living producers were made void", totals.void));
    }
    let counts = format!(
        "{} stops, 0 to {} s, takeovers {takeovers}, lost {}, doubled {}, unverified {}, wedged {}",
        stops.count, options.longest, totals.lost, totals.doubled, totals.unverified, totals.wedged
    );
    session.finish(counts)
}

/// Works off rounds until there are none, or one has failed.
fn run_lane(session: &Session, shared: &Mutex<Shared>) {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let plan = lock().plans.pop_front();
        let Some(plan) = plan.filter(|_| session.complaints() == 0) else { return };
        match session.heed(plan.run(session)) {
            Ok(None) => {}
            Ok(Some((stops, totals))) => {
                let mut shared = lock();
                shared.stops.add(&stops);
                shared.totals.add(&totals);
            }
            Err(failure) => {
                let mut shared = lock();
                shared.plans.clear();
                shared.failure = Some(failure);
            }
        }
    }
}
