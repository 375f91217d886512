//! What is done with a ring whose members are stopped or dead.

use std::time::Duration;

use cli::{Exit, Failure};
use rustix::process::Signal;

use crate::support::judge::judge;
use crate::support::ledger::Ledger;
use crate::support::process::{Process, Ran, children_of, run, signal_child_of};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

/// Lines of a run: about a second's work.
const LINES: u64 = 20_000;

/// How long a run may take to its end.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a role may take to be refused.
const REFUSAL_LIMIT: Duration = Duration::from_secs(10);

/// How long the members have to get to work.
const TO_WORK: Duration = Duration::from_millis(300);

/// A consumer that is stopped keeps its role, and goes on afterwards; and while it lives, running or stopped, the ring is not
/// removed.
///
/// # Errors
/// The environment.
pub fn stopped_member(session: &Session, rng: &mut Rng) -> Result<(), Failure> {
    let site = Site::new(session)?;
    let before = session.complaints();
    site.create_ring(&[])?;
    let ledger = Ledger::write(&site, "lines", LINES, 24..64, rng)?;
    let mut roles = Roles::start(&site, &ledger)?;
    std::thread::sleep(TO_WORK);
    expect_refusal(session, "ringctl rm beside living members", &rm(session, &site, &[])?, "still use it");
    roles.consumer.signal(Signal::STOP);
    let second = second_consumer(&site, session)?;
    let pid = roles.consumer.id();
    let expected = format!("a consumer is attached already (pid {pid})");
    expect_refused_process(session, second, &expected)?;
    roles.kill_all_but_consumer()?;
    let refused = rm(session, &site, &[])?;
    expect_refusal(session, "ringctl rm beside a stopped member", &refused, &format!("(pid {pid})"));
    roles.consumer.signal(Signal::CONT);
    // It goes on with whoever comes after those that were killed.
    roles.restart_all_but_consumer(&site, &ledger)?;
    roles.finish(session, "a consumer that was stopped")?;
    judge_lines(session, &site, &ledger, "a consumer that was stopped")?;
    keep_if(session, before, site);
    Ok(())
}

/// A ring whose members were all killed is picked up by new ones, and all of it is delivered.
///
/// # Errors
/// The environment.
pub fn left_by_the_dead(session: &Session, rng: &mut Rng) -> Result<(), Failure> {
    let site = Site::new(session)?;
    let before = session.complaints();
    site.create_ring(&["--max-attempts".into(), "15".into()])?;
    let ledger = Ledger::write(&site, "lines", LINES, 24..64, rng)?;
    let mut roles = Roles::start(&site, &ledger)?;
    std::thread::sleep(TO_WORK);
    roles.kill_all_but_consumer()?;
    kill(&mut roles.consumer)?;
    let mut roles = Roles::start(&site, &ledger)?;
    roles.finish(session, "a ring left by the dead")?;
    judge_lines(session, &site, &ledger, "a ring left by the dead")?;
    keep_if(session, before, site);
    Ok(())
}

/// A ring whose members are dead is removed; one whose members live, by force only.
///
/// # Errors
/// The environment.
pub fn removal(session: &Session, rng: &mut Rng) -> Result<(), Failure> {
    for forced in [false, true] {
        let site = Site::new(session)?;
        site.create_ring(&[])?;
        let ledger = Ledger::write(&site, "lines", LINES, 24..64, rng)?;
        let mut roles = Roles::start(&site, &ledger)?;
        std::thread::sleep(TO_WORK);
        if !forced {
            roles.kill_all_but_consumer()?;
            kill(&mut roles.consumer)?;
        }
        let ran = rm(session, &site, if forced { &["--force"] } else { &[] })?;
        if !ran.status.success() || site.ring().exists() {
            session.complain(format_args!(
                "ringctl rm (forced: {forced}) did not remove the ring: {}",
                ran.stderr
            ));
        }
    }
    Ok(())
}

