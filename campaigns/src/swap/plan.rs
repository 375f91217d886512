//! What the operator asks for next, and what must come of it.

use std::mem;

use cli::Failure;

use super::modules::{ModuleFile, Modules, built_in};
use super::operator::Module;
use crate::support::rng::Rng;

/// What serves, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// None for what is built in.
    pub file: Option<ModuleFile>,
    /// What runs it.
    pub runtime: String,
}

/// A swap to be asked for.
pub struct Step {
    /// The words after `signer ctl swap`.
    pub words: Vec<String>,
    /// What must serve then; none if it must be refused.
    pub next: Option<Serving>,
    /// Whether it concerns another method than the one whose records are looked at.
    pub is_other: bool,
}

/// The operator's memory of a method.
pub struct Plan {
    method: &'static str,
    runtimes: Vec<String>,
    present: Serving,
    previous: Option<Serving>,
    /// Makes each module another one.
    number: u64,
}

impl Serving {
    fn sha256(&self) -> String {
        self.file.as_ref().map_or_else(|| built_in(&self.runtime), |file| file.sha256.clone())
    }

    /// What it answers, if it answers nothing else.
    pub fn stamp(&self) -> Option<u64> {
        self.file.as_ref().and_then(|file| file.stamp)
    }

    /// Whether the signer says the same.
    pub fn is(&self, module: &Module) -> bool {
        // The built-in module of `null` is not known here.
        let is_known = self.file.is_some() || module.method == "ecdsa";
        self.runtime == module.runtime && (!is_known || self.sha256() == module.sha256)
    }

    /// Whether its runtime can run it.
    fn is_possible(&self) -> bool {
        match &self.file {
            None => true,
            Some(file) => self.runtime != "native" && !(file.is_wide && self.runtime == "wasm3"),
        }
    }
}

impl Plan {
    /// For `method`, which is signed by what is built in for `runtime` now; modules have numbers from `number` on.
    pub fn new(method: &'static str, runtime: &str, runtimes: &[String], number: u64) -> Self {
        let present = Serving { file: None, runtime: runtime.to_owned() };
        Self { method, runtimes: runtimes.to_vec(), present, previous: None, number }
    }

    /// What serves.
    pub fn present(&self) -> &Serving {
        &self.present
    }

    /// Notes that `next` serves.
    pub fn made(&mut self, next: Serving) {
        self.previous = Some(mem::replace(&mut self.present, next));
    }

    /// Draws the next step.
    ///
    /// # Errors
    /// A module can't be written.
    pub fn draw(&mut self, modules: &Modules, rng: &mut Rng) -> Result<Step, Failure> {
        let method = self.method.to_owned();
        let step = |words: Vec<String>, next: Option<Serving>| {
            let words = [method.clone()].into_iter().chain(words).collect();
            Step { words, next: next.filter(Serving::is_possible), is_other: false }
        };
        let word = str::to_owned;
        if self.method == "null" {
            return Ok(match rng.within(0..10) {
                0 => step(vec![word("--rollback")], self.previous.clone()),
                1 => step(vec![modules.hostile(rng.next()).display().to_string()], None),
                _ => {
                    let file = self.module(modules, rng)?;
                    step(
                        vec![file.path.display().to_string()],
                        Some(Serving { file: Some(file), runtime: self.present.runtime.clone() }),
                    )
                }
            });
        }
        let runtime = self.runtime(rng);
        let on = |runtime: &str| [word("--runtime"), word(runtime)];
        Ok(match rng.within(0..100) {
            0..40 => {
                let file = self.module(modules, rng)?;
                let mut words = vec![file.path.display().to_string()];
                let mut next = Serving { file: Some(file), runtime: self.present.runtime.clone() };
                if rng.percent(70) {
                    words.extend(on(&runtime));
                    next.runtime = runtime;
                }
                step(words, Some(next))
            }
            40..55 => step(on(&runtime).into(), Some(Serving { runtime, ..self.present.clone() })),
            55..70 => {
                let words = [word("--builtin")].into_iter().chain(on(&runtime)).collect();
                step(words, Some(Serving { file: None, runtime }))
            }
            70..85 => step(vec![word("--rollback")], self.previous.clone()),
            85..95 => step(vec![modules.hostile(rng.next()).display().to_string()], None),
            _ => Step {
                words: [word("schnorr"), word("--builtin")].into_iter().chain(on(&runtime)).collect(),
                next: Some(Serving { file: None, runtime }),
                is_other: true,
            },
        })
    }

    /// A module that was never there.
    fn module(&mut self, modules: &Modules, rng: &mut Rng) -> Result<ModuleFile, Failure> {
        self.number += 1;
        if self.method == "null" {
            return modules.stamping(self.number);
        }
        modules.salted(self.number, rng.percent(50))
    }

    /// The slow ones seldom: there is nothing to see where nothing is signed.
    fn runtime(&self, rng: &mut Rng) -> String {
        let share = |runtime: &str| match runtime {
            "wasmtime" => 60,
            "native" => 20,
            _ => 10,
        };
        let total = self.runtimes.iter().map(|runtime| share(runtime)).sum();
        let mut drawn = rng.within(0..total);
        for runtime in &self.runtimes {
            match drawn.checked_sub(share(runtime)) {
                Some(left) => drawn = left,
                None => return runtime.clone(),
            }
        }
        self.present.runtime.clone()
    }
}
