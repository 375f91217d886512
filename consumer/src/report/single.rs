//! The page about one run.

use super::curves::{self, Curve};
use super::facts;
use super::format::{PERCENTILES, count_of, decimal, rate, thousands, time, us};
use super::html::{Cell, escape, table};
use super::page::{Illustration, Page};
use super::picture::Ink;
use super::plot::Label;
use super::shares::{self, Bar};
use super::timeline::{self, Series};
use super::{Run, troubles};
use crate::histograms::Stage;
use crate::hlog_reader::{Digest, Span};
use crate::summary::{Latencies, Summary};

/// The page about `run`.
pub(crate) fn page(run: &Run) -> Page {
    let summary = &run.folder.summary;
    let mut page = Page::new(&run.name, &headline(run));
    page.remarks(&troubles::of(run));
    page.push(&key_figures(run));
    if let Ok(log) = &run.log {
        illustrate_log(&mut page, run, log);
    }
    if let Some((labels, bar)) = record_parts(run) {
        let note = record_note(summary);
        illustrate_parts(&mut page, "record-time", "Where a record’s time goes", &note, labels, bar);
    }
    if let Some((labels, bar)) = start_parts(run) {
        illustrate_parts(&mut page, "start-time", "Getting ready to sign", &start_note(run), labels, bar);
    }
    page.heading("Latency by stage");
    page.paragraph("In microseconds, as in summary.json. A percentile rests on the samples above it: where these are fewer than ten, it says how many.");
    page.push(&stages(summary));
    page.heading("What ran");
    let facts = facts::of(run)
        .into_iter()
        .map(|fact| format!("<dt>{}</dt><dd>{}</dd>", fact.label, escape(&fact.text)));
    page.push(&format!("<dl class=\"facts\">{}</dl>\n", facts.collect::<String>()));
    reading(&mut page);
    page
}

/// What the stages mean.
pub(crate) fn reading(page: &mut Page) {
    page.heading("How to read this");
    page.paragraph(
        "queue: due until claimed by a signer. sign: claimed until signed, the rest of its batch included. verify: signed until \
         verified, the wait for the consumer included. end_to_end: due until verified. With a rate, a message is due when the \
         schedule says so, and a stall shows in every message that it delayed: nothing is to be corrected for coordinated omission.",
    );
}

/// What happened, in a sentence.
pub(crate) fn headline(run: &Run) -> String {
    let summary = &run.folder.summary;
    let (counts, all) = (&summary.counts, summary.counts.records);
    let latencies = &summary.stages.end_to_end;
    if all == 0 {
        return "No message came through.".to_owned();
    }
    let outcome = match () {
        () if counts.verified == all && all == 1 => "verified".to_owned(),
        () if counts.verified == all => "all verified".to_owned(),
        () if counts.unchecked == all => "none of them checked".to_owned(),
        () if counts.verified == 0 => "NONE of them verified".to_owned(),
        () => format!("{} of them NOT verified", thousands(all - counts.verified)),
    };
    let took = match (latencies.p50_ns, latencies.p99_ns, latencies.max_ns) {
        (Some(_), Some(_), Some(max)) if latencies.count == 1 => format!(", {} end to end", time(max as f64)),
        (Some(p50), Some(p99), Some(max)) => {
            let (p50, max) = (time(p50 as f64), time(max as f64));
            match PERCENTILES[2].few_above(latencies.count) {
                None => format!(": end to end p50 {p50}, p99 {}", time(p99 as f64)),
                // Too few for a p99.
                Some(_) => format!(": end to end p50 {p50}, at most {max}"),
            }
        }
        _ => String::new(),
    };
    let messages = if all == 1 { "One message".to_owned() } else { count_of(all, "message") };
    let speed = match summary.messages_per_s {
        Some(per_s) if all > 1 => {
            format!(" in {}, {} a second", time(summary.wall_ns as f64), rate(per_s).trim_end_matches("/s"))
        }
        _ => String::new(),
    };
    format!("{messages}{speed}{took}; {outcome}.").replace("message, verified", "message; verified")
}

fn key_figures(run: &Run) -> String {
    let summary = &run.folder.summary;
    let latencies = &summary.stages.end_to_end;
    let offered = run.folder.producer.as_ref().ok().and_then(|producer| producer.rate);
    let whole = |number: f64| thousands(number as u64);
    let mut html = "<dl class=\"figures\">".to_owned();
    let mut figure = |name: &str, cell: Cell| {
        html += &format!("<div><dt>{}</dt>{}</div>", escape(name), cell.description())
    };
    figure("Messages", Cell::value("counts.records", Some(summary.counts.records as f64), whole));
    figure("Verified", Cell::value("counts.verified", Some(summary.counts.verified as f64), whole));
    let beside = offered.map(|offered| format!("{} offered", rate(offered)));
    figure("Rate", Cell::value("messages_per_s", summary.messages_per_s, rate).with_aside(beside));
    for percentile in [PERCENTILES[0], PERCENTILES[2]] {
        let value = percentile_of(latencies, percentile.field);
        let field = format!("stages.end_to_end.{}", percentile.field);
        figure(
            &format!("{} end to end", percentile.name),
            Cell::value(&field, value, time).with_note(few(latencies, percentile)),
        );
    }
    figure("Longest", Cell::value("stages.end_to_end.max_ns", latencies.max_ns.map(|ns| ns as f64), time));
    html + "</dl>\n"
}

