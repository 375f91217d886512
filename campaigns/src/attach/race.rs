//! Races for what one may have: many start at once, one wins, and all others are refused by name.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cli::{Exit, Failure};
use rustix::fs::{CWD, FileType, mknodat};

use super::starter::{Role, SOURCE};
use crate::support::process::{Process, manner};
use crate::support::session::Session;
use crate::support::site::Site;

/// How long starters may take to reach the gate, which nobody can see them do.
const REACH_GATE: Duration = Duration::from_millis(300);

/// How long all but one may take to be refused.
const LIMIT: Duration = Duration::from_secs(30);

/// Many slots: who wins sweeps them, and has not yet said who it is when the others are refused.
const CAPACITY: &str = "65536";

/// What a race came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Race {
    /// How many have started.
    pub starts: u64,
    /// How many have got it.
    pub winners: u64,
}

/// Has `starts` processes want `role` of one new ring at once.
///
/// # Errors
/// The environment.
pub fn run(session: &Session, role: Role, starts: u64) -> Result<Race, Failure> {
    let site = Site::new(session)?;
    if role != Role::Creator {
        site.create_ring(&["--capacity", CAPACITY, "--message-capacity", "8"].map(str::to_owned))?;
    }
    let gate = site.path("gate");
    mknodat(CWD, &gate, FileType::Fifo, 0o600.into(), 0).map_err(Failure::environment)?;
    let mut starters =
        (0..starts).map(|number| start(&site, role, number, &gate)).collect::<Result<Vec<_>, _>>()?;
    thread::sleep(REACH_GATE);
    let open = open(&gate)?;
    // Who makes the ring has nothing to hold; who has a role holds it until the gate shuts.
    let holders = if role == Role::Creator { 0 } else { 1 };
    let started = Instant::now();
    while living(&mut starters)? > holders && started.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(5));
    }
    let mut holding = Vec::new();
    for starter in &mut starters {
        if starter.try_wait()?.is_none() {
            holding.push(starter.id());
        }
    }
    drop(open);
    let mut winners = Vec::new();
    let mut refused = Vec::new();
    for starter in &mut starters {
        match starter.wait_for(LIMIT)? {
            Some(status) if status.success() => winners.push(starter.id()),
            Some(status) if status.code() == Some(Exit::Environment as i32) => refused.push(starter),
            status => {
                let how = status.map_or("did not end".to_owned(), manner);
                session.complain(format_args!("{}: {how}: {}", starter.name(), starter.last_words()));
            }
        }
    }
    if winners.len() != 1 {
        session.complain(format_args!("{} of {starts} processes became {}", winners.len(), role.name()));
    }
    if role != Role::Creator && holding != winners {
        session.complain(format_args!("{holding:?} held on, and {winners:?} had won"));
    }
    let expected = match role {
        Role::Consumer => {
            format!("a consumer is attached already (pid {})", winners.first().copied().unwrap_or_default())
        }
        Role::Producer => format!("source {SOURCE:?} has a live producer already"),
        Role::Creator => "it exists already".to_owned(),
    };
    let misnamed: Vec<_> = refused.iter().filter(|starter| !starter.said().contains(&expected)).collect();
    if let Some(first) = misnamed.first() {
        let (count, words) = (misnamed.len(), first.last_words());
        session.complain(format_args!(
            "{count} of {} were refused with {words:?}, not {expected:?}",
            refused.len()
        ));
    }
    check_folder(session, &site)?;
    Ok(Race { starts, winners: winners.len() as u64 })
}

fn start(site: &Site, role: Role, number: u64, gate: &Path) -> Result<Process, Failure> {
    let own = std::env::current_exe().map_err(Failure::environment)?;
    let arguments = ["starter".as_ref(), "--role".as_ref(), role.name().as_ref(), "--ring".as_ref()];
    let (ring, flag) = (site.ring(), "--gate".as_ref());
    let arguments: [&std::ffi::OsStr; 4] = arguments;
    let name = format!("{}-{number}", role.name());
    let said = site.path(&format!("{name}.said"));
    Process::start(name, &own, arguments.into_iter().chain([ring.as_os_str(), flag, gate.as_os_str()]), said)
}

/// For reading too: else opening it would wait for somebody who reads.
fn open(gate: &Path) -> Result<File, Failure> {
    OpenOptions::new().read(true).write(true).open(gate).map_err(Failure::environment)
}

fn living(processes: &mut [Process]) -> Result<usize, Failure> {
    let mut living = 0;
    for process in processes {
        living += usize::from(process.try_wait()?.is_none());
    }
    Ok(living)
}

/// Nothing but the ring is left in its folder: no temporary file of who came too late.
fn check_folder(session: &Session, site: &Site) -> Result<(), Failure> {
    let folder = site.ring().parent().map(PathBuf::from).unwrap_or_default();
    let count = std::fs::read_dir(&folder).map_err(Failure::environment)?.count();
    if count != 1 {
        session.complain(format_args!(
            "{} holds {count} files, and should hold the ring alone",
            folder.display()
        ));
    }
    Ok(())
}
