//! The page about several runs, side by side.

use super::curves::{self, Curve};
use super::facts::{self, Fact};
use super::format::{PERCENTILES, count_of, decimal, rate, thousands, time, us};
use super::html::{Cell, escape, table};
use super::page::{Illustration, Page, Weight};
use super::picture::{DASHES, Ink};
use super::plot::Label;
use super::ratios::{self, Ratios};
use super::shares;
use super::single::{few, one_place, percentile_of, reading, record_parts, start_parts};
use super::timeline::{self, Series};
use super::{Run, troubles};
use crate::compare::{NATIVE, Work};
use crate::histograms::Stage;
use crate::hlog_reader::Span;

/// The page about `runs`.
pub(crate) fn page(runs: &[Run]) -> Page {
    let signing: Vec<_> = runs.iter().map(|run| Work::signing(&run.folder)).collect();
    let verifying: Vec<_> =
        runs.iter().map(|run| Some(Work::verifying(&run.folder)).filter(|work| work.messages > 0)).collect();
    let mut page = Page::new(&format!("{} runs side by side", runs.len()), &headline(runs, &signing));
    page.remarks(&remarks(runs));
    let names: Vec<_> = runs.iter().map(|run| run.name.clone()).collect();
    for (name, title, works) in
        [("signing", "Signing a message", &signing), ("verifying", "Verifying a message", &verifying)]
    {
        if works.iter().flatten().next().is_some() {
            let base = Ratios::new(works).base();
            let note = format!(
                "Time in the engine for each message, and how often as long that is as with {base}. What it is a mean of, and the longest, stand in the tables below."
            );
            page.illustrate(Illustration::new(&note, |form| {
                ratios::picture(name, title, &names, works, form)
            }));
        }
    }
    illustrate_logs(&mut page, runs);
    illustrate_parts(&mut page, runs);
    page.heading("End to end");
    page.paragraph(
        "Latencies in microseconds. Where fewer than ten samples lie above a percentile, it says how many.",
    );
    page.push(&end_to_end(runs));
    page.heading("Work");
    page.paragraph("Time in the engines that sign, and in those that verify: all of it, for each message, and the longest stay in the stage.");
    page.push(&work("signing", runs, &signing, Stage::Sign));
    page.push(&work("verifying", runs, &verifying, Stage::Verify));
    what_ran(&mut page, runs);
    reading(&mut page);
    page
}

fn headline(runs: &[Run], signing: &[Option<Work>]) -> String {
    let records = || runs.iter().map(|run| run.folder.summary.counts.records);
    let all: u64 = records().sum();
    let (least, most) = (records().min().unwrap_or(0), records().max().unwrap_or(0));
    let each =
        if least == most { format!("{} each", count_of(most, "message")) } else { count_of(all, "message") };
    let verified: u64 = runs.iter().map(|run| run.folder.summary.counts.verified).sum();
    let outcome = if verified == all {
        "all verified".to_owned()
    } else {
        format!("{} NOT verified", thousands(all - verified))
    };
    let ratios = Ratios::new(signing);
    let factors: Vec<_> =
        (0..signing.len()).filter_map(|i| Some((ratios.ratio(i)?, signing.get(i)?.as_ref()?))).collect();
    let others = factors.iter().filter(|(_, work)| work.by != NATIVE).map(|(ratio, _)| *ratio);
    let (least, most) =
        others.fold((f64::MAX, 0.0), |(least, most): (f64, f64), ratio| (least.min(ratio), most.max(ratio)));
    let spread = match ratios.base() {
        NATIVE if most > 0.0 => {
            format!(
                " Signing takes {} to {} times as long as natively.",
                decimal(least, 1),
                decimal(most, if most < 10.0 { 1 } else { 0 })
            )
        }
        _ => String::new(),
    };
    format!("{} runs of {each}, {outcome}.{spread}", runs.len())
}

