//! Tables for people.

use std::path::PathBuf;

use crate::histograms::Stage;
use crate::summary::{Latencies, Summary};

/// What stands where there is no value.
pub(crate) const NOTHING: &str = "-";

/// The end of a run: latencies per stage in µs, what was counted, the rate, and where the `files` are.
pub fn of_run(summary: &Summary, files: &[PathBuf]) -> String {
    let header = ["stage", "count", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    rows.extend(Stage::ALL.map(|stage| latencies_row(stage, summary.stages.get(stage))));
    let mut text = aligned(&rows, 1);
    text += &format!("\n{}\n", counts_line(summary));
    for reason in &summary.measurement_only {
        text += &format!("for measurements only: {reason}\n");
    }
    for file in files {
        text += &format!("{}\n", file.display());
    }
    text
}

fn latencies_row(stage: Stage, latencies: &Latencies) -> Vec<String> {
    let Latencies { count, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, .. } = latencies;
    let percentiles = [p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns].map(|ns| us(*ns));
    [stage.name().to_owned(), count.to_string()].into_iter().chain(percentiles).collect()
}

fn counts_line(summary: &Summary) -> String {
    let counts = &summary.counts;
    let mut line = format!("{} messages", counts.records);
    if let Some(rate) = summary.messages_per_s {
        line += &format!(" in {:.3} s: {rate:.0} messages/s", summary.wall_ns as f64 / 1e9);
    }
    for (count, what) in [
        (counts.verified, "verified"),
        (counts.not_verified, "NOT VERIFIED"),
        (counts.failed, "FAILED"),
        (counts.unchecked, "unchecked"),
        (counts.void, "void"),
        (summary.resumed, "× resumed"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

fn us(ns: Option<u64>) -> String {
    ns.map_or(NOTHING.to_owned(), |ns| format!("{:.1}", ns as f64 / 1e3))
}

/// `rows` in columns two spaces apart: the first `left` of them to the left, the others to the right.
pub(crate) fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