/// The value of `latencies` for a percentile's field.
pub(crate) fn percentile_of(latencies: &Latencies, field: &str) -> Option<f64> {
    let value = match field {
        "p50_ns" => latencies.p50_ns,
        "p90_ns" => latencies.p90_ns,
        "p99_ns" => latencies.p99_ns,
        _ => latencies.p99_9_ns,
    };
    value.map(|ns| ns as f64)
}

/// The warning that a percentile rests on few samples.
pub(crate) fn few(latencies: &Latencies, percentile: super::format::Percentile) -> Option<String> {
    let above = percentile.few_above(latencies.count).filter(|_| latencies.count > 0)?;
    Some(if above == 0 { "none above".to_owned() } else { format!("only {above} above") })
}

fn illustrate_log(page: &mut Page, run: &Run, log: &Digest) {
    let inks = [Ink::Series(0), Ink::Series(1), Ink::Series(2), Ink::Text];
    let curve = |stage: Stage| Curve::new(Label::new(stage.name(), inks[stage as usize]), log.total(stage));
    let curves: Vec<_> = Stage::ALL.into_iter().filter_map(curve).collect();
    if curves.is_empty() {
        return;
    }
    let note = "How many of a hundred messages took at most so long, in each stage. Hollow dots and faint lines rest on fewer than ten samples.";
    page.illustrate(Illustration::new(note, |form| {
        curves::picture("percentiles", "Latency by percentile", &curves, form)
    }));
    let series = |name: &str, ink: Ink, value: fn(&Span) -> f64, needs_many: bool| Series {
        label: Label::new(name, ink),
        spans: &log.spans,
        value,
        needs_many,
    };
    let series = [
        series("p50", Ink::Series(0), |span| span.p50_ns as f64, false),
        series("p99", Ink::Series(1), |span| span.p99_ns as f64, true),
        series("max", Ink::Text, |span| span.max_ns as f64, false),
    ];
    let note = format!("End to end, {}. A hollow p99 rests on fewer than ten samples.", spans_in_words(log));
    page.illustrate(Illustration::new(&note, |form| {
        timeline::latency("latency", "Latency over time", &series, form)
    }));
    let offered = run.folder.producer.as_ref().ok().and_then(|producer| producer.rate);
    let note = "Messages that came out with a signature, in the same intervals. The first begins with the consumer, a moment before the first message.";
    page.illustrate(Illustration::new(note, |form| timeline::throughput(&log.spans, offered, form)));
}

/// One bar, whose key has the figures.
fn illustrate_parts(
    page: &mut Page,
    name: &'static str,
    title: &str,
    note: &str,
    mut labels: Vec<Label>,
    bar: Bar,
) {
    for ((label, part), share) in labels.iter_mut().zip(&bar.parts).zip(bar.shares()) {
        label.name += &format!(" {}, {} %", time(*part), decimal(100.0 * share, 1));
    }
    let bars = [Bar { name: String::new(), whole: String::new(), ..bar }];
    page.illustrate(Illustration::new(note, |form| shares::picture(name, title, &labels, &bars, form)));
}

/// What a point in time stands for.
pub(crate) fn spans_in_words(log: &Digest) -> String {
    match log.intervals_per_span {
        1 => "interval by interval of the log, which are a second long at most".to_owned(),
        many => format!("{many} intervals of the log together, which are a second long at most"),
    }
}

/// The mean of `latencies` and how many they are.
fn mean(latencies: &Latencies) -> Option<f64> {
    latencies.mean_ns.filter(|_| latencies.count > 0)
}

/// The parts of a record's way, in nanoseconds of the mean; `None` without a record.
pub(crate) fn record_parts(run: &Run) -> Option<(Vec<Label>, Bar)> {
    let summary = &run.folder.summary;
    let (whole, queue) = (mean(&summary.stages.end_to_end)?, mean(&summary.stages.queue)?);
    let sign = run.folder.signer.as_ref().ok().filter(|signer| signer.signed > 0)?;
    let sign = sign.sign_busy_ns as f64 / sign.signed as f64;
    let checked = summary.counts.verified + summary.counts.not_verified;
    let verify = if checked > 0 { summary.verify_busy_ns as f64 / checked as f64 } else { 0.0 };
    let other = (whole - queue - sign - verify).max(0.0);
    let parts = vec![queue, sign, verify, other];
    let names = ["queue", "sign", "verify", "other"];
    let inks = [Ink::Series(0), Ink::Series(1), Ink::Series(2), Ink::REST];
    let latencies = &summary.stages.end_to_end;
    let whole =
        format!("{} × {}, max {}", thousands(latencies.count), time(whole), time(latencies.max_ns? as f64));
    let bar = Bar { name: run.name.clone(), parts, whole };
    Some((labels(&names, &inks), bar))
}

