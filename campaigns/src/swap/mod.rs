//! Swaps under load: nothing is lost, doubled, or attributed to what did not sign it.
//!
//! Rounds of two kinds, each on a ring of its own. In every other one, two producers write `ecdsa` messages as fast as the ring
//! takes them, and an operator changes modules, variants and runtimes, goes back, and tries hostile modules. In the
//! others the method is `null`, on a schedule, and each module answers with a number of its own: the bytes say who signed. Then
//! rounds in which somebody is killed in mid-swap.

mod figures;
mod history;
mod kills;
mod modules;
pub mod operator;
mod plan;
mod round;

use std::time::Duration;

use clap::Args;
use cli::{Exit, Failure};

use crate::support::load::Totals;
use crate::support::rng::Rng;
use crate::support::session::{Common, Session};
use figures::Figures;
use kills::Kills;
use round::{Kind, Round};

/// How many swaps, and how many kills.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Swaps, made and refused
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    swaps: u64,
    /// Kills in mid-swap [default: a tenth of the swaps]
    #[arg(long, value_name = "N")]
    kills: Option<u64>,
    /// Runtimes that modules are swapped between
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "native,wasmtime,wasmi,wasm3",
        value_parser = ["native", "wasmtime", "wasmi", "wasm3"])]
    runtimes: Vec<String>,
}

/// Swaps on one ring, and kills.
const ROUND_SWAPS: u64 = 100;
const ROUND_KILLS: u64 = 50;

/// Messages that are signed for real, at full speed.
const ECDSA: Kind = Kind { method: "ecdsa", runtime: "wasmtime", rate: None, lines: 400_000 };

/// Messages that are stamped, on a schedule.
const STAMPS: Kind = Kind { method: "null", runtime: "wasmtime", rate: Some(4_000), lines: 400_000 };

#[derive(Default)]
struct Total {
    made: u64,
    refused: u64,
    misattributed: u64,
    kills: Kills,
    records: Totals,
    /// Of both kinds of rounds, and of stamps alone.
    ecdsa: Figures,
    stamps: Figures,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("swap", &options.common)?;
    let mut rng = session.rng();
    let (mut total, mut number) = (Total::default(), 0_u64);
    let kills = options.kills.unwrap_or(options.swaps / 10);
    while total.swaps() < options.swaps && session.complaints() == 0 {
        let left = options.swaps - total.swaps();
        let count = left.min(ROUND_SWAPS).min(options.swaps.div_ceil(4));
        let is_stamps = number % 2 == 1;
        number += 1;
        let round = total.swap(&session, options, is_stamps, count, &mut rng.fork());
        session.heed(round)?;
    }
    while total.kills.total() < kills && session.complaints() == 0 {
        let count = (kills - total.kills.total()).min(ROUND_KILLS);
        let round = total.kill(&session, options, count, &mut rng.fork());
        session.heed(round)?;
    }
    let counts = total.tell(&session);
    session.finish(counts)
}

impl Total {
    fn swaps(&self) -> u64 {
        self.made + self.refused
    }

    fn swap(
        &mut self,
        session: &Session,
        options: &Options,
        is_stamps: bool,
        count: u64,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let kind = if is_stamps { STAMPS } else { ECDSA };
        let quiet = Duration::from_millis((count * 40).clamp(1000, 10_000));
        let round = Round::start(session, kind, &options.runtimes, self.swaps(), rng)?;
        let outcome = round.swap(count, quiet, rng)?;
        self.made += outcome.made;
        self.refused += outcome.refused;
        self.misattributed += outcome.misattributed;
        self.records.add(&outcome.totals);
        (if is_stamps { &mut self.stamps } else { &mut self.ecdsa }).add(outcome.figures);
        Ok(())
    }

    fn kill(
        &mut self,
        session: &Session,
        options: &Options,
        count: u64,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let base = if rng.percent(30) { STAMPS } else { ECDSA };
        // What is built in needs no compiler, so that it is there again at once.
        let kind = Kind { runtime: if base.method == "null" { "wasmtime" } else { "native" }, ..base };
        let round = Round::start(session, kind, &options.runtimes, 1_000_000 + self.kills.total(), rng)?;
        let (outcome, kills) = round.kill(count, rng)?;
        self.kills.add(&kills);
        self.misattributed += outcome.misattributed;
        self.records.add(&outcome.totals);
        Ok(())
    }

    fn tell(&mut self, session: &Session) -> String {
        session.say("swaps of modules that sign, under full load:");
        self.ecdsa.tell_swaps(session);
        session.say("swaps of modules that stamp, under a schedule:");
        self.stamps.tell_swaps(session);
        self.stamps.tell_records(session);
        let Kills { of: [workers, supervisors, preparations], old, new } = self.kills;
        session.say(format_args!(
            "kills: {workers} workers, {supervisors} supervisors, {preparations} preparations; then {old} times the old \
             module, {new} times the new one"
        ));
        let [calm, busy] = self.stamps.p999();
        let records = &self.records;
        format!(
            "{} swaps made, {} refused, {} kills; {} records, lost {}, doubled {}, unverified {}, misattributed {}, failed {}, \
             wedged {}; p99.9 {calm:.1?} without and {busy:.1?} with swaps",
            self.made,
            self.refused,
            self.kills.total(),
            records.delivered,
            records.lost,
            records.doubled,
            records.unverified,
            self.misattributed,
            records.failed,
            records.wedged,
        )
    }
}
