//! Steps: each role dies once at each step of each transition, and what it was doing goes on without it.
//!
//! The programs are a build with failpoints, which its `--version` admits. A process dies by SIGKILL at the step itself, so
//! that nothing depends on when somebody else kills it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};

use crate::support::journal::Journal;
use crate::support::judge::judge;
use crate::support::ledger::Ledger;
use crate::support::process::{Process, manner};
use crate::support::session::{Common, Session};
use crate::support::site::Site;

/// What the campaign is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// How many times each step is tried; each time it is another time of it in the process that dies
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u64,
    /// What signs
    #[arg(long, value_name = "RUNTIME", default_value = "native")]
    runtime: String,
}

/// Messages of a case.
const MESSAGES: u64 = 120;

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that dies, and where: at all of the steps, one after the other, each once.
struct Case {
    programs: &'static [&'static str],
    steps: &'static [&'static str],
    /// How many times a process passes the first of them at least.
    passes: u64,
}

const ATTACH: [&str; 2] = ["attach: opened", "attach: checked"];
const JOIN: [&str; 3] = ["join: locked", "join: swept", "join: joined"];

/// Each of `steps` as a case of its own.
fn one_by_one(
    program: &'static [&'static str],
    steps: &'static [&'static str],
    passes: u64,
) -> impl Iterator<Item = Case> {
    let case = move |i| Case { programs: program, steps: &steps[i..=i], passes };
    (0..steps.len()).map(case)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for program in [&["producer"], &["signer"], &["consumer"]] {
        cases.extend(one_by_one(program, &ATTACH, 1));
        cases.extend(one_by_one(program, &JOIN, 1));
    }
    let producer = &["join: source locked"];
    cases.extend(one_by_one(&["producer"], producer, 1));
    let publish = &[
        "publish: claimed",
        "publish: described",
        "publish: written",
        "publish: published",
        "publish: announced",
    ];
    cases.extend(one_by_one(&["producer"], publish, 5));
    let sign = &[
        "claim: claimed",
        "claim: hint moved",
        "sign: copied",
        "sign: described",
        "sign: written",
        "sign: answered",
        "sign: announced",
    ];
    cases.extend(one_by_one(&["signer"], sign, 20));
    let free =
        &["journal: torn", "journal: appended", "free: answered for", "free: freed", "free: announced"];
    cases.extend(one_by_one(&["consumer"], free, 5));
    // A run replaces a checkpoint, the distributions and the summary.
    cases.extend(one_by_one(&["consumer"], &["replace: written", "replace: renamed"], 6));
    cases.extend(one_by_one(&["consumer"], &["checkpoint: log written"], 1));
    cases.extend(one_by_one(&["ringctl"], &["attach: checked", "close: claimed", "close: closed"], 1));
    // Somebody dies, and then one who takes over from it.
    let all = &["producer", "signer", "consumer"];
    for steps in [
        &["publish: written", "takeover: judged"],
        &["publish: written", "takeover: taken"],
        &["publish: claimed", "takeover: done"],
        &["sign: copied", "takeover: judged"],
        &["sign: written", "takeover: taken"],
        &["claim: claimed", "takeover: done"],
    ] {
        cases.push(Case { programs: all, steps, passes: 5 });
    }
    cases
}

/// Runs the campaign.
///
/// # Errors
/// The programs can't be run, or have no failpoints.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("steps", &options.common)?;
    let mut rng = session.rng();
    let version = Site::new(&session)?.run("signer", &["--version".into()])?.stdout;
    if !version.contains("failpoints") {
        return Err(Failure::bad_input(
            "these programs have no failpoints: build them with --features shmem-layout/failpoints",
        ));
    }
    let (mut tried, mut recovered, mut kills) = (0, 0, 0);
    for time in 0..options.times {
        for case in cases() {
            let nth = if time == 0 { 1 } else { rng.within(1..case.passes + 1) };
            let before = session.complaints();
            kills += try_case(&session, &case, nth, &options.runtime)?;
            tried += 1;
            recovered += u64::from(session.complaints() == before);
        }
    }
    let pages = protected_pages(&session, &options.runtime)?;
    session.finish(format_args!(
        "{tried} steps, {kills} kills, {recovered} recovered; {pages} messages of 16 KiB signed with their pages out of reach"
    ))
}

/// The three roles at work.
struct Roles {
    producer: Option<Process>,
    signer: Option<Process>,
    consumer: Option<Process>,
    ringctl: Option<Process>,
}

