//! The seam: contenders that take turns.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::probe::{Class, Probe};
use crate::report::{Row, Table};
use crate::{Plan, Result};

/// What is measured of a contender.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether the report gives its ratio to the references (the JSON always does).
    pub has_ratio: bool,
}

impl Metric {
    /// With its ratio to the references.
    pub const fn compared(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, has_ratio: true }
    }

    /// Without.
    pub const fn shown(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, has_ratio: false }
    }
}

/// What a contender gave in a round: a value for each metric that it has.
pub type Values = BTreeMap<&'static str, f64>;

/// One round of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// The round, counted from 0.
    pub round: usize,
    /// Where the cores were.
    pub class: Class,
    /// Nanoseconds that a line took from one core to the other before and after it, if it was measured.
    pub line_ns: Option<[f64; 2]>,
    /// What it gave.
    pub values: Values,
}

/// One way of doing what a case is about.
pub trait Contender {
    /// Its name in the report.
    fn name(&self) -> String;

    /// Does it for a while, checks that it was done right, and says what it took. Between two calls it uses no CPU time.
    fn sample(&mut self) -> Result<Values>;
}

/// What contenders are compared in.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Its title.
    pub title: String,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// Those that the others are compared to.
    pub references: Vec<String>,
    /// How to read it.
    pub notes: Vec<String>,
}

/// Lets `contenders` take turns for the plan's rounds, each round beginning with another one. With a probe, a sample in
/// which the cores were moved is dropped and taken once more at the end.
pub fn alternate(
    case: Case,
    mut contenders: Vec<Box<dyn Contender + '_>>,
    plan: &Plan,
    probe: Option<&Probe>,
) -> Result<Table> {
    eprintln!("{}", case.title);
    let mut rows: Vec<Row> = contenders.iter().map(|contender| Row::new(contender.name())).collect();
    if plan.warms_up {
        for contender in &mut contenders {
            contender.sample().map_err(|error| format!("{}: {error}", contender.name()))?;
        }
    }
    let mut dropped = 0;
    let mut round = 0;
    let rounds_at_most = if probe.is_some() { plan.rounds * 2 } else { plan.rounds };
    while round < plan.rounds || round < rounds_at_most && lacks_rounds(&rows, plan.rounds) {
        for turn in 0..contenders.len() {
            let i = (turn + round) % contenders.len();
            let named = |error| format!("{}: {error}", rows[i].contender);
            let before = probe.map(Probe::one_way_ns).transpose()?;
            let values = contenders[i].sample().map_err(named)?;
            let line_ns = before.zip(probe.map(Probe::one_way_ns).transpose()?).map(<[f64; 2]>::from);
            match line_ns.map_or(Some(Class::Any), |[before, after]| Probe::class_of(before, after)) {
                Some(class) => rows[i].samples.push(Sample { round, class, line_ns, values }),
                None => dropped += 1,
            }
        }
        round += 1;
    }
    Ok(Table::new(case, rows, dropped))
}

/// Whether somebody has less than so many samples in every class.
fn lacks_rounds(rows: &[Row], rounds: usize) -> bool {
    let in_class = |row: &Row, class| row.samples.iter().filter(|sample| sample.class == class).count();
    ![Class::Near, Class::Far, Class::Any]
        .iter()
        .any(|class| rows.iter().all(|row| in_class(row, *class) >= rounds))
}