/// Of the real programs, too, one has what there is one of, and all others are refused by name: consumers of one ring, and
/// producers of one source.
///
/// # Errors
/// The environment.
pub fn programs(session: &Session, count: usize) -> Result<(), Failure> {
    for program in ["consumer", "producer"] {
        let site = Site::new(session)?;
        site.create_ring(&[])?;
        let start = |number: usize| {
            let ring = ["--ring".to_owned(), site.ring().display().to_string()];
            let more = match program {
                "consumer" => {
                    let out = site.path(&format!("out-{number}")).display().to_string();
                    vec!["--out".into(), out, "--public-key".into(), site.public_key().to_owned()]
                }
                _ => ["--source", "wanted", "--rate", "1"].map(str::to_owned).to_vec(),
            };
            let said = site.path(&format!("{program}-{number}.said"));
            Process::start(
                format!("{program}-{number}"),
                &session.program(program),
                ring.iter().chain(&more),
                said,
            )
        };
        let mut processes = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
        let started = std::time::Instant::now();
        let mut living = Vec::new();
        while started.elapsed() < REFUSAL_LIMIT {
            living.clear();
            for process in &mut processes {
                if process.try_wait()?.is_none() {
                    living.push(process.id());
                }
            }
            if living.len() <= 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let [winner] = living[..] else {
            session.complain(format_args!("of {count} programs {} became the {program}", living.len()));
            continue;
        };
        let expected = match program {
            "consumer" => format!("a consumer is attached already (pid {winner})"),
            _ => "source \"wanted\" has a live producer already".to_owned(),
        };
        for process in processes {
            if process.id() != winner {
                expect_refused_process(session, process, &expected)?;
            }
        }
    }
    Ok(())
}

/// The three roles of a run.
struct Roles {
    producer: Process,
    signer: Process,
    consumer: Process,
}

impl Roles {
    fn start(site: &Site, ledger: &Ledger) -> Result<Self, Failure> {
        let consumer = site.consumer(&[])?;
        let (producer, signer) = start_others(site, ledger)?;
        Ok(Self { producer, signer, consumer })
    }

    fn kill_all_but_consumer(&mut self) -> Result<(), Failure> {
        // A worker ends with its supervisor; but not at once.
        let workers = children_of(self.signer.id());
        for worker in workers {
            signal_child_of(self.signer.id(), worker, Signal::KILL);
        }
        kill(&mut self.signer)?;
        kill(&mut self.producer)
    }

    fn restart_all_but_consumer(&mut self, site: &Site, ledger: &Ledger) -> Result<(), Failure> {
        (self.producer, self.signer) = start_others(site, ledger)?;
        Ok(())
    }

    fn finish(&mut self, session: &Session, what: &str) -> Result<(), Failure> {
        for process in [&mut self.producer, &mut self.signer, &mut self.consumer] {
            match process.wait_for(LIMIT)? {
                Some(status) if status.success() => {}
                status => session.complain(format_args!(
                    "{what}: {} ended with {status:?}: {}",
                    process.name(),
                    process.last_words()
                )),
            }
        }
        Ok(())
    }
}

fn start_others(site: &Site, ledger: &Ledger) -> Result<(Process, Process), Failure> {
    let mut arguments = ledger.arguments();
    arguments.extend(["--method", "ecdsa", "--close"].map(str::to_owned));
    Ok((site.producer(&ledger.source, &arguments)?, site.signer("native", &[])?))
}

fn kill(process: &mut Process) -> Result<(), Failure> {
    process.signal(Signal::KILL);
    match process.wait_for(REFUSAL_LIMIT)? {
        Some(_) => Ok(()),
        None => Err(Failure::environment(format_args!("{} survives SIGKILL", process.name()))),
    }
}

/// A second consumer of the same ring, with a folder of its own.
fn second_consumer(site: &Site, session: &Session) -> Result<Process, Failure> {
    let arguments = [
        "--ring".into(),
        site.ring().display().to_string(),
        "--out".into(),
        site.path("second").display().to_string(),
        "--public-key".into(),
        site.public_key().to_owned(),
    ];
    Process::start("second consumer", &session.program("consumer"), arguments, site.path("second.said"))
}

fn expect_refused_process(session: &Session, mut process: Process, expected: &str) -> Result<(), Failure> {
    let status = process.wait_for(REFUSAL_LIMIT)?;
    let is_refused = status.and_then(|status| status.code()) == Some(Exit::Environment as i32);
    if !is_refused || !process.said().contains(expected) || process.said().lines().count() != 1 {
        session.complain(format_args!(
            "{}: {status:?}, said {:?}, not {expected:?}",
            process.name(),
            process.said()
        ));
    }
    Ok(())
}

fn rm(session: &Session, site: &Site, more: &[&str]) -> Result<Ran, Failure> {
    let ring = site.ring().display().to_string();
    run(&session.program("ringctl"), ["rm", &ring].iter().chain(more))
}

fn expect_refusal(session: &Session, what: &str, ran: &Ran, expected: &str) {
    if ran.status.code() != Some(Exit::Environment as i32) || !ran.stderr.contains(expected) {
        session.complain(format_args!("{what}: {:?}, said {:?}, not {expected:?}", ran.status, ran.stderr));
    }
}

fn judge_lines(session: &Session, site: &Site, ledger: &Ledger, what: &str) -> Result<(), Failure> {
    let judgement = judge(&site.out(), site.public_key(), &[(ledger, ledger.lines)])?;
    for complaint in &judgement.complaints {
        session.complain(format_args!("{what}: {complaint}"));
    }
    Ok(())
}

fn keep_if(session: &Session, before: u64, site: Site) {
    if session.complaints() > before {
        session.say(site.keep());
    }
}