fn labels(names: &[&str], inks: &[Ink]) -> Vec<Label> {
    names.iter().zip(inks).map(|(name, ink)| Label::new(name, *ink)).collect()
}

/// With their figures in the key.
fn record_note(summary: &Summary) -> String {
    let latencies = &summary.stages.end_to_end;
    let (count, mean, max) =
        (latencies.count, latencies.mean_ns.unwrap_or(0.0), latencies.max_ns.unwrap_or(0) as f64);
    format!(
        "The mean end to end, {}, over {} of which the longest took {}. queue: due until claimed. sign and verify: work alone, \
         shared out over the messages. other: the rest of the batch, and waiting for the consumer.",
        time(mean),
        count_of(count, "message"),
        time(max),
    )
}

/// What was spent before the first signature, by all workers; `None` if nothing is known of it.
pub(crate) fn start_parts(run: &Run) -> Option<(Vec<Label>, Bar)> {
    let signer = run.folder.signer.as_ref().ok()?;
    let parts = [signer.compile_ns?, signer.instantiate_ns?, signer.first_call_ns.unwrap_or(0)]
        .map(|ns| ns as f64)
        .to_vec();
    let whole = time(parts.iter().sum());
    let labels =
        labels(&["compile", "instantiate", "first call"], &[Ink::Series(3), Ink::Series(4), Ink::Series(5)]);
    Some((labels, Bar { name: run.name.clone(), parts, whole }))
}

fn start_note(run: &Run) -> String {
    let Ok(signer) = &run.folder.signer else { return String::new() };
    let found = match (signer.cache_memory_hits, signer.cache_disk_hits, signer.cache_misses) {
        (Some(memory), Some(disk), Some(misses)) if memory + disk + misses > 0 => format!(
            " Compiled now: {}; found compiled in memory: {}, on disk: {}.",
            thousands(misses),
            thousands(memory),
            thousands(disk)
        ),
        _ => String::new(),
    };
    let calls = match (signer.instances, signer.first_calls) {
        (Some(instances), Some(calls)) => {
            format!(" {} made, {} called.", count_of(instances, "instance"), thousands(calls))
        }
        _ => " First calls were not recorded.".to_owned(),
    };
    format!(
        "In all workers together, apart from the records’ way but for the first call of each instance, which signs a batch.{found}{calls}"
    )
}

/// A row for each figure, a column for each stage: that fits a telephone.
fn stages(summary: &Summary) -> String {
    let latencies = Stage::ALL.map(|stage| (stage, summary.stages.get(stage)));
    let row =
        |name: &str, field: &str, value: &dyn Fn(&Latencies) -> Option<f64>, show: fn(f64) -> String| {
            let cells = latencies.iter().map(|(stage, latencies)| {
                Cell::value(&format!("stages.{}.{field}", stage.name()), value(latencies), show)
            });
            [Cell::text(name)].into_iter().chain(cells).collect::<Vec<_>>()
        };
    let whole = |number: f64| thousands(number as u64);
    let ns = |ns: Option<u64>| ns.map(|ns| ns as f64);
    let mut rows = vec![
        row("count", "count", &|of| Some(of.count as f64), whole),
        row("min", "min_ns", &|of| ns(of.min_ns), us),
    ];
    for percentile in PERCENTILES {
        let cells = latencies.iter().map(|(stage, latencies)| {
            let field = format!("stages.{}.{}", stage.name(), percentile.field);
            Cell::value(&field, percentile_of(latencies, percentile.field), us)
                .with_note(few(latencies, percentile))
        });
        rows.push([Cell::text(percentile.name)].into_iter().chain(cells).collect());
    }
    rows.push(row("max", "max_ns", &|of| ns(of.max_ns), us));
    rows.push(row("mean", "mean_ns", &|of| of.mean_ns, us));
    rows.push(row("std. dev.", "stddev_ns", &|of| of.stddev_ns, us));
    let names = Stage::ALL.map(Stage::name);
    let header: Vec<_> = ["µs"].into_iter().chain(names).collect();
    table("Latency by stage, in microseconds", &header, &rows)
}

/// As `decimal`, for whom one place is enough.
pub(crate) fn one_place(number: f64) -> String {
    decimal(number, 1)
}
