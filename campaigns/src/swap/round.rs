//! A round: a load, an operator who swaps under it, and what the records say of it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use cli::Failure;
use shmem_layout::now_ns;

use super::figures::Figures;
use super::history::History;
use super::modules::Modules;
use super::operator::Operator;
use super::plan::Plan;
use crate::support::judge::judge_with;
use crate::support::load::{Load, Part, Shape, Totals, Trouble};
use crate::support::rng::Rng;
use crate::support::session::Session;

/// A load with an operator.
pub struct Round<'a> {
    pub session: &'a Session,
    pub load: Load,
    pub operator: Operator,
    pub modules: Modules,
    pub plan: Plan,
    pub history: History,
    pub method: &'static str,
}

/// What a round came to.
#[derive(Default)]
pub struct RoundOutcome {
    /// Swaps that were made, and refused as they had to be.
    pub made: u64,
    pub refused: u64,
    pub totals: Totals,
    pub misattributed: u64,
    pub figures: Figures,
}

/// What a round is about.
#[derive(Clone, Copy)]
pub struct Kind {
    /// `ecdsa`, at full speed, or `null`, on a schedule.
    pub method: &'static str,
    /// What signs at first.
    pub runtime: &'static str,
    /// Messages a second from each producer; none for all that the ring takes.
    pub rate: Option<u64>,
    /// Lines for each producer.
    pub lines: u64,
}

impl<'a> Round<'a> {
    /// Starts the load, and waits until it is served. Modules have numbers from `number` on.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(
        session: &'a Session,
        kind: Kind,
        runtimes: &[String],
        number: u64,
        rng: &mut Rng,
    ) -> Result<Self, Failure> {
        let mut shape = Shape {
            runtime: kind.runtime.into(),
            method: kind.method,
            signer_arguments: Vec::new(),
            consumer_arguments: Vec::new(),
            workers: 2,
            verify_threads: 1,
            capacity: 256,
            max_attempts: 15,
            sizes: 32..100,
            rate: kind.rate,
            lines: kind.lines,
        };
        if kind.method == "null" {
            shape.consumer_arguments = vec!["--verifier".into(), "none".into()];
        }
        let mut load = Load::with_control(session, shape, rng)?;
        let operator = Operator::new(session, load.site());
        let modules = Modules::new(load.site())?;
        for part in [Part::Consumer, Part::Signer, Part::Producer(0), Part::Producer(1)] {
            load.start(part)?;
        }
        let plan = Plan::new(kind.method, kind.runtime, runtimes, number);
        let history = History::default();
        let mut round = Self { session, load, operator, modules, plan, history, method: kind.method };
        let status = round.operator.await_status()?;
        let first = status.methods.iter().find(|module| module.method == kind.method);
        let first = first.ok_or_else(|| Failure::failed("status shows no such method"))?;
        round.history.note(first, false, None, 0, 0);
        Ok(round)
    }

    /// Leaves the load alone for `quiet`, and then swaps `count` times, or until the load runs out.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn swap(mut self, count: u64, quiet: Duration, rng: &mut Rng) -> Result<RoundOutcome, Failure> {
        let mut outcome = RoundOutcome::default();
        // Whatever starting costs is over by then.
        thread::sleep(quiet / 4);
        let calm = now_ns();
        thread::sleep(quiet);
        let begun = now_ns();
        let trouble = self.swap_all(count, rng, &mut outcome);
        let ended = now_ns();
        outcome.figures.phases = [(calm, begun), (begun, ended)];
        self.finish(trouble, outcome)
    }

    /// Lets the load end and judges it.
    ///
    /// # Errors
    /// The campaign can't go on.
    pub fn finish(
        self,
        trouble: Result<(), Trouble>,
        mut outcome: RoundOutcome,
    ) -> Result<RoundOutcome, Failure> {
        let Self { session, load, history, method, .. } = self;
        let (figures, misattributed) = (&mut outcome.figures, &mut outcome.misattributed);
        outcome.totals = load.finish_with(session, trouble, |site, ledgers| {
            let mut inspect = |line: &crate::support::journal::Line| {
                figures.take(line);
                history.check(line)
            };
            let judgement = judge_with(&site.out(), site.public_key(), ledgers, method, &mut inspect)?;
            *misattributed = judgement.misattributed;
            Ok(judgement)
        })?;
        outcome.figures.close();
        Ok(outcome)
    }

    fn swap_all(&mut self, count: u64, rng: &mut Rng, outcome: &mut RoundOutcome) -> Result<(), Trouble> {
        for _ in 0..count {
            for part in [Part::Signer, Part::Consumer] {
                if let Some(status) = self.load.ended(part)? {
                    return Err(self.load.fault(part, status));
                }
            }
            if self.load.ended(Part::Producer(0))?.is_some() || self.load.ended(Part::Producer(1))?.is_some()
            {
                break;
            }
            self.load.look()?;
            self.step(rng, outcome)?;
        }
        Ok(())
    }

    fn step(&mut self, rng: &mut Rng, outcome: &mut RoundOutcome) -> Result<(), Trouble> {
        let step = self.plan.draw(&self.modules, rng)?;
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        let fault = |what: String| Err(Trouble::Fault(format!("swap {words:?}: {what}")));
        let asked_ns = now_ns();
        let answer = self.operator.swap(&words)?;
        let made_ns = now_ns();
        match (answer, step.next) {
            (Ok(swapped), Some(next)) => {
                let module = &swapped.module;
                if !step.is_other && !next.is(module) {
                    return fault(format!("the signer says {module:?}, not {next:?}"));
                }
                if module.generation != self.history.generation() + 1 {
                    return fault(format!("{module:?} comes after generation {}", self.history.generation()));
                }
                self.history.note(module, step.is_other, next.stamp(), asked_ns, made_ns);
                if !step.is_other {
                    self.plan.made(next);
                }
                outcome.made += 1;
                outcome.figures.swapped(&swapped);
                Ok(())
            }
            (Err(why), None) if !why.is_empty() && why.lines().count() == 1 => {
                outcome.refused += 1;
                Ok(())
            }
            (Ok(swapped), None) => fault(format!("it was not refused: {:?}", swapped.module)),
            (Err(why), expected) => fault(format!("{why:?}, where there should be {expected:?}")),
        }
    }

    /// What the control directory remembers, as it lies there.
    pub fn committed(&self) -> Result<serde_json::Value, String> {
        let path: &Path = &self.operator.directory.join("generation.json");
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Value::Null),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}
