//! `campaign mutate`: a peer that writes anywhere in the ring may cost messages, and no more.
//!
//! In each round the three real programs work on a ring of their own while a mutator writes into it, and stops. Then each
//! program goes on, or ends with a named stall and exit code 3: never by a signal or a panic, never in silence, and no line
//! of the journal that says verified is a wrong one.

mod ends;
mod lines;
pub mod writes;

use std::fmt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};
use rustix::process::Signal;
use shmem_layout::{Ring, attach};

use self::ends::{Ended, Ends};
use self::lines::Lines;
use self::writes::Target;
use crate::hostile::start_own;
use crate::support::ledger::Ledger;
use crate::support::process::Process;
use crate::support::rng::Rng;
use crate::support::session::{Common, Session};
use crate::support::site::Site;

/// What the campaign is told.
#[derive(Args)]
pub struct MutateOptions {
    #[command(flatten)]
    common: Common,

    /// Rounds, each on a new ring
    #[arg(long, default_value_t = 100)]
    rounds: u64,

    /// Rounds of the seed's plan to leave out: to have one of them again
    #[arg(long, default_value_t = 0)]
    skip: u64,

    /// Rounds at once: most of their time is waiting
    #[arg(long, default_value_t = 4)]
    parallel: usize,

    /// The runtimes to sign on, in turn
    #[arg(long, value_delimiter = ',', default_value = "native")]
    runtimes: Vec<String>,
}

/// When nothing has moved for so long, a program stalls.
const STALL: &str = "1";

/// How long a program may go on when nothing moves: some stalls.
const END_LIMIT: Duration = Duration::from_secs(4);

/// How long anything may move: what producers have takes seconds, but the machine may be busy.
const MOVING_LIMIT: Duration = Duration::from_secs(120);

/// How long a program may take to end when told to.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What a round does.
#[derive(Debug)]
struct Plan {
    capacity: u64,
    message_capacity: u64,
    batch: u64,
    workers: u64,
    verify_threads: u64,
    has_second_producer: bool,
    before: Duration,
    target: Target,
    milliseconds: u64,
    pause: u64,
    seed: u64,
}

impl Plan {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            capacity: rng.choose(&[1, 8, 64, 256]),
            message_capacity: rng.choose(&[64, 256, 5000]),
            batch: rng.choose(&[1, 8, 64]),
            workers: rng.within(1..3),
            verify_threads: rng.within(1..3),
            has_second_producer: rng.percent(30),
            before: rng.duration(Duration::ZERO..Duration::from_millis(300)),
            target: rng.choose(&Target::ALL),
            milliseconds: rng.within(50..1500),
            pause: rng.choose(&[0, 10, 1000, 10_000, 50_000, 200_000]),
            seed: rng.next() >> 1,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capacity, milliseconds, pause, target, .. } = self;
        write!(f, "{capacity} slots, {} for {milliseconds} ms, pausing {pause} µs", target.name())
    }
}

/// Runs the campaign.
///
/// # Errors
/// Arguments or environment; what goes wrong in the campaign is a complaint of its verdict.
pub fn run(options: &MutateOptions) -> Result<Exit, Failure> {
    let session = Session::begin("mutate", &options.common)?;
    if options.runtimes.is_empty() {
        return Err(Failure::bad_input("--runtimes: one is needed"));
    }
    let mut rng = session.rng();
    let plans = (0..options.skip + options.rounds).map(|round| {
        let runtime = &options.runtimes[round as usize % options.runtimes.len()];
        (round, runtime.as_str(), Plan::draw(&mut rng.fork()))
    });
    let plans = Mutex::new(plans.skip(options.skip as usize));
    let totals = Mutex::new(Totals::default());
    let next_plan = || plans.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || {
        while let Some((round, runtime, plan)) = next_plan() {
            let result = Round::run(&session, runtime, &plan)?;
            totals
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&session, round, runtime, &plan, result);
        }
        Ok::<_, Failure>(())
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..options.parallel).map(|_| scope.spawn(lane)).collect();
        let results = lanes.into_iter().map(|lane| {
            lane.join().unwrap_or_else(|_| Err(Failure::failed("a thread of the campaign has panicked")))
        });
        results.collect::<Result<Vec<()>, _>>()
    })?;
    let Totals { ends, verified, wrong, unknown, rounds } =
        totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    session.say(format_args!("ended {ends}; {verified} lines verified, {unknown} beyond judging"));
    session.finish(format_args!(
        "{rounds} rounds, deaths by signal {}, panics {}, hangs {}, silent {}, wrong verified lines {wrong}",
        ends.signals, ends.panics, ends.hangs, ends.silent
    ))
}

/// What all rounds came to.
#[derive(Default)]
struct Totals {
    rounds: u64,
    ends: Ends,
    verified: u64,
    wrong: u64,
    unknown: u64,
}

