//! What a run came to: tables of spreads and ratios, as Markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Machine;
use crate::measure::{Case, Metric, Sample};
use crate::probe::Class;
use crate::stats::Spread;

/// Everything that a run came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of the JSON's format.
    pub format: u32,
    /// Where and with what it was measured.
    pub machine: Machine,
    /// Whether it is the short form, whose figures mean nothing.
    pub is_short: bool,
    /// Tables, by group.
    pub groups: Vec<Group>,
}

/// The tables of a group.
#[derive(Debug, Default, Serialize)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// How it was measured.
    pub notes: Vec<String>,
    /// What it came to.
    pub tables: Vec<Table>,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
}

/// A contender's samples.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub contender: String,
    /// In order.
    pub samples: Vec<Sample>,
}

impl Row {
    /// Without samples.
    pub fn new(contender: String) -> Self {
        Self { contender, samples: Vec::new() }
    }
}

/// What a case came to.
#[derive(Debug, Serialize)]
pub struct Table {
    case: Case,
    rows: Vec<Row>,
    /// Samples in which the cores were moved.
    dropped: usize,
    results: Vec<Outcome>,
}

/// What a contender came to in a class.
#[derive(Debug, Serialize)]
struct Outcome {
    contender: String,
    class: Class,
    /// By metric.
    values: BTreeMap<&'static str, Spread>,
    /// By reference, then by metric: taken round by round.
    ratios: BTreeMap<String, BTreeMap<&'static str, Spread>>,
}

impl Table {
    /// Sums up the rows of a case.
    pub fn new(case: Case, rows: Vec<Row>, dropped: usize) -> Self {
        let mut results = Vec::new();
        for class in [Class::Any, Class::Near, Class::Far] {
            for row in &rows {
                let samples: Vec<&Sample> = row.samples.iter().filter(|s| s.class == class).collect();
                if samples.is_empty() {
                    continue;
                }
                let mut outcome = Outcome {
                    contender: row.contender.clone(),
                    class,
                    values: BTreeMap::new(),
                    ratios: BTreeMap::new(),
                };
                for metric in &case.metrics {
                    let values = samples.iter().filter_map(|sample| sample.values.get(metric.name).copied());
                    outcome.values.extend(Spread::of(values).map(|spread| (metric.name, spread)));
                    for reference in &case.references {
                        let Some(other) = rows.iter().find(|row| row.contender == *reference) else {
                            continue;
                        };
                        let ratios = samples.iter().filter_map(|sample| ratio(sample, other, metric.name));
                        let entry = outcome.ratios.entry(reference.clone()).or_default();
                        entry.extend(Spread::of(ratios).map(|spread| (metric.name, spread)));
                    }
                }
                results.push(outcome);
            }
        }
        Self { case, rows, dropped, results }
    }

    /// The spread of a contender's ratio to a reference: of the class that is given.
    pub fn ratio(&self, contender: &str, reference: &str, metric: &str, class: Class) -> Option<Spread> {
        let outcome = self.results.iter().find(|o| o.contender == contender && o.class == class)?;
        outcome.ratios.get(reference)?.get(metric).copied()
    }

