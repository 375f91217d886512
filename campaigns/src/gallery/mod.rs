//! Hostile modules, on every runtime: what harm do they do to anybody but themselves?
//!
//! Most of them sign as the real module does, and so pass the known-answer test, until a message begins with "EVIL".
//! Such messages are put among good ones. Each guilty record must be answered with the failure that it deserves, in
//! not much more CPU time than it has; all others must be signed; and the signer must say what happened, and go on.
//! The others do harm at once, and must not be taken: neither at the start, nor by a signer at work.

pub mod exhibits;
mod judge;
mod swaps;
mod trial;
pub mod wrap;

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clap::Args;
use cli::{Exit, Failure};

use crate::support::session::{Common, Session};
use exhibits::{Exhibit, Fate};
use trial::{Outcome, Trial};
use wrap::{Real, push_custom_section};

/// What a record may take, in CPU time: several times what the slowest interpreter needs.
const DEADLINE: Duration = Duration::from_millis(50);

/// Where, and how often.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// How often each module is shown
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u64,
    /// Runtimes that it is shown on
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "native,wasmtime,wasmi,wasm3",
        value_parser = ["native", "wasmtime", "wasmi", "wasm3"])]
    runtimes: Vec<String>,
    /// Show these alone
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// The real modules: of WebAssembly 1.0, and of all that the fast runtimes take.
pub const BASE: &[u8] = include_bytes!("../../../bins/ecdsa.base.wasm");
pub const WIDE: &[u8] = include_bytes!("../../../bins/ecdsa.wide.wasm");

/// The one that `runtime` runs, in text.
fn real_module(runtime: &str) -> Result<Real, Failure> {
    Real::new(if runtime == "wasm3" { BASE } else { WIDE }).map_err(Failure::environment)
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("gallery", &options.common)?;
    let mut rng = session.rng();
    let (mut total, mut modules, mut swaps_refused) = (Outcome::default(), 0, 0);
    for runtime in &options.runtimes {
        if runtime == "native" {
            session.heed(trial::native_runs_no_modules(&session))?;
            session.say("native: runs no modules, and says so");
            continue;
        }
        let real = real_module(runtime)?;
        let measured = Measured::take(&session, runtime, &real)?;
        let exhibits = exhibits::all(measured.within, measured.beyond).map_err(Failure::environment)?;
        let exhibits: Vec<_> =
            exhibits.into_iter().filter(|exhibit| options.shows(exhibit, runtime)).collect();
        modules = modules.max(exhibits.len());
        let wrapped: Result<Vec<_>, _> = exhibits.iter().map(|exhibit| real.wrap(exhibit)).collect();
        let wrapped = wrapped.map_err(Failure::environment)?;
        let mut trials = Vec::new();
        for _ in 0..options.rounds {
            for (exhibit, module) in exhibits.iter().zip(&wrapped) {
                let trial =
                    |verifies| Trial::new(runtime, exhibit, module, measured.honest, verifies, rng.clone());
                trials.push(trial(false));
                if matches!(exhibit.fate, Fate::Wrong | Fate::Spoils) {
                    trials.push(trial(true));
                }
                rng.next();
            }
        }
        let of_runtime = show(&session, trials)?;
        session.say(format_args!("{runtime}: {} modules: {of_runtime}", exhibits.len()));
        total.add(&of_runtime);
        let offered: Vec<_> = exhibits.iter().zip(wrapped.iter().map(Vec::as_slice)).collect();
        if let Some((refused, of_load)) =
            session.heed(swaps::offer(&session, runtime, &offered, &mut rng.fork()))?
        {
            let (delivered, lost) = (of_load.delivered, of_load.lost);
            session.say(format_args!(
                "{runtime}: {refused} offered to a signer at work, and refused; {delivered} records meanwhile, lost {lost}"
            ));
            swaps_refused += refused;
        }
    }
    let runtimes = options.runtimes.join(", ");
    session.finish(format_args!("{modules} modules on {runtimes}: {total}; {swaps_refused} swaps refused"))
}

impl Options {
    fn shows(&self, exhibit: &Exhibit, runtime: &str) -> bool {
        (self.only.is_empty() || self.only.contains(&exhibit.name))
            && !(exhibit.is_wide && runtime == "wasm3")
    }
}