/// Runs one case; gives how often somebody was killed.
fn try_case(session: &Session, case: &Case, nth: u64, runtime: &str) -> Result<u64, Failure> {
    let mut site = Site::new(session)?;
    let fuses = site.path("fuses");
    fs::create_dir(&fuses)
        .map_err(|error| Failure::environment(format_args!("{}: {error}", fuses.display())))?;
    let steps: Vec<_> = case
        .steps
        .iter()
        .map(|step| format!("{step}@{}", if *step == case.steps[0] { nth } else { 1 }))
        .collect();
    for program in case.programs {
        site.set_for(program, "RINGSEAL_FAILPOINTS", steps.join(";"));
        site.set_for(program, "RINGSEAL_FUSES", fuses.display().to_string());
    }
    let title = format!("{} at {}", case.programs.join(", "), steps.join(", then "));
    site.create_ring(&["--capacity", "16", "--max-attempts", "15"].map(str::to_owned))?;
    let ledger = Ledger::write(&site, "feed", MESSAGES, 40..200, &mut session.rng())?;
    let outcome = drive(&site, &ledger, runtime);
    let burnt = fs::read_dir(&fuses).map_or(0, |files| files.count() as u64);
    let verdict = match outcome {
        Err(why) => Err(why.message),
        Ok(_) if burnt != case.steps.len() as u64 => {
            Err(format!("{burnt} of {} steps were reached", case.steps.len()))
        }
        Ok(()) => match judge(&site.out(), site.public_key(), &[(&ledger, MESSAGES)])? {
            judgement if judgement.is_good() => Ok(()),
            judgement => Err(judgement.complaints.join("; ")),
        },
    };
    if let Err(why) = verdict {
        session.complain(format_args!("{title}: {why}; {}", site.keep()));
    }
    Ok(burnt)
}

/// Runs the roles to their end, and starts those again that were killed.
fn drive(site: &Site, ledger: &Ledger, runtime: &str) -> Result<(), Failure> {
    let producer = || site.producer(&ledger.source, &ledger.arguments()).map(Some);
    // Few at a time, so that there are many times.
    let signer = || site.signer(runtime, &["--batch".into(), "4".into()]).map(Some);
    let consumer = || site.consumer(&[]).map(Some);
    let mut roles = Roles { producer: producer()?, signer: signer()?, consumer: consumer()?, ringctl: None };
    let started = Instant::now();
    let mut has_closed = false;
    while roles.signer.is_some() || roles.consumer.is_some() || !has_closed {
        if started.elapsed() > LIMIT {
            return Err(Failure::failed("wedged"));
        }
        if let Some(status) = ended(&mut roles.producer)? {
            roles.producer = if was_killed("producer", status)? { producer()? } else { None };
            if roles.producer.is_none() {
                roles.ringctl = Some(site.closer()?);
            }
        }
        if let Some(status) = ended(&mut roles.ringctl)? {
            has_closed = !was_killed("ringctl", status)?;
            roles.ringctl = if has_closed { None } else { Some(site.closer()?) };
        }
        if let Some(status) = ended(&mut roles.signer)? {
            roles.signer = if was_killed("signer", status)? { signer()? } else { None };
        }
        if let Some(status) = ended(&mut roles.consumer)? {
            roles.consumer = if was_killed("consumer", status)? { consumer()? } else { None };
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn ended(role: &mut Option<Process>) -> Result<Option<ExitStatus>, Failure> {
    role.as_mut().map_or(Ok(None), Process::try_wait)
}

/// Whether it died at a step, and not otherwise.
fn was_killed(role: &str, status: ExitStatus) -> Result<bool, Failure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(false),
        (_, Some(9)) => Ok(true),
        _ => Err(Failure::failed(format_args!("{role} ended with {}", manner(status)))),
    }
}

/// Has messages of many pages signed, once as ever and once with their pages out of the signer's reach from the copy on. Whoever
/// reads a message twice dies of it. Gives how many were signed both times with the same bytes.
fn protected_pages(session: &Session, runtime: &str) -> Result<u64, Failure> {
    let mut site = Site::new(session)?;
    let ledger = Ledger::write(&site, "feed", MESSAGES, 15_000..16_384, &mut session.rng())?;
    let mut signatures = Vec::new();
    for is_protected in [false, true] {
        site.unset_all();
        if is_protected {
            site.set_for("signer", "RINGSEAL_PROTECT", "1".into());
        }
        site.create_ring(&["--capacity", "16", "--message-capacity", "16384"].map(str::to_owned))?;
        if let Err(why) = drive(&site, &ledger, runtime) {
            session.complain(format_args!("pages out of reach ({is_protected}): {why}; {}", site.keep()));
            return Ok(0);
        }
        let judgement = judge(&site.out(), site.public_key(), &[(&ledger, MESSAGES)])?;
        if !judgement.is_good() {
            session.complain(format_args!(
                "pages out of reach ({is_protected}): {}",
                judgement.complaints.join("; ")
            ));
        }
        signatures.push(signatures_of(&site)?);
        for folder in [site.out(), site.ring()] {
            let aside = folder.with_extension("before");
            if !is_protected {
                fs::rename(&folder, aside)
                    .map_err(|error| Failure::environment(format_args!("{}: {error}", folder.display())))?;
            }
        }
    }
    if signatures[0] != signatures[1] {
        session.complain("other bytes were signed with the pages out of reach");
    }
    Ok(signatures[0].len() as u64)
}

fn signatures_of(site: &Site) -> Result<Vec<String>, Failure> {
    let mut signatures = Vec::new();
    if let Some(mut journal) = Journal::open(&site.out())? {
        while let Some(line) = journal.next()? {
            signatures.push(line.map_err(Failure::failed)?.signature.unwrap_or_default());
        }
    }
    Ok(signatures)
}
