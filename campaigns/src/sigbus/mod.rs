//! A ring that is cut or punched under running processes: each ends by itself, with exit code 3 and one line, or goes on
//! if what it needs is still there. Nobody dies of a signal.
//!
//! The campaign must not map such a ring itself: what it knows of the run, it knows from the consumer's journal.

mod damage;
mod full;
mod round;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Args;
use cli::{Exit, Failure};

use crate::support::rng::Rng;
use crate::support::session::{Common, Session};

use round::{Ends, Round};

/// How much damage to do.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// How many rings are cut or punched
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rounds: u64,
    /// What signs
    #[arg(long, value_name = "NAME", default_value = "native",
        value_parser = ["native", "wasmtime", "wasmi", "wasm3"])]
    runtime: String,
}

/// Rings at once: most of the time is spent waiting for stalls.
const LANES: u64 = 6;

struct Shared {
    plans: VecDeque<Rng>,
    ends: Ends,
    failure: Option<Failure>,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("sigbus", &options.common)?;
    let mut rng = session.rng();
    let plans = (0..options.rounds).map(|_| rng.fork()).collect();
    let shared = Mutex::new(Shared { plans, ends: Ends::default(), failure: None });
    let mut full_rng = rng.fork();
    let full = thread::scope(|scope| {
        let full = scope.spawn(|| full::run(&session, &options.runtime, &mut full_rng));
        for _ in 0..LANES {
            scope.spawn(|| run_lane(&session, &options.runtime, &shared));
        }
        full.join().unwrap_or_else(|_| Err(Failure::failed("the thread with the full tmpfs panicked")))
    });
    let Shared { mut ends, failure, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let full = match session.heed(full)? {
        None => "failed".to_owned(),
        Some(full::Outcome::Skipped(why)) => {
            session.say(format_args!("full tmpfs: skipped: {why}"));
            "skipped".to_owned()
        }
        Some(full::Outcome::Done(of_full)) => {
            ends.add(of_full);
            format!("{} rounds", full::ROUNDS)
        }
    };
    tell(&session, &ends);
    let counts = format!(
        "{} rings cut, {} punched, full tmpfs {full}, deaths by signal {}, wedged {}",
        ends.cut, ends.punched, ends.signals, ends.wedged
    );
    session.finish(counts)
}

fn run_lane(session: &Session, runtime: &str, shared: &Mutex<Shared>) {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let plan = lock().plans.pop_front();
        let Some(rng) = plan.filter(|_| session.complaints() == 0) else { return };
        match session.heed(Round::run(session, runtime, rng)) {
            Ok(ends) => lock().ends.add(ends.unwrap_or_default()),
            Err(failure) => {
                let mut shared = lock();
                shared.plans.clear();
                shared.failure = Some(failure);
            }
        }
    }
}

/// Says how the programs ended, and in which words.
fn tell(session: &Session, ends: &Ends) {
    let list = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(what, count)| format!("\n    {count:6}  {what}")).collect::<String>()
    };
    session.say(format_args!("ends:{}", list(&ends.codes)));
    session.say(format_args!("last words:{}", list(&ends.words)));
}
