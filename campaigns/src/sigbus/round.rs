//! A round: a fresh ring, three roles at work, damage at a random moment, and how each of them ended.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use rustix::process::Signal;

use crate::support::process::{Process, manner, run};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

use super::damage::Damage;

/// What the roles are told to take for a stall.
const STALL: Duration = Duration::from_secs(2);

/// After the damage: how long the roles may go on before they are told to stop. What is pending has stalled by then.
const GOING_ON: Duration = STALL.saturating_mul(2);

/// Producer, signer, consumer.
const ROLES: usize = 3;

/// How long everybody may take to begin, and to end when told to.
const BOUND: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How the programs ended.
#[derive(Debug, Default)]
pub struct Ends {
    /// Rings that were cut.
    pub cut: u64,
    /// Rings that were punched.
    pub punched: u64,
    /// Programs, workers included, that died of a signal.
    pub signals: u64,
    /// Programs that didn't end.
    pub wedged: u64,
    /// Each end: program, exit code, by itself or told to.
    pub codes: BTreeMap<String, u64>,
    /// What they said last, without names and numbers.
    pub words: BTreeMap<String, u64>,
}

impl Ends {
    /// Adds those of another round.
    pub fn add(&mut self, other: Self) {
        self.cut += other.cut;
        self.punched += other.punched;
        self.signals += other.signals;
        self.wedged += other.wedged;
        for (to, from) in [(&mut self.codes, other.codes), (&mut self.words, other.words)] {
            for (what, count) in from {
                *to.entry(what).or_default() += count;
            }
        }
    }
}

/// A round at work.
pub struct Round<'a> {
    session: &'a Session,
    site: Site,
    roles: Vec<Process>,
    ends: Ends,
    complaints: Vec<String>,
}

