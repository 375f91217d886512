//! Kills in mid-swap: of a worker, of the supervisor, of the process that prepares.

use std::thread;
use std::time::{Duration, Instant};

use cli::Failure;
use rustix::process::Signal;
use shmem_layout::now_ns;

use super::operator::{Module, Status};
use super::plan::Serving;
use super::round::{Round, RoundOutcome};
use crate::support::load::{Part, Trouble};
use crate::support::process::{Process, children_of, signal_child_of};
use crate::support::rng::Rng;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One of the workers.
    Worker,
    /// The supervisor, and with it all its children.
    Supervisor,
    /// The process that prepares the module.
    Preparation,
}

/// What kills came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    /// By [`Victim`].
    pub of: [u64; 3],
    /// What served afterwards.
    pub old: u64,
    pub new: u64,
}

/// How long a call may take that somebody was killed under.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

impl Kills {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.of.iter().sum()
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.of.iter_mut().zip(other.of) {
            *mine += others;
        }
        self.old += other.old;
        self.new += other.new;
    }
}

impl Round<'_> {
    /// Kills `count` times in mid-swap.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn kill(mut self, count: u64, rng: &mut Rng) -> Result<(RoundOutcome, Kills), Failure> {
        let mut kills = Kills::default();
        let mut trouble = Ok(());
        // How long a swap takes, to aim within it.
        let mut usual = Duration::from_millis(50);
        while trouble.is_ok() && kills.total() < count && !self.is_drained()? {
            trouble = self.kill_once(rng, &mut usual, &mut kills);
        }
        Ok((self.finish(trouble, RoundOutcome::default())?, kills))
    }

    fn is_drained(&mut self) -> Result<bool, Failure> {
        Ok(self.load.ended(Part::Producer(0))?.is_some() || self.load.ended(Part::Producer(1))?.is_some())
    }

    fn kill_once(&mut self, rng: &mut Rng, usual: &mut Duration, kills: &mut Kills) -> Result<(), Trouble> {
        let step = self.plan.draw(&self.modules, rng)?;
        let Some(next) = step.next.filter(|_| !step.is_other) else { return Ok(()) };
        let victim = rng.choose(&[Victim::Worker, Victim::Worker, Victim::Supervisor, Victim::Preparation]);
        let words: Vec<&str> = ["swap"].into_iter().chain(step.words.iter().map(String::as_str)).collect();
        let arguments = self.operator.arguments(&words);
        let (asked_ns, asked) = (now_ns(), Instant::now());
        let said = self.load.site().path("ctl.said");
        let mut call = Process::start("signer ctl", self.operator.program(), arguments, said)?;
        if victim == Victim::Preparation {
            self.await_preparation(&mut call)?;
            thread::sleep(rng.duration(Duration::ZERO..usual.mul_f64(0.3)));
        } else {
            thread::sleep(rng.duration(Duration::ZERO..usual.mul_f64(1.1)));
        }
        // Who has his answer is not in mid-swap any more.
        let is_hit = call.try_wait()?.is_none() && self.hit(victim, rng);
        let ended = call.wait_for(ANSWERED_WITHIN)?;
        let Some(status) = ended else {
            return Err(Trouble::Wedged(format!("{victim:?} killed: the call {words:?} is not answered")));
        };
        if !is_hit && status.success() {
            *usual = (*usual * 3 + asked.elapsed()) / 4;
        }
        if victim == Victim::Supervisor && is_hit {
            if let Some(process) = self.load.process(Part::Signer) {
                process.wait_for(ANSWERED_WITHIN)?;
            }
            self.look_at_directory(&next)?;
            self.load.start(Part::Signer)?;
        }
        let now = self
            .operator
            .await_status()
            .map_err(|failure| Trouble::Fault(format!("{victim:?} killed: {failure}")))?;
        let is_new = self.old_or_new(&now, &next, asked_ns)?;
        if status.success() && !is_new {
            return Err(Trouble::Fault(format!(
                "{victim:?} killed: {words:?} was made, and the old module serves"
            )));
        }
        if is_hit {
            kills.of[victim as usize] += 1;
            *(if is_new { &mut kills.new } else { &mut kills.old }) += 1;
        }
        self.load.forgive();
        Ok(())
    }

    /// Waits until somebody prepares a module, or it is too late for that.
    fn await_preparation(&self, call: &mut Process) -> Result<(), Failure> {
        let supervisor = self.load.id(Part::Signer).unwrap_or_default();
        while call.try_wait()?.is_none()
            && !children_of(supervisor).into_iter().any(|pid| is_called_with(pid, "prepare"))
        {
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Kills; false if there was nobody to kill.
    fn hit(&self, victim: Victim, rng: &mut Rng) -> bool {
        let Some(supervisor) = self.load.id(Part::Signer) else { return false };
        let word = match victim {
            Victim::Supervisor => {
                self.load.signal(Part::Signer, Signal::KILL);
                return true;
            }
            Victim::Worker => "worker",
            Victim::Preparation => "prepare",
        };
        let children = children_of(supervisor);
        let children: Vec<u32> = children.into_iter().filter(|pid| is_called_with(*pid, word)).collect();
        !children.is_empty() && signal_child_of(supervisor, rng.choose(&children), Signal::KILL)
    }

    /// What is remembered while nobody serves: one or the other.
    fn look_at_directory(&self, next: &Serving) -> Result<(), Trouble> {
        let committed = self.committed().map_err(Trouble::Fault)?;
        if committed.is_null() && self.history.generation() == 1 {
            return Ok(());
        }
        let present = committed["present"].as_array().into_iter().flatten();
        let modules = present.filter_map(|module| serde_json::from_value::<Module>(module.clone()).ok());
        let module = modules.into_iter().find(|module| module.method == self.method);
        match module {
            Some(module) if self.plan.present().is(&module) || next.is(&module) => Ok(()),
            other => Err(Trouble::Fault(format!("generation.json has {other:?}, neither old nor new"))),
        }
    }

    /// Whether the new module serves; the old one must if it doesn't.
    fn old_or_new(&mut self, status: &Status, next: &Serving, asked_ns: u64) -> Result<bool, Trouble> {
        let found = status.methods.iter().find(|module| module.method == self.method);
        let found = found.ok_or_else(|| Trouble::Fault("status shows no such method".into()))?;
        let last = self.history.generation();
        if status.generation == last && self.plan.present().is(found) {
            return Ok(false);
        }
        if status.generation == last + 1 && found.generation == last + 1 && next.is(found) {
            self.history.note(found, false, next.stamp(), asked_ns, now_ns());
            self.plan.made(next.clone());
            return Ok(true);
        }
        let (generation, old) = (status.generation, self.plan.present());
        Err(Trouble::Fault(format!(
            "generation {generation} after {last}, {found:?} serves: neither old ({old:?}) nor new ({next:?})"
        )))
    }
}

/// Whether a process has `word` as its first argument.
fn is_called_with(pid: u32, word: &str) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).nth(1) == Some(word.as_bytes())
}
