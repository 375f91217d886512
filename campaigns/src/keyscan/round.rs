//! One signer at work, and where its key may have gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use k256::SecretKey;
use rustix::process::Signal;

use super::cores::Cores;
use super::scan::Scanner;
use super::{Counts, forms, key_of};
use crate::support::process::{Process, children_of, signal_child_of};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long after a rotation the old key may still be there.
const GONE_WITHIN: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Lines in the journal before anybody looks: all that is done at a start is done.
const LINES: usize = 100;

/// What workers die of: what leaves cores elsewhere.
const SIGNALS: [Signal; 3] = [Signal::SEGV, Signal::ABORT, Signal::BUS];

/// What a round is done with.
pub struct Round<'a> {
    pub session: &'a Session,
    pub cores: &'a Cores,
    pub runtime: &'a str,
    pub is_root: bool,
    pub can_rotate: bool,
    pub says_places: bool,
}

/// The processes of a run.
struct Roles {
    producer: Process,
    signer: Process,
    consumer: Process,
}

impl Round<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// The programs don't do their work, or it can't go on.
    pub fn run(&self, rng: &mut Rng, counts: &mut Counts) -> Result<(), Failure> {
        let mut site = Site::new(self.session)?;
        let key = key_of(&site)?;
        if rng.percent(50) {
            // The other kind of file. It keeps its mode.
            fs::write(site.path("key"), hex::encode(key.to_bytes())).map_err(Failure::environment)?;
        }
        if rng.percent(50) {
            site.set_for("signer", "RUST_BACKTRACE", "full".into());
        }
        let scanner = Scanner::new(forms::halves(forms::all(&key)));
        let mut roles = self.start(&site, rng)?;
        self.wait_for_lines(&site, &mut roles, LINES)?;
        self.look_at_processes(&scanner, &key, &roles, counts)?;
        for signal in SIGNALS {
            self.crash_a_worker(&roles, signal)?;
            counts.crashes += 1;
        }
        if self.can_rotate {
            self.rotate(&site, &key, &roles, counts)?;
        }
        self.end(&site, &mut roles)?;
        self.look_at_files(&scanner, &site, counts)
    }

    /// A load that goes on until it is told to stop.
    fn start(&self, site: &Site, rng: &mut Rng) -> Result<Roles, Failure> {
        let text = |arguments: &[&str]| -> Vec<String> {
            arguments.iter().map(|argument| (*argument).into()).collect()
        };
        site.create_ring(&text(&["--capacity", "256", "--max-attempts", "15"]))?;
        let mut trusted = Vec::new();
        if self.can_rotate {
            let new = site.path("new-key").display().to_string();
            trusted = vec!["--public-key".into(), site.run("signer", &["keygen".into(), new])?.stdout];
        }
        let consumer = site.consumer(&trusted)?;
        let mut arguments = text(&["--workers", rng.choose(&["1", "2"])]);
        if rng.percent(70) {
            arguments.extend(["--report".into(), site.path("signer.json").display().to_string()]);
        }
        if rng.percent(50) {
            arguments.push("--verify-before-release".into());
        }
        if self.can_rotate {
            arguments.extend(["--control".into(), control_of(site).display().to_string()]);
        }
        let signer = site.signer(self.runtime, &arguments)?;
        let messages = ["--messages", "1000000", "--rate", "2000", "--method", "random"];
        let producer = site.producer("feed", &text(&messages))?;
        Ok(Roles { producer, signer, consumer })
    }

    fn wait_for_lines(&self, site: &Site, roles: &mut Roles, lines: usize) -> Result<(), Failure> {
        let journal = site.out().join("signatures.ndjson");
        self.until("signatures", || {
            let found = fs::read(&journal).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
            if let Some(status) = roles.signer.try_wait()? {
                let words = roles.signer.last_words();
                return Err(Failure::failed(format_args!(
                    "{}: the signer ended: {status}: {words}",
                    self.runtime
                )));
            }
            Ok(found >= lines)
        })
    }

    fn until(&self, what: &str, mut is_there: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
        let started = Instant::now();
        while !is_there()? {
            if started.elapsed() > LIMIT {
                return Err(Failure::failed(format_args!("{}: no {what} for {LIMIT:?}", self.runtime)));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Arguments, environments and memory.
    fn look_at_processes(
        &self,
        scanner: &Scanner,
        key: &SecretKey,
        roles: &Roles,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let workers = children_of(roles.signer.id());
        let strangers = [&roles.producer, &roles.consumer].map(Process::id);
        for pid in strangers.into_iter().chain([roles.signer.id()]).chain(workers.clone()) {
            for what in ["cmdline", "environ", "comm"] {
                // The environment of a process that can't be dumped is for root alone.
                let Ok(names) = scanner.names_in_file(format!("/proc/{pid}/{what}").as_ref()) else {
                    continue;
                };
                self.complain_of(&format!("{what} of process {pid}"), &names);
                counts.places += 1;
            }
        }
        if !self.is_root {
            return Ok(());
        }
        for pid in strangers {
            let places = scanner.places_in_memory(pid).map_err(Failure::environment)?;
            let names: Vec<_> = places.iter().map(|(name, place)| format!("{name}, {place}")).collect();
            self.complain_of(&format!("memory of process {pid}"), &names);
            counts.places += 1;
        }
        let whole = Scanner::new(forms::in_memory(key));
        let mut note = |whose: String, copies: usize| {
            let most = counts.copies.entry(whose).or_default();
            *most = copies.max(*most);
            counts.places += 1;
        };
        let supervisors = self.copies(&whole, roles.signer.id(), "the supervisor")?;
        if supervisors != 1 {
            self.session.complain(format_args!(
                "{}: the supervisor holds the key {supervisors} times, and should hold it once",
                self.runtime
            ));
        }
        note("supervisor".into(), supervisors);
        for pid in workers {
            note(self.runtime.to_owned(), self.copies(&whole, pid, "a worker")?);
        }
        Ok(())
    }

    /// How many copies a process that may have the key holds of it.
    fn copies(&self, whole: &Scanner, pid: u32, whose: &str) -> Result<usize, Failure> {
        let places = whole.places_in_memory(pid).map_err(Failure::environment)?;
        for (name, place) in places.iter().filter(|_| self.says_places) {
            self.session.say(format_args!("{}, {whose}: {name}, {place}", self.runtime));
        }
        Ok(places.len())
    }

    /// Kills one worker and waits for another in its place.
    fn crash_a_worker(&self, roles: &Roles, signal: Signal) -> Result<(), Failure> {
        let signer = roles.signer.id();
        let Some(worker) = children_of(signer).first().copied() else {
            return Err(Failure::failed(format_args!("{}: the signer has no worker", self.runtime)));
        };
        self.until("death of a worker", || {
            // Again and again: the first SIGSEGV from outside is let pass by Rust's handler.
            Ok(!signal_child_of(signer, worker, signal))
        })?;
        self.until("worker in the place of a dead one", || Ok(!children_of(signer).is_empty()))
    }

    /// Gives the signer another key, and looks for the first one in all of its processes.
    fn rotate(
        &self,
        site: &Site,
        old: &SecretKey,
        roles: &Roles,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let new = site.path("new-key").display().to_string();
        let control = control_of(site).display().to_string();
        site.run("signer", &["ctl", "--control", &control, "rotate", "--key", &new].map(str::to_owned))?;
        counts.rotations += 1;
        if !self.is_root {
            return Ok(());
        }
        let whole = Scanner::new(forms::in_memory(old));
        let started = Instant::now();
        loop {
            let processes = children_of(roles.signer.id()).into_iter().chain([roles.signer.id()]);
            // One that has gone meanwhile holds nothing.
            let holders: Vec<_> = processes
                .flat_map(|pid| {
                    counts.places += 1;
                    let places = whole.places_in_memory(pid).unwrap_or_default();
                    places.into_iter().map(move |(name, place)| format!("process {pid}: {name}, {place}"))
                })
                .collect();
            // An old worker may still be at its last batch.
            if holders.is_empty() || started.elapsed() > GONE_WITHIN {
                self.complain_of("memory after rotation", &holders);
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn end(&self, site: &Site, roles: &mut Roles) -> Result<(), Failure> {
        roles.producer.signal(Signal::TERM);
        roles.producer.wait_for(LIMIT)?;
        let mut closer = site.closer()?;
        for process in [&mut closer, &mut roles.signer, &mut roles.consumer] {
            if process.wait_for(LIMIT)?.is_none() {
                return Err(Failure::failed(format_args!(
                    "{}: {} does not end",
                    self.runtime,
                    process.name()
                )));
            }
        }
        Ok(())
    }

    /// Everything that the run has left, but for the key files themselves.
    fn look_at_files(&self, scanner: &Scanner, site: &Site, counts: &mut Counts) -> Result<(), Failure> {
        let mut files = Vec::new();
        list(site.path("").as_path(), &mut files).map_err(Failure::environment)?;
        list(site.ring().parent().unwrap_or(Path::new("/")), &mut files).map_err(Failure::environment)?;
        let keys = ["key", "new-key"].map(|name| site.path(name));
        for file in files.iter().filter(|file| !keys.contains(file)) {
            let names = scanner.names_in_file(file).map_err(Failure::environment)?;
            self.complain_of(&file.display().to_string(), &names);
            counts.places += 1;
        }
        for needed in [site.path("signer.said"), site.out().join("signatures.ndjson"), site.ring()] {
            if !files.contains(&needed) {
                self.session.complain(format_args!("{} was not there to look at", needed.display()));
            }
        }
        for core in self.cores.left() {
            // It may hold a key, and is told once.
            let _ = fs::remove_file(&core);
            self.session.complain(format_args!("{}: a crash has left {}", self.runtime, core.display()));
        }
        Ok(())
    }

    fn complain_of(&self, place: &str, names: &[impl AsRef<str>]) {
        if let Some(first) = names.first() {
            let more = names.len() - 1;
            self.session.complain(format_args!(
                "{}: the key is in {place}: {}, and {more} more",
                self.runtime,
                first.as_ref()
            ));
        }
    }
}

/// The signer's control folder.
fn control_of(site: &Site) -> PathBuf {
    site.path("control")
}

/// All files below `folder`.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Waits until a child has become the program that it was started as: until then its arguments are ours.
///
/// # Errors
/// It doesn't.
pub fn wait_until_executed(pid: u32) -> Result<(), Failure> {
    let started = Instant::now();
    let ours = fs::read("/proc/self/cmdline").map_err(Failure::environment)?;
    while fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |theirs| theirs.is_empty() || theirs == ours)
    {
        if started.elapsed() > LIMIT {
            return Err(Failure::environment(format_args!("process {pid} does not start")));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