impl<'a> Round<'a> {
    /// Damages a ring of its own, and sees how everybody ends.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn run(session: &'a Session, runtime: &str, mut rng: Rng) -> Result<Ends, Failure> {
        let site = Site::new(session)?;
        let capacity = rng.choose(&[64_u64, 256, 1024]);
        site.create_ring(&["--capacity".into(), capacity.to_string()])?;
        let damage = Damage::draw(len_of(&site.ring())?, &mut rng);
        Self::on(session, site, runtime, &damage, &mut rng)
    }

    /// The same on a ring that is there.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn on(
        session: &'a Session,
        site: Site,
        runtime: &str,
        damage: &Damage,
        rng: &mut Rng,
    ) -> Result<Ends, Failure> {
        let mut round =
            Round { session, site, roles: Vec::new(), ends: Ends::default(), complaints: Vec::new() };
        match damage.is_cut() {
            true => round.ends.cut = 1,
            false => round.ends.punched = 1,
        }
        round.start(runtime, rng)?;
        let is_shown = rng.percent(33);
        let is_over = AtomicBool::new(false);
        let shown = thread::scope(|scope| {
            let show = is_shown.then(|| scope.spawn(|| round_show(round.session, &round.site, &is_over)));
            thread::sleep(rng.duration(Duration::ZERO..Duration::from_millis(60)));
            let inflicted = damage.inflict(&round.site.ring());
            thread::sleep(Duration::from_millis(20));
            is_over.store(true, Ordering::Relaxed);
            let shown =
                show.map(|show| show.join().unwrap_or_else(|_| Err(Failure::failed("a thread panicked"))));
            inflicted.map_err(|error| Failure::environment(format_args!("{damage:?}: {error}")))?;
            shown.transpose()
        })?;
        for (status, said) in shown.unwrap_or_default() {
            round.judge("ringctl", status, &said, "by itself");
        }
        round.see_the_end(damage)?;
        Ok(round.finish(damage))
    }

    fn start(&mut self, runtime: &str, rng: &mut Rng) -> Result<(), Failure> {
        let stall = ["--stall".to_owned(), STALL.as_secs().to_string()];
        let with = |more: &[&str]| {
            stall.iter().cloned().chain(more.iter().map(|text| (*text).to_owned())).collect::<Vec<_>>()
        };
        let mut one_or_two = || rng.within(1..3).to_string();
        self.roles.push(self.site.consumer(&with(&["--verify-threads", &one_or_two()]))?);
        self.roles.push(self.site.signer(runtime, &with(&["--workers", &one_or_two()]))?);
        let (rate, sizes) = (rng.choose(&["500", "5000", "1000000"]), rng.choose(&["64", "0..256"]));
        let forever = u64::MAX.to_string();
        let load = ["--messages", forever.as_str(), "--rate", rate, "--size", sizes];
        self.roles.push(self.site.producer("one", &with(&load))?);
        // At work: something was delivered.
        let started = Instant::now();
        while self.delivered_len() == 0 {
            for role in &mut self.roles {
                if let Some(status) = role.try_wait()? {
                    let (name, words) = (role.name(), role.last_words());
                    return Err(Failure::failed(format_args!(
                        "{name} ended before the damage: {}: {words}",
                        manner(status)
                    )));
                }
            }
            if started.elapsed() > BOUND {
                return Err(Failure::failed(format_args!("nothing was delivered for {BOUND:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for the ends: by themselves, or, of those who can go on, when told to stop.
    fn see_the_end(&mut self, damage: &Damage) -> Result<(), Failure> {
        let mut roles = std::mem::take(&mut self.roles);
        self.see_who_ends(&mut roles, GOING_ON, "by itself")?;
        if damage.is_fatal() {
            for role in &roles {
                self.complaints.push(format!("{} goes on without a ring", role.name()));
            }
        }
        if roles.len() == ROLES && !self.has_moved_within(STALL) {
            self.complaints.push("nothing moves, and nobody says so".into());
        }
        for role in &roles {
            role.signal(Signal::TERM);
        }
        self.see_who_ends(&mut roles, BOUND, "told to")?;
        for role in roles {
            self.ends.wedged += 1;
            self.complaints.push(format!("{} does not end", role.name()));
        }
        Ok(())
    }

    /// Bytes of the journal so far.
    fn delivered_len(&self) -> u64 {
        fs::metadata(self.site.out().join("signatures.ndjson")).map_or(0, |metadata| metadata.len())
    }

    /// Whether the journal grows.
    fn has_moved_within(&self, limit: Duration) -> bool {
        let (started, before) = (Instant::now(), self.delivered_len());
        while self.delivered_len() == before {
            if started.elapsed() >= limit {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }

    /// Waits for at most `limit`, and judges those who end.
    fn see_who_ends(&mut self, roles: &mut Vec<Process>, limit: Duration, how: &str) -> Result<(), Failure> {
        let started = Instant::now();
        while !roles.is_empty() && started.elapsed() < limit {
            let mut running = Vec::new();
            for mut role in roles.drain(..) {
                match role.try_wait()? {
                    Some(status) => self.judge(role.name(), status, &role.said(), how),
                    None => running.push(role),
                }
            }
            *roles = running;
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// An end: exit code 3 with one line; or 0, or 1, by who has not met the damage.
    fn judge(&mut self, name: &str, status: ExitStatus, said: &str, how: &str) {
        *self.ends.codes.entry(format!("{name}: {}, {how}", manner(status))).or_default() += 1;
        let is_signal = status.signal().is_some() || said.contains("killed by signal");
        self.ends.signals += u64::from(is_signal);
        let lines = said.lines().count();
        let is_right = match status.code() {
            Some(0 | 1) => !is_signal,
            Some(3) => lines == 1 && !is_signal,
            _ => false,
        };
        if !is_right {
            self.complaints
                .push(format!("{name} ended with {}, and said {lines} lines: {said:?}", manner(status)));
        }
        if let Some(line) = said.lines().last() {
            let line = line.replace(&self.site.ring().display().to_string(), "RING");
            *self.ends.words.entry(without_numbers(&line)).or_default() += 1;
        }
    }

    fn finish(self, damage: &Damage) -> Ends {
        if !self.complaints.is_empty() {
            for complaint in &self.complaints {
                self.session.complain(complaint);
            }
            self.session.say(format_args!("{damage:?}: {}", self.site.keep()));
        }
        self.ends
    }
}

/// Shows the ring until told to stop, and gives how each time ended.
fn round_show(
    session: &Session,
    site: &Site,
    is_over: &AtomicBool,
) -> Result<Vec<(ExitStatus, String)>, Failure> {
    let mut shown = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let ran = run(&session.program("ringctl"), ["show".into(), site.ring()])?;
        shown.push((ran.status, ran.stderr));
    }
    Ok(shown)
}

/// Bytes of a ring.
pub fn len_of(ring: &Path) -> Result<u64, Failure> {
    let metadata = fs::metadata(ring);
    metadata
        .map(|metadata| metadata.len())
        .map_err(|error| Failure::environment(format_args!("{}: {error}", ring.display())))
}

/// A line with each number in it as `N`, so that lines can be counted.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for word in line.split_inclusive([' ', ',', '(', ')', '.', ':', ';']) {
        let end = word.len() - word.trim_end_matches([' ', ',', '(', ')', '.', ':', ';']).len();
        let (word, end) = word.split_at(word.len() - end);
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        text.push_str(if is_number { "N" } else { word });
        text.push_str(end);
    }
    text
}