    fn to_markdown(&self, text: &mut String) {
        let _ = writeln!(text, "### {}\n", self.case.title);
        for note in &self.case.notes {
            let _ = writeln!(text, "{note}\n");
        }
        for class in [Class::Any, Class::Near, Class::Far] {
            let outcomes: Vec<&Outcome> = self.results.iter().filter(|o| o.class == class).collect();
            if outcomes.is_empty() {
                continue;
            }
            if class != Class::Any {
                let _ = writeln!(text, "Cores {}:\n", class.name());
            }
            let metrics: Vec<&Metric> = self
                .case
                .metrics
                .iter()
                .filter(|m| outcomes.iter().any(|o| o.values.contains_key(m.name)))
                .collect();
            let pairs: Vec<(&str, &Metric)> = metrics
                .iter()
                .filter(|metric| metric.has_ratio)
                .flat_map(|metric| self.case.references.iter().map(move |r| (r.as_str(), *metric)))
                .filter(|(r, m)| {
                    outcomes.iter().any(|o| o.ratios.get(*r).is_some_and(|r| r.contains_key(m.name)))
                })
                .collect();
            let mut head = vec!["".to_owned()];
            head.extend(
                metrics.iter().map(|m| {
                    if m.unit.is_empty() { m.name.into() } else { format!("{}, {}", m.name, m.unit) }
                }),
            );
            head.extend(pairs.iter().map(|(reference, metric)| format!("{} ÷ {reference}", metric.name)));
            head.push("rounds".into());
            let _ = writeln!(text, "| {} |\n|---{}|", head.join(" | "), "|---:".repeat(head.len() - 1));
            for outcome in outcomes {
                let mut cells = vec![outcome.contender.clone()];
                cells.extend(
                    metrics
                        .iter()
                        .map(|m| outcome.values.get(m.name).map_or("–".into(), |s| cell(s, figure))),
                );
                let of =
                    |(reference, metric): &(&str, &Metric)| outcome.ratios.get(*reference)?.get(metric.name);
                cells.extend(pairs.iter().map(|pair| match of(pair) {
                    _ if outcome.contender == pair.0 => "1".into(),
                    Some(spread) => format!("**{:.2}** ({:.2}–{:.2})", spread.median, spread.min, spread.max),
                    None => "–".into(),
                }));
                cells.push(outcome.values.values().map(|s| s.rounds).max().unwrap_or_default().to_string());
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
            text.push('\n');
        }
        if self.dropped > 0 {
            let _ = writeln!(text, "{} samples dropped: the cores were moved in them.\n", self.dropped);
        }
    }
}

/// A sample over the reference's of the same class that is nearest in time.
fn ratio(sample: &Sample, reference: &Row, metric: &str) -> Option<f64> {
    let same_class = reference.samples.iter().filter(|other| other.class == sample.class);
    let nearest = same_class.min_by_key(|other| other.round.abs_diff(sample.round))?;
    let below = nearest.values.get(metric).filter(|value| **value > 0.0)?;
    Some(sample.values.get(metric)? / below)
}

fn cell(spread: &Spread, figure: impl Fn(f64) -> String) -> String {
    format!("{} ({}–{})", figure(spread.median), figure(spread.min), figure(spread.max))
}

/// Three digits or a little more.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

impl Report {
    /// For people.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# Ringseal side by side, {}\n\n", self.machine.date);
        if self.is_short {
            text.push_str("**The short form, which only tells whether everything works: its figures mean nothing.**\n\n");
        }
        text.push_str("A cell is the median of the rounds, with least and greatest. Contenders took turns; a ratio is taken round by round.\n\n");
        for (name, value) in self.machine.lines() {
            let _ = writeln!(text, "- {name}: {value}");
        }
        text.push('\n');
        for group in &self.groups {
            let _ = writeln!(text, "## {}\n", group.name);
            for note in &group.notes {
                let _ = writeln!(text, "{note}\n");
            }
            for table in &group.tables {
                table.to_markdown(&mut text);
            }
            for skipped in &group.skipped {
                let _ = writeln!(text, "Not measured: {skipped}\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Values;

    #[test]
    fn figures_are_short_and_grouped() {
        let figures = [0.0, 0.01234, 0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(figure);
        assert_eq!(figures, ["0", "0.0123", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
    }

    #[test]
    fn ratios_stay_within_a_class_and_a_round() {
        let sample = |round, class, value| Sample {
            round,
            class,
            line_ns: None,
            values: Values::from([("p50", value)]),
        };
        let floor =
            vec![sample(0, Class::Near, 100.0), sample(1, Class::Far, 400.0), sample(2, Class::Near, 50.0)];
        let ours =
            vec![sample(0, Class::Near, 200.0), sample(1, Class::Far, 480.0), sample(2, Class::Near, 150.0)];
        let rows = vec![
            Row { contender: "floor".into(), samples: floor },
            Row { contender: "ours".into(), samples: ours },
        ];
        let case = Case {
            title: String::new(),
            metrics: vec![Metric::compared("p50", "ns")],
            references: vec!["floor".into()],
            notes: vec![],
        };
        let table = Table::new(case, rows, 0);
        let near = table.ratio("ours", "floor", "p50", Class::Near);
        assert_eq!(near, Spread::of([2.0, 3.0]));
        assert_eq!(table.ratio("ours", "floor", "p50", Class::Far), Spread::of([1.2]));
        assert_eq!(table.ratio("ours", "floor", "p50", Class::Any), None);
    }
}
