//! A round: one ring under load, and kills until each role has had its share.

use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use rustix::process::Signal;
use shmem_layout::{Owner, Ring, Role, attach};

use crate::support::load::{Load, Part, Shape, Totals, Trouble};
use crate::support::process::{children_of, is_process_of, signal_child_of};
use crate::support::rng::Rng;
use crate::support::session::Session;

use super::kills::{Kills, Who};
use super::recovery::{Measured, Watcher};

/// How often the killer looks whose time has come.
const TICK: Duration = Duration::from_millis(1);

/// How often it looks who has joined, and what workers there are.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How soon a supervisor's workers must be gone after it.
const ORPHANED_FOR: Duration = Duration::from_secs(5);

/// A role that was killed so often in a row before it can have got anywhere is given a while: a signer whose workers get
/// nowhere ten times in a row gives up, as it should.
const EARLY_IN_A_ROW: u32 = 3;

/// A process that is to be killed.
struct Victim {
    who: Who,
    pid: u32,
    started: Instant,
    /// Since when it is seen to be a member, and which.
    joined: Option<(Instant, Owner)>,
    plan: Plan,
    is_killed: bool,
}

/// When to kill it, whichever comes first.
#[derive(Clone, Copy)]
struct Plan {
    after_start: Option<Duration>,
    after_join: Duration,
}

impl Plan {
    /// Some before they join, many right after, most at work, a few long at work.
    fn draw(who: Who, early: &mut u32, rng: &mut Rng) -> Self {
        let ms = Duration::from_millis;
        if who == Who::Supervisor {
            return Self { after_start: Some(rng.duration(ms(200)..ms(2500))), after_join: Duration::MAX };
        }
        let kind = rng.within(0..100);
        let is_early = kind < 38 && *early < EARLY_IN_A_ROW;
        *early = if is_early { *early + 1 } else { 0 };
        let (after_start, range) = match kind {
            0..8 if is_early => (Some(rng.duration(ms(0)..ms(2))), ms(0)..ms(3)),
            0..38 if is_early => (None, ms(0)..ms(3)),
            0..85 => (None, ms(3)..ms(60)),
            _ => (None, ms(60)..ms(250)),
        };
        Self { after_start, after_join: rng.duration(range) }
    }

    fn is_due(&self, victim: &Victim) -> bool {
        self.after_start.is_some_and(|after| victim.started.elapsed() >= after)
            || victim.joined.is_some_and(|(since, _)| since.elapsed() >= self.after_join)
    }
}

/// A round at work, and in the end what it came to.
pub struct Round {
    /// Kills.
    pub kills: Kills,
    /// What the judge says.
    pub totals: Totals,
    /// Recoveries.
    pub measured: Measured,
}

struct Killer {
    load: Load,
    quota: Kills,
    kills: Kills,
    rng: Rng,
    victims: Vec<Victim>,
    /// Early kills in a row: of the producers, the consumer, the workers.
    early: [u32; 3],
    /// Workers whose supervisor was killed, and when.
    orphans: Vec<(u32, Instant)>,
    looked: Instant,
    /// A producer has come to its ledger's end: the round ends before its quota.
    is_short: bool,
}

impl Round {
    /// Kills on a ring of their own until `quota` is reached, and judges.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn run(session: &Session, shape: Shape, quota: Kills, mut rng: Rng) -> Result<Self, Failure> {
        let load = Load::new(session, shape, &mut rng)?;
        let ring = attach(&load.site().ring_path()).map_err(Failure::failed)?;
        let watcher = Watcher::start(ring);
        let mut killer = Killer {
            load,
            quota,
            kills: Kills::default(),
            rng,
            victims: Vec::new(),
            early: [0; 3],
            orphans: Vec::new(),
            looked: Instant::now(),
            is_short: false,
        };
        let mut trouble = killer.kill(&watcher);
        let Killer { load, kills, .. } = killer;
        let mut measured = Measured::default();
        match watcher.finish() {
            Ok(of_round) => measured = of_round,
            Err(error) => trouble = trouble.and(Err(error)),
        }
        Ok(Self { kills, totals: load.finish(session, trouble)?, measured })
    }
}

