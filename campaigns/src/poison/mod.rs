//! Records that kill whoever signs them: with three attempts allowed, they fail after the third, and nobody else does.
//!
//! No shipped module kills its worker, and to kill a worker in time from outside is a race. So the signer is one of this
//! campaign's own, on the ring's shipped code: it claims batches as the shipped worker does, and kills itself once it
//! has copied a guilty message, with the whole batch in its hands. What saves the neighbours is that a tried record is
//! claimed alone.

mod doomed;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};

use crate::support::judge::judge;
use crate::support::ledger::Ledger;
use crate::support::load::Totals;
use crate::support::process::{Process, manner};
use crate::support::rng::Rng;
use crate::support::session::{Common, Session};
use crate::support::site::Site;

pub use doomed::{Options as DoomedOptions, run as run_doomed};

/// How many rings.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Rings with guilty records in them
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: u64,
}

/// Signers that may die with a record in hand: the default of `ringctl create`.
const ATTEMPTS: u64 = 3;

/// The source that all messages come from.
const SOURCE: &str = "alpha";

/// How long a round may take.
const BOUND: Duration = Duration::from_secs(60);

/// How many complaints are told in words.
const TOLD_MAX: usize = 10;

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("poison", &options.common)?;
    let mut rng = session.rng();
    let (mut totals, mut rounds, mut deaths) = (Totals::default(), 0, 0);
    while rounds < options.rounds && session.complaints() == 0 {
        let round = Round::draw(&session, &mut rng.fork()).and_then(|round| round.run(&session));
        if let Some((of_round, deaths_of_round)) = session.heed(round)? {
            totals.add(&of_round);
            deaths += deaths_of_round;
        }
        rounds += 1;
    }
    let counts = format!(
        "{rounds} rounds, {} guilty records failed after {deaths} deaths, {} others signed, lost {}, doubled {}, \
         unverified {}, wedged {}",
        totals.failed,
        totals.delivered - totals.failed,
        totals.lost,
        totals.doubled,
        totals.unverified,
        totals.wedged
    );
    session.finish(counts)
}

struct Round {
    site: Site,
    ledger: Ledger,
    guilty: BTreeSet<u64>,
    /// Doomed signers at once.
    signers: u64,
    complaints: Vec<String>,
    totals: Totals,
}

impl Round {
    /// A few guilty records among some hundred, often side by side.
    fn draw(session: &Session, rng: &mut Rng) -> Result<Self, Failure> {
        let site = Site::new(session)?;
        let capacity = rng.choose(&[64_u64, 256]);
        let number = |value: u64| value.to_string();
        site.create_ring(&[
            "--capacity".into(),
            number(capacity),
            "--max-attempts".into(),
            number(ATTEMPTS),
        ])?;
        let lines = rng.within(100..600);
        let ledger = Ledger::write(&site, SOURCE, lines, 32..200, rng)?;
        let mut guilty = BTreeSet::new();
        for _ in 0..rng.within(1..5) {
            let first = rng.within(0..lines);
            guilty.extend(first..(first + rng.within(1..4)).min(lines));
        }
        let signers = rng.within(1..3);
        Ok(Self { site, ledger, guilty, signers, complaints: Vec::new(), totals: Totals::default() })
    }

    /// Gives also how many signers have died.
    fn run(mut self, session: &Session) -> Result<(Totals, u64), Failure> {
        let mut consumer = self.site.consumer(&[])?;
        let mut arguments = self.ledger.arguments();
        arguments.push("--close".into());
        let mut producer = self.site.producer(SOURCE, &arguments)?;
        let started = Instant::now();
        let deaths = self.sign(started)?;
        self.see_end(&mut producer, started, 0)?;
        // It says that records have failed.
        self.see_end(&mut consumer, started, 1)?;
        if self.totals.wedged == 0 {
            self.judge(deaths)?;
        }
        let Self { site, guilty, complaints, totals, .. } = self;
        if !complaints.is_empty() {
            for complaint in complaints.iter().take(TOLD_MAX) {
                session.complain(complaint);
            }
            drop((producer, consumer));
            let (count, kept) = (complaints.len(), site.keep());
            session.say(format_args!("{count} complaints in all; guilty: {guilty:?}; {kept}"));
        }
        Ok((totals, deaths))
    }

