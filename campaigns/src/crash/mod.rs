//! Random SIGKILL of each role under load, with a ledger outside the ring as the judge.
//!
//! Rounds of a few hundred kills on a ring of their own. In each, every role is killed again and again at times of its
//! own, so that deaths overlap, and is started again at once, as a service manager would do it. At a round's end the
//! load comes to its end in order, and is judged.

mod kills;
mod recovery;
mod round;

use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};

use crate::support::load::{Shape, Totals};
use crate::support::rng::Rng;
use crate::support::session::{Common, Session};
use crate::support::stats::quantiles;

use kills::Kills;
use recovery::Measured;
use round::Round;

/// Kills of each role, the signer's supervisor included.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// How often each role is killed while it is at work
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    kills: u64,
    /// Runtimes that sign; the slow ones get few of the kills
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "native,wasmtime,wasmi,wasm3",
        value_parser = ["native", "wasmtime", "wasmi", "wasm3"])]
    runtimes: Vec<String>,
}

/// Kills of each role on one ring.
const ROUND_KILLS: u64 = 300;

/// Of a hundred kills, how many a runtime gets, beside others: wasmtime compiles at each start, the interpreters sign slowly.
fn share(runtime: &str) -> u64 {
    match runtime {
        "native" => 70,
        "wasmtime" => 18,
        _ => 6,
    }
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("crash", &options.common)?;
    let mut rng = session.rng();
    let (mut kills, mut totals, mut measured) = (Kills::default(), Totals::default(), Measured::default());
    let shares: u64 = options.runtimes.iter().map(|runtime| share(runtime)).sum();
    let mut due = 0;
    'runtimes: for (number, runtime) in options.runtimes.iter().enumerate() {
        let is_last = number + 1 == options.runtimes.len();
        due += if is_last {
            options.kills - due.min(options.kills)
        } else {
            options.kills * share(runtime) / shares
        };
        let (started, before) = (Instant::now(), kills.least());
        while kills.least() < due {
            let quota = kills.missing(due).min(ROUND_KILLS);
            let shape = shape(runtime, quota.most(), &mut rng);
            if let Some(round) = session.heed(Round::run(&session, shape, quota, rng.fork()))? {
                kills.add(&round.kills);
                totals.add(&round.totals);
                measured.add(round.measured);
            }
            if session.complaints() > 0 {
                break 'runtimes;
            }
        }
        session.say(format_args!(
            "{runtime}: {} kills per role in {:.0?}",
            kills.least() - before,
            started.elapsed()
        ));
    }
    tell(&session, &kills, &totals, &mut measured);
    let p99 = quantiles(&mut measured.recoveries).map_or("-".into(), |of| format!("{:.1} ms", ms(of.p99)));
    let counts = format!(
        "{} kills per role, lost {}, doubled {}, unverified {}, wedged {}, recovery p99 {p99}",
        kills.least(),
        totals.lost,
        totals.doubled,
        totals.unverified,
        totals.wedged
    );
    session.finish(counts)
}

/// A load: at full speed or on a schedule, many slots or few, one worker or two.
fn shape(runtime: &str, kills: u64, rng: &mut Rng) -> Shape {
    let is_slow = matches!(runtime, "wasmi" | "wasm3");
    let rate = rng.choose(if is_slow { &[Some(200), None] } else { &[Some(2_000), Some(8_000), None] });
    let longest = rng.choose(&[64, 200, 400]);
    let shape = Shape {
        runtime: runtime.into(),
        method: "ecdsa",
        signer_arguments: Vec::new(),
        consumer_arguments: Vec::new(),
        workers: rng.within(1..3),
        verify_threads: rng.within(1..3),
        capacity: rng.choose(&[64, 256, 1024]),
        max_attempts: 15,
        sizes: 32..longest,
        rate,
        // If they run out all the same, the round ends early, and another one makes up for it.
        lines: 10_000 + kills * if is_slow { 100 } else { 800 },
    };
    // A producer writes a short message so fast that it is hardly ever killed at it.
    match runtime {
        "native" if rng.percent(50) => Shape { sizes: 4_000..16_000, rate: None, lines: 8_000, ..shape },
        _ => shape,
    }
}

fn tell(session: &Session, kills: &Kills, totals: &Totals, measured: &mut Measured) {
    session.say(format_args!("{kills}"));
    session.say(format_args!(
        "{} lines delivered, {} slots void, {} records failed",
        totals.delivered, totals.void, totals.failed
    ));
    for (name, samples) in [
        ("kill to lock released", &mut measured.releases),
        ("lock released to nothing held, of those that held claims", &mut measured.recoveries),
    ] {
        if let Some(of) = quantiles(samples) {
            session.say(format_args!(
                "{name}: {} samples, p50 {:.1}, p99 {:.1}, max {:.1} ms",
                samples.len(),
                ms(of.p50),
                ms(of.p99),
                ms(of.max)
            ));
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
