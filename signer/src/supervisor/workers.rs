//! What the workers say, and what follows when one of them is gone.

use std::process::ExitStatus;
use std::time::Instant;

use cli::Failure;

use super::Supervisor;
use super::change::Change;
use super::seat::{Heard, State};
use crate::manner::manner;
use crate::orders::Word;
use crate::overdue;

/// After this many deaths in a row, in all of which the worker got nowhere, there is no point in another start.
const DEATHS_MAX: u32 = 10;

impl Supervisor<'_> {
    /// Hears the workers out, and sees to those who are gone.
    pub(super) fn listen(&mut self) {
        for number in 0..self.seats.len() {
            if let Some(worker) = self.seats[number].worker_mut() {
                match worker.listen() {
                    Heard::Words(words) => words.into_iter().for_each(|word| self.heed(number, word)),
                    Heard::End(words) => self.see_off(number, words),
                }
            }
            if let Some(worker) = &mut self.seats[number].standby {
                match worker.listen() {
                    Heard::Words(words) => {
                        for word in words {
                            match word {
                                Word::Ready => worker.is_ready = true,
                                Word::Said(line) => relay(number, line),
                                _ => {}
                            }
                        }
                    }
                    Heard::End(words) => self.lose_standby(number, words),
                }
            }
        }
    }

    fn heed(&mut self, number: usize, word: Word) {
        let Some(worker) = self.seats[number].worker_mut() else { return };
        match word {
            Word::Ready => {
                worker.is_ready = true;
                let pid = worker.child.id();
                self.tell("worker-started", Some(number), format!("worker {number} (pid {pid}) is ready"));
            }
            Word::Installed(generation) => worker.installed = generation,
            Word::NotInstalled { generation, why } => self.refuse_install(number, generation, &why),
            Word::Switched(generation) => worker.generation = generation,
            Word::Warning(text) => {
                let text = format!("worker {number}: {text}");
                tracing::warn!(worker = number, "{text}");
                self.tell("warning", Some(number), text);
            }
            Word::Said(line) => relay(number, line),
        }
    }

    /// Takes leave of a worker that is gone, and decides what follows from it.
    fn see_off(&mut self, number: usize, words: String) {
        let State::Running(worker) = std::mem::replace(&mut self.seats[number].state, State::Ended) else {
            return;
        };
        let pid = worker.child.id();
        let status = match worker.reap() {
            Ok(status) => status,
            Err(error) => {
                return self
                    .end(Failure::environment(format_args!("can't wait for worker {number}: {error}")));
            }
        };
        let name = format!("worker {number} (pid {pid})");
        let totals = self.seats[number].totals();
        tracing::debug!(
            worker = number,
            pid,
            signed = totals.signed(),
            failed = totals.failed(),
            batches = totals.batches,
            restores = totals.restores,
            replacements = totals.replacements,
            "{name} {}; signed {}, failed {}, in {} batches; {} restores, {} replacements",
            manner(status),
            totals.signed(),
            totals.failed(),
            totals.batches,
            totals.restores,
            totals.replacements
        );
        let words = match words.is_empty() {
            true => format!("{name} {}", manner(status)),
            false => words,
        };
        match status.code() {
            Some(0) => {}
            Some(2) => self.end(Failure::bad_input(words)),
            Some(3) => self.end(Failure::environment(words)),
            _ if self.ending.is_some() || self.change.as_ref().is_some_and(Change::is_handing_over) => {}
            Some(overdue::EXIT_CODE) => self.start_again(number, status, &format!("{name} {words}")),
            _ => self.start_again(number, status, &format!("{name} {}", manner(status))),
        }
    }

    fn start_again(&mut self, number: usize, status: ExitStatus, death: &str) {
        self.tally.note_death(status);
        let seat = &mut self.seats[number];
        let wait = seat.note_death(death);
        if seat.fruitless_deaths >= DEATHS_MAX {
            return self.end(Failure::environment(format_args!(
                "{death}; {DEATHS_MAX} in a row got nowhere, so it is given up"
            )));
        }
        seat.state = State::Due(Instant::now() + wait);
        tracing::warn!(worker = number, deaths = self.seats[number].deaths, "{death}; starting another one");
        self.tell("worker-died", Some(number), death.to_owned());
    }
}

/// Prints what worker `number` says.
fn relay(number: usize, mut line: cli::log::Line) {
    if !matches!(&*line.level, "ERROR" | "WARN") {
        line.message = format!("worker {number}: {}", line.message);
    }
    line.fields.insert("worker".to_owned(), number.into());
    cli::log::relay(line);
}