impl Killer {
    fn kill(&mut self, watcher: &Watcher) -> Result<(), Trouble> {
        for who in [Who::Consumer, Who::Supervisor, Who::Producer(0), Who::Producer(1)] {
            self.start(who)?;
        }
        while !self.is_done() {
            if self.looked.elapsed() >= LOOK_EVERY {
                self.looked = Instant::now();
                self.look_for_workers();
                self.see_who_has_joined()?;
                self.see_to_orphans()?;
            }
            self.kill_who_is_due(watcher)?;
            self.start_who_is_gone()?;
            self.load.look()?;
            thread::sleep(TICK);
        }
        // Whoever is dead or dying now is started again, so that the load can end in order.
        while self.victims.iter().any(|victim| victim.is_killed && victim.who != Who::Worker)
            || !self.orphans.is_empty()
        {
            self.start_who_is_gone()?;
            self.see_to_orphans()?;
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_done = |who| self.kills.has(&self.quota, who);
        self.is_short || is_done(Who::Producer(0)) && is_done(Who::Worker) && is_done(Who::Consumer)
    }

    fn start(&mut self, who: Who) -> Result<(), Trouble> {
        let Some(part) = who.part() else { return Ok(()) };
        self.load.start(part)?;
        if let Some(pid) = self.load.id(part) {
            self.watch_for(who, pid);
        }
        Ok(())
    }

    fn watch_for(&mut self, who: Who, pid: u32) {
        let early = match who {
            Who::Producer(_) => &mut self.early[0],
            Who::Consumer => &mut self.early[1],
            Who::Supervisor | Who::Worker => &mut self.early[2],
        };
        let plan = Plan::draw(who, early, &mut self.rng);
        let started = Instant::now();
        self.victims.push(Victim { who, pid, started, joined: None, plan, is_killed: false });
    }

    fn look_for_workers(&mut self) {
        let Some(supervisor) = self.load.id(Part::Signer) else { return };
        let workers = children_of(supervisor);
        self.victims.retain(|victim| victim.who != Who::Worker || workers.contains(&victim.pid));
        for pid in workers {
            if !self.victims.iter().any(|victim| victim.pid == pid) {
                self.watch_for(Who::Worker, pid);
            }
        }
    }

    fn see_who_has_joined(&mut self) -> Result<(), Trouble> {
        if self.victims.iter().all(|victim| victim.joined.is_some() || victim.who == Who::Supervisor) {
            return Ok(());
        }
        let members = members(self.load.ring())?;
        let now = Instant::now();
        for victim in &mut self.victims {
            if victim.joined.is_none() {
                let member = members
                    .iter()
                    .find(|(pid, role, _)| *pid == victim.pid && victim.who.role() == Some(*role));
                victim.joined = member.map(|(_, _, owner)| (now, *owner));
            }
        }
        Ok(())
    }

    fn kill_who_is_due(&mut self, watcher: &Watcher) -> Result<(), Trouble> {
        for number in 0..self.victims.len() {
            let victim = &self.victims[number];
            let who = victim.who;
            if victim.is_killed || self.kills.has(&self.quota, who) || !victim.plan.is_due(victim) {
                continue;
            }
            if victim.joined.is_none() {
                // It may have joined since the last look.
                self.see_who_has_joined()?;
            }
            self.strike(number, watcher);
        }
        Ok(())
    }

    fn strike(&mut self, number: usize, watcher: &Watcher) {
        let Victim { who, pid, joined, .. } = self.victims[number];
        match who.part() {
            Some(part) => self.load.signal(part, Signal::KILL),
            None => {
                let supervisor = self.load.id(Part::Signer).unwrap_or_default();
                if !signal_child_of(supervisor, pid, Signal::KILL) {
                    return;
                }
            }
        }
        self.victims[number].is_killed = true;
        match joined {
            None if who != Who::Supervisor => self.kills.count_early(),
            None => {
                self.kills.count(who);
                self.orphan_workers(watcher);
            }
            Some((_, owner)) => {
                watcher.killed(owner, true);
                self.kills.count(who);
            }
        }
    }

    /// The supervisor was killed: its workers must be gone soon.
    fn orphan_workers(&mut self, watcher: &Watcher) {
        for worker in self.victims.iter_mut().filter(|victim| victim.who == Who::Worker) {
            self.orphans.push((worker.pid, Instant::now()));
            if let (Some((_, owner)), false) = (worker.joined, worker.is_killed) {
                watcher.killed(owner, false);
            }
            worker.is_killed = true;
        }
    }

    fn see_to_orphans(&mut self) -> Result<(), Trouble> {
        let ring = self.load.site().ring();
        self.orphans.retain(|(pid, _)| is_process_of(*pid, &ring));
        match self.orphans.iter().find(|(_, since)| since.elapsed() > ORPHANED_FOR) {
            None => Ok(()),
            Some((pid, _)) => Err(Trouble::Fault(format!(
                "worker {pid} lives on {ORPHANED_FOR:?} after its supervisor was killed"
            ))),
        }
    }

    fn start_who_is_gone(&mut self) -> Result<(), Trouble> {
        for number in (0..self.victims.len()).rev() {
            let Victim { who, is_killed, .. } = self.victims[number];
            let Some(part) = who.part() else { continue };
            match self.load.ended(part)? {
                None => {}
                Some(_) if is_killed => {
                    self.victims.swap_remove(number);
                    self.start(who)?;
                }
                Some(status) if status.code() == Some(0) && matches!(who, Who::Producer(_)) => {
                    self.is_short = true;
                    self.victims.swap_remove(number);
                }
                Some(status) => return Err(self.load.fault(part, status)),
            }
        }
        Ok(())
    }
}

/// The living members: process id, role, index and generation.
fn members(ring: &Ring) -> Result<Vec<(u32, Role, Owner)>, Trouble> {
    let members = ring.members()?.into_iter().filter(|member| member.is_alive);
    Ok(members.filter_map(|member| Some((member.pid, member.role?, member.owner))).collect())
}