/// Runs the trials, on all cores, and says what was wrong.
fn show(session: &Session, trials: Vec<Trial<'_>>) -> Result<Outcome, Failure> {
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let trials = Mutex::new(trials.into_iter());
    let total = Mutex::new(Outcome::default());
    let next = || trials.lock().ok()?.next();
    let lane = || -> Result<(), Failure> {
        while let Some(trial) = next() {
            if let Some(outcome) = session.heed(trial.run(session))? {
                total.lock().map_err(Failure::environment)?.add(&outcome);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        for lane in lanes {
            lane.join().map_err(|_| Failure::failed("a trial panicked"))??;
        }
        Ok::<_, Failure>(())
    })?;
    total.into_inner().map_err(Failure::environment)
}

/// What was found out of a runtime beforehand.
struct Measured {
    /// CPU time of a trial in which nobody does harm: the longest of some.
    honest: Duration,
    /// Steps of work that a record has ample time for.
    within: u64,
    /// And far too little.
    beyond: u64,
}

impl Measured {
    fn take(session: &Session, runtime: &str, real: &Real) -> Result<Self, Failure> {
        // For a first guess: some ten ms.
        let first = if runtime == "wasmtime" { 30_000_000 } else { 1_000_000 };
        let shown = |name: &str, deadline: Duration| {
            let exhibits = exhibits::all(first, first).map_err(Failure::environment)?;
            let exhibit = exhibits.iter().find(|exhibit| exhibit.name == name);
            let exhibit = exhibit.ok_or_else(|| Failure::environment(format_args!("no exhibit {name}")))?;
            let mut module = real.wrap(exhibit).map_err(Failure::environment)?;
            // One that is in nobody's cache, the first time.
            push_custom_section(&mut module, &session.rng().next().to_le_bytes());
            let trial = Trial::new(runtime, exhibit, &module, Duration::MAX, false, session.rng());
            trial.with_deadline(deadline).run(session)
        };
        let patient = Duration::from_secs(100);
        let mut honest = Duration::ZERO;
        for _ in 0..3 {
            honest = honest.max(shown("honest", patient)?.spent);
        }
        let slow = shown("slow-within-limits", patient)?;
        let took = slow.spent.saturating_sub(honest).max(Duration::from_millis(10));
        let steps_in = |time: Duration| {
            let steps = first as f64 * slow.guilty as f64;
            (steps * time.as_secs_f64() / took.as_secs_f64()) as u64 + 1
        };
        Ok(Self { honest, within: steps_in(DEADLINE / 5), beyond: steps_in(DEADLINE * 20) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exhibit_is_webassembly_text() {
        let [base, wide] = [BASE, WIDE].map(|module| Real::new(module).unwrap());
        for exhibit in exhibits::all(1, 1).unwrap() {
            let module = (if exhibit.is_wide { &wide } else { &base }).wrap(&exhibit).unwrap();
            assert_eq!(module.len() > 5 << 20, exhibit.padding > 0, "{}", exhibit.name);
        }
    }

    #[test]
    fn a_wrapped_module_exports_each_name_once_and_without_a_piece_is_the_real_one() {
        let exhibits = exhibits::all(1, 1).unwrap();
        let named = |name: &str| exhibits.iter().find(|exhibit| exhibit.name == name).unwrap();
        let count = |bytes: &[u8], name: &str| {
            wasmprinter::print_bytes(bytes).unwrap().matches(&format!("(export \"{name}\"")).count()
        };
        let base = Real::new(BASE).unwrap();
        let wrapped = base.wrap(named("loop-in-reset")).unwrap();
        for name in ["WasmRun", "WasmReset", "WasmInit", "memory"] {
            assert_eq!(count(&wrapped, name), 1, "{name}");
        }
        assert_eq!(count(&base.wrap(named("no-reset")).unwrap(), "WasmReset"), 0);
        let padded = base.wrap(named("custom-section-of-64-mib")).unwrap();
        assert!(padded.len() > 64 << 20);
        assert_eq!(count(&padded, "WasmRun"), 1);
    }
}