/// Of each run what is bad, by its name; what many say once.
fn remarks(runs: &[Run]) -> Vec<(Weight, String)> {
    let mut said: Vec<(Weight, String, Vec<&str>)> = Vec::new();
    for run in runs {
        for (weight, text) in troubles::of(run) {
            // By whom may differ: that stands below.
            let text = if weight == Weight::Good { "Every signature was verified.".to_owned() } else { text };
            match said.iter_mut().find(|(_, known, _)| *known == text) {
                Some((_, _, names)) => names.push(&run.name),
                None => said.push((weight, text, vec![&run.name])),
            }
        }
    }
    let name = |(weight, text, names): (Weight, String, Vec<&str>)| {
        let whose = if names.len() == runs.len() { String::new() } else { format!("{}: ", names.join(", ")) };
        (weight, whose + &text)
    };
    said.into_iter().map(name).collect()
}

/// How the runs are told apart: by a colour each, or, if there are more than colours, by one for each runtime and a kind of line
/// for each method.
fn labels(runs: &[Run]) -> Vec<Label> {
    let kind = |run: &Run| (run.folder.summary.runtimes.join("+"), run.folder.summary.method());
    let kinds: Vec<_> = runs.iter().map(kind).collect();
    let place = |i: usize, of: fn(&(String, String)) -> &String| {
        let mut known: Vec<&String> = Vec::new();
        kinds.iter().map(of).for_each(|name| {
            if !known.contains(&name) {
                known.push(name)
            }
        });
        known.iter().position(|name| *name == of(&kinds[i])).unwrap_or(0)
    };
    let are_unique = kinds.iter().enumerate().all(|(i, kind)| !kinds[..i].contains(kind));
    let label = |(i, run): (usize, &Run)| {
        let (colour, dash) = if runs.len() <= Ink::SERIES {
            (i, 0)
        } else if are_unique {
            (place(i, |kind| &kind.0), place(i, |kind| &kind.1))
        } else {
            (i % Ink::SERIES, i / Ink::SERIES)
        };
        Label { name: run.name.clone(), ink: Ink::Series(colour % Ink::SERIES), dash: dash % DASHES.len() }
    };
    runs.iter().enumerate().map(label).collect()
}

fn illustrate_logs(page: &mut Page, runs: &[Run]) {
    let labels = labels(runs);
    let logs: Vec<_> =
        runs.iter().zip(&labels).filter_map(|(run, label)| Some((run.log.as_ref().ok()?, label))).collect();
    for (name, title, stage, note) in [
        ("percentiles-end_to_end", "End to end by percentile", Stage::EndToEnd, "Due until verified."),
        (
            "percentiles-sign",
            "Signing by percentile",
            Stage::Sign,
            "Claimed until signed, the rest of its batch included.",
        ),
        (
            "percentiles-verify",
            "Verifying by percentile",
            Stage::Verify,
            "Signed until verified, the wait for the consumer included.",
        ),
    ] {
        let curves: Vec<_> =
            logs.iter().filter_map(|(log, label)| Curve::new((*label).clone(), log.total(stage))).collect();
        if !curves.is_empty() {
            let note = format!("{note} Hollow dots and faint lines rest on fewer than ten samples.");
            page.illustrate(Illustration::new(&note, |form| curves::picture(name, title, &curves, form)));
        }
    }
    let p99: fn(&Span) -> f64 = |span| span.p99_ns as f64;
    let long = logs.iter().filter(|(log, _)| log.spans.len() > 2);
    let series = long.map(|(log, label)| Series {
        label: (*label).clone(),
        spans: &log.spans,
        value: p99,
        needs_many: true,
    });
    let series: Vec<_> = series.collect();
    if !series.is_empty() {
        let note = "The 99th percentile of each interval of the log, from each run’s own beginning. Hollow: fewer than ten samples above.";
        page.illustrate(Illustration::new(note, |form| {
            timeline::latency("latency", "End to end p99 over time", &series, form)
        }));
    }
}

fn illustrate_parts(page: &mut Page, runs: &[Run]) {
    let records: Vec<_> = runs.iter().filter_map(record_parts).collect();
    if let Some((labels, _)) = records.first() {
        let bars: Vec<_> = records.iter().map(|(_, bar)| bar.clone()).collect();
        let note = "Shares of the mean end to end, which stands beside: over how many messages, and the longest. sign and verify are work alone; other is the rest of the batch, and waiting for the consumer.";
        page.illustrate(Illustration::new(note, |form| {
            shares::picture("record-time", "Where a record’s time goes", labels, &bars, form)
        }));
    }
    let starts: Vec<_> = runs.iter().filter_map(start_parts).collect();
    if let Some((labels, _)) = starts.first() {
        let bars: Vec<_> = starts.iter().map(|(_, bar)| bar.clone()).collect();
        let note = "Shares of what all workers together spent on it, which stands beside. The first call of an instance signs a batch.";
        page.illustrate(Illustration::new(note, |form| {
            shares::picture("start-time", "Getting ready to sign", labels, &bars, form)
        }));
    }
}