    /// Starts signers, and those again that die, until the stream is answered.
    fn sign(&mut self, started: Instant) -> Result<u64, Failure> {
        let mut deaths = 0;
        let mut signers = Vec::new();
        for number in 0..self.signers {
            signers.push(self.doomed(number)?);
        }
        while !signers.is_empty() {
            for number in (0..signers.len()).rev() {
                match signers[number].try_wait()? {
                    None => {}
                    Some(status) if status.success() => drop(signers.swap_remove(number)),
                    // A death: its signal is its own.
                    Some(status) if status.code().is_none() => {
                        deaths += 1;
                        signers[number] = self.doomed(deaths)?;
                    }
                    Some(status) => {
                        let words = signers.swap_remove(number).last_words();
                        self.complaints.push(format!("a signer: {}: {words}", manner(status)));
                    }
                }
            }
            // As many as there may be, and then it is not the records any more.
            if started.elapsed() > BOUND || deaths > 2 * ATTEMPTS * self.guilty.len() as u64 {
                self.totals.wedged = 1;
                self.complaints.push(format!("not answered for {BOUND:?}, or too late: {deaths} deaths"));
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(deaths)
    }

    fn doomed(&self, number: u64) -> Result<Process, Failure> {
        let own = std::env::current_exe()
            .map_err(|error| Failure::environment(format_args!("own path: {error}")))?;
        let guilty: Vec<_> = self.guilty.iter().map(u64::to_string).collect();
        let arguments = [
            "doomed-signer".to_owned(),
            "--ring".into(),
            self.site.ring().display().to_string(),
            "--key".into(),
            self.site.path("key").display().to_string(),
            "--guilty".into(),
            guilty.join(","),
        ];
        Process::start(format_args!("doomed signer {number}"), &own, arguments, self.site.path("doomed.said"))
    }

    fn see_end(&mut self, process: &mut Process, started: Instant, code: i32) -> Result<(), Failure> {
        let left =
            if self.totals.wedged > 0 { Duration::ZERO } else { BOUND.saturating_sub(started.elapsed()) };
        match process.wait_for(left)? {
            Some(status) if status.code() == Some(code) => {}
            Some(status) => {
                let (name, words) = (process.name(), process.last_words());
                self.complaints.push(format!("{name}: {}, not {code}: {words}", manner(status)));
            }
            None => {
                self.totals.wedged = 1;
                self.complaints.push(format!("{} does not end", process.name()));
            }
        }
        Ok(())
    }

    /// Exactly the guilty have failed, after three deaths each at most.
    fn judge(&mut self, deaths: u64) -> Result<(), Failure> {
        let ledgers = [(&self.ledger, self.ledger.lines)];
        let judgement = judge(&self.site.out(), self.site.public_key(), &ledgers)?;
        self.complaints.extend(judgement.complaints);
        let failed: BTreeSet<u64> = judgement.failed.iter().map(|(_, position, _)| *position).collect();
        for position in failed.symmetric_difference(&self.guilty) {
            let is =
                if failed.contains(position) { "innocent, and failed" } else { "guilty, and did not fail" };
            self.complaints.push(format!("line {position} is {is}"));
        }
        for (_, position, status) in judgement.failed.iter().filter(|(_, _, status)| status != "Exhausted") {
            self.complaints.push(format!("line {position} failed with {status}"));
        }
        let guilty = self.guilty.len() as u64;
        // The first death may be of several at once.
        if !(guilty * (ATTEMPTS - 1) < deaths && deaths <= guilty * ATTEMPTS) {
            self.complaints.push(format!("{deaths} deaths by {guilty} guilty records"));
        }
        self.totals = Totals {
            delivered: judgement.lines,
            lost: judgement.lost,
            doubled: judgement.doubled,
            unverified: judgement.unverified,
            failed: judgement.failed.len() as u64,
            void: judgement.void,
            wedged: 0,
        };
        Ok(())
    }
}