impl Totals {
    fn take(&mut self, session: &Session, round: u64, runtime: &str, plan: &Plan, result: Round) {
        self.rounds += 1;
        self.ends.add(&result.ends);
        self.verified += result.lines.verified;
        self.wrong += result.lines.wrong;
        self.unknown += result.lines.unknown;
        if !result.complaints.is_empty() {
            session.say(format_args!(
                "round {round} on {runtime} (again with --skip {round} --rounds 1): {plan}"
            ));
            result.complaints.iter().for_each(|complaint| session.complain(complaint));
            session.say(result.site.keep());
        }
    }
}

/// What a round came to.
struct Round {
    site: Site,
    ends: Ends,
    lines: Lines,
    complaints: Vec<String>,
}

impl Round {
    fn run(session: &Session, runtime: &str, plan: &Plan) -> Result<Self, Failure> {
        let site = Site::new(session)?;
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (capacity, message_capacity) = (plan.capacity.to_string(), plan.message_capacity.to_string());
        site.create_ring(&texts(&["--capacity", &capacity, "--message-capacity", &message_capacity]))?;
        // Enough for one or two seconds: with few slots, each message waits for the one before it.
        let is_slow = plan.capacity < 64 || !matches!(runtime, "native" | "wasmtime");
        let messages = if is_slow { 1000 } else { 20_000 };
        let sources = if plan.has_second_producer { &["one", "two"][..] } else { &["one"] };
        let mut rng = Rng::new(plan.seed);
        let ledgers = sources.iter().map(|source| Ledger::write(&site, source, messages, 24..64, &mut rng));
        let ledgers = ledgers.collect::<Result<Vec<_>, _>>()?;
        // A look that the mutator's writes to the header can't refuse.
        let ring = attach(&site.ring_path()).map_err(Failure::environment)?;
        let threads = plan.verify_threads.to_string();
        let consumer = site.consumer(&texts(&[
            "--stall",
            STALL,
            "--verifier",
            "secp256k1",
            "--verify-threads",
            &threads,
        ]))?;
        let (batch, workers) = (plan.batch.to_string(), plan.workers.to_string());
        let signer =
            site.signer(runtime, &texts(&["--stall", STALL, "--batch", &batch, "--workers", &workers]))?;
        // Enough for one or two seconds.
        let mut producers = Vec::new();
        for (ledger, close) in ledgers.iter().zip([true, false]) {
            let mut arguments = texts(&["--stall", STALL, "--method", "ecdsa"]);
            arguments.extend(ledger.arguments());
            // The first one closes the ring, whether the second has sent all or not.
            arguments.extend(close.then(|| "--close".to_owned()));
            producers.push(site.producer(&ledger.source, &arguments)?);
        }
        thread::sleep(plan.before);
        let mut mutator = start_mutator(&site, plan)?;
        let status = mutator.wait_for(Duration::from_millis(plan.milliseconds) + STOP_LIMIT)?;
        let mut round = Self { site, ends: Ends::default(), lines: Lines::default(), complaints: Vec::new() };
        match status {
            Some(status) if status.success() => {}
            // It attaches before anybody has damaged the ring, and writes as long as it was told to.
            _ => round.complaints.push(format!("the mutator: {}", mutator.last_words())),
        }
        producers.extend([consumer, signer]);
        round.end(&ring, producers)?;
        round.lines = lines::judge(&round.site, &ledgers)?;
        round.complaints.append(&mut round.lines.complaints);
        Ok(round)
    }

    /// Waits for all programs to end, and notes how they did.
    fn end(&mut self, ring: &Ring, processes: Vec<Process>) -> Result<(), Failure> {
        for mut process in processes {
            let ended = match wait_while_moving(&mut process, ring)? {
                Some(status) => Ended::by_itself(status, &process.said()),
                None => {
                    let silence = ends::silence(process.name(), ring)?;
                    process.signal(Signal::TERM);
                    match (process.wait_for(STOP_LIMIT)?, silence) {
                        (None, _) => Ended::Hang,
                        (Some(_), Some(why)) => Ended::Silent(why),
                        (Some(status), None) => Ended::when_told(status, &process.said()),
                    }
                }
            };
            if let Some(complaint) = ended.complaint() {
                self.complaints.push(format!("{} {complaint}", process.name()));
            }
            self.ends.note(&ended);
        }
        Ok(())
    }
}

/// Waits for a program to end, as long as anything moves in the ring.
fn wait_while_moving(process: &mut Process, ring: &Ring) -> Result<Option<ExitStatus>, Failure> {
    let started = Instant::now();
    let mut before = ring.snapshot().map_err(Failure::environment)?;
    loop {
        let status = process.wait_for(END_LIMIT)?;
        let now = ring.snapshot().map_err(Failure::environment)?;
        if status.is_some() || now == before || started.elapsed() > MOVING_LIMIT {
            return Ok(status);
        }
        before = now;
    }
}

fn start_mutator(site: &Site, plan: &Plan) -> Result<Process, Failure> {
    let (milliseconds, pause, seed) =
        (plan.milliseconds.to_string(), plan.pause.to_string(), plan.seed.to_string());
    let arguments =
        ["--target", plan.target.name(), "--milliseconds", &milliseconds, "--pause", &pause, "--seed", &seed];
    start_own(site, "mutator", &arguments.map(str::to_owned))
}