/// The place of a figure of run `i`.
fn field(i: usize, name: &str) -> String {
    format!("{i}.{name}")
}

fn end_to_end(runs: &[Run]) -> String {
    let mut rows = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let (summary, latencies) = (&run.folder.summary, &run.folder.summary.stages.end_to_end);
        let name = if troubles::is_bad(run) { format!("{} ✗", run.name) } else { run.name.clone() };
        let mut row = vec![
            Cell::text(&name),
            Cell::value(&field(i, "counts.records"), Some(summary.counts.records as f64), |count| {
                thousands(count as u64)
            }),
            Cell::value(&field(i, "messages_per_s"), summary.messages_per_s, rate),
        ];
        for percentile in PERCENTILES {
            let value = percentile_of(latencies, percentile.field);
            let field = field(i, &format!("stages.end_to_end.{}", percentile.field));
            row.push(Cell::value(&field, value, us).with_note(few(latencies, percentile)));
        }
        row.push(Cell::value(
            &field(i, "stages.end_to_end.max_ns"),
            latencies.max_ns.map(|ns| ns as f64),
            us,
        ));
        rows.push(row);
    }
    let header = ["run", "messages", "rate", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs"];
    table("End to end", &header, &rows)
}

fn work(title: &str, runs: &[Run], works: &[Option<Work>], stage: Stage) -> String {
    let ratios = Ratios::new(works);
    let mut rows = Vec::new();
    for (i, (run, work)) in runs.iter().zip(works).enumerate() {
        let Some(work) = work else { continue };
        let max = run.folder.summary.stages.get(stage).max_ns;
        let text =
            |value: Option<f64>, show: fn(f64) -> String| Cell::text(&value.map_or("–".to_owned(), show));
        rows.push(vec![
            Cell::text(&run.name),
            Cell::left(&work.by),
            Cell::left(&work.method),
            Cell::text(&thousands(work.messages)),
            text(Some(work.busy_ns as f64 / 1e6), one_place),
            text(work.us_per_message(), one_place),
            text(ratios.ratio(i), |ratio| decimal(ratio, 2)),
            Cell::value(&field(i, &format!("stages.{}.max_ns", stage.name())), max.map(|ns| ns as f64), time),
        ]);
    }
    let base = format!("× {}", ratios.base());
    let header = [title, "by", "method", "messages", "total ms", "µs/message", &base, "longest"];
    // Headings stand over what they head.
    let html = table(title, &header, &rows);
    ["by", "method"].iter().fold(html, |html, name| {
        html.replacen(
            &format!("<th scope=\"col\">{name}"),
            &format!("<th scope=\"col\" class=\"left\">{name}"),
            1,
        )
    })
}

/// What is the same in all runs once, and what isn't for each.
fn what_ran(page: &mut Page, runs: &[Run]) {
    let all: Vec<Vec<Fact>> = runs.iter().map(facts::of).collect();
    let Some(first) = all.first() else { return };
    let is_common = |fact: usize| all.iter().all(|facts| facts.get(fact) == first.get(fact));
    page.heading("What ran: the same in all");
    let common = first.iter().enumerate().filter(|(i, _)| is_common(*i));
    let terms = common.map(|(_, fact)| format!("<dt>{}</dt><dd>{}</dd>", fact.label, escape(&fact.text)));
    page.push(&format!("<dl class=\"facts\">{}</dl>\n", terms.collect::<String>()));
    for (run, facts) in runs.iter().zip(&all) {
        let own: Vec<_> = facts.iter().enumerate().filter(|(i, _)| !is_common(*i)).collect();
        if !own.is_empty() {
            page.heading(&format!("What ran: {}", run.name));
            let terms =
                own.iter().map(|(_, fact)| format!("<dt>{}</dt><dd>{}</dd>", fact.label, escape(&fact.text)));
            page.push(&format!("<dl class=\"facts\">{}</dl>\n", terms.collect::<String>()));
        }
    }
}
