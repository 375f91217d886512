//! The metrics, by name: see `docs/reference/metrics.md`, which a test holds against this file.

use cli::Method;
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{Snapshot, Tally};
use crate::memory_lock::Locked;
use crate::stats::{HistogramTotals, MethodStats, MethodTotals, Stats};

/// Digits of a module's SHA-256 in a label.
const SHA256_DIGITS: usize = 12;

/// What all names begin with.
const PREFIX: &str = "ringseal_signer_";

/// Everything, as Prometheus reads it.
///
/// # Errors
/// A family is none: a mistake in this file.
pub(super) fn text(snapshot: &Snapshot) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&all(snapshot))
}

/// Every family, also of what hasn't happened yet; except what only a worker can tell and none has told.
pub(super) fn all(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let families = [records(snapshot), modules(snapshot), workers(snapshot), signer(snapshot)];
    families.into_iter().flatten().filter(|family| !family.get_metric().is_empty()).collect()
}

fn records(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let totals = &snapshot.totals;
    let methods = || Method::ALL.map(Method::name).into_iter().chain(["unknown"]).zip(&totals.methods);
    let histograms = |of: fn(&MethodTotals) -> &HistogramTotals| {
        methods().map(|(name, method)| histogram(&[("method", name)], of(method))).collect::<Vec<_>>()
    };
    let outcomes = methods().flat_map(|(name, method)| {
        let named = MethodStats::OUTCOME_NAMES.into_iter().zip(method.outcomes);
        named.map(move |(status, count)| counter(&[("method", name), ("status", status)], count as f64))
    });
    let busy =
        methods().map(|(name, method)| counter(&[("method", name)], method.busy_ns as f64 / 1e9)).collect();
    let ring = |of: fn((u64, u64)) -> u64| snapshot.ring.map(|ring| gauge(&[], of(ring) as f64));
    vec![
        counters(
            "records_total",
            "Records answered, by method and by what became of them.",
            outcomes.collect(),
        ),
        family(
            "queue_seconds",
            "Time from when a record was due until a worker claimed it.",
            MetricType::HISTOGRAM,
            histograms(|method| &method.queue),
        ),
        family(
            "sign_seconds",
            "Time from when a record was claimed until it was signed, the rest of its batch included.",
            MetricType::HISTOGRAM,
            histograms(|method| &method.sign),
        ),
        counters("busy_seconds_total", "Time that workers spent in the engines.", busy),
        counters("batches_total", "Batches that records were claimed in.", one(totals.batches as f64)),
        gauges(
            "ring_used_slots",
            "Slots of the ring in use, as a worker last saw it.",
            ring(|(used, _)| used).into_iter().collect(),
        ),
        gauges(
            "ring_capacity_slots",
            "Slots that the ring has.",
            ring(|(_, capacity)| capacity).into_iter().collect(),
        ),
    ]
}

fn modules(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let totals = &snapshot.totals;
    let failed_runs = Stats::FAILURE_NAMES.into_iter().zip(totals.failed_runs);
    let failed_runs =
        failed_runs.map(|(reason, count)| counter(&[("reason", reason)], count as f64)).collect();
    let loads = [
        ("memory", totals.cache_memory_hits),
        ("disk", totals.cache_disk_hits),
        ("compiled", totals.cache_misses),
    ];
    let loads = loads.map(|(tier, count)| counter(&[("tier", tier)], count as f64)).into();
    let info = snapshot.modules.iter().map(|module| {
        let labels = [
            ("method", module.method),
            ("runtime", module.runtime.name()),
            ("variant", module.variant.as_str()),
            ("sha256", module.sha256.get(..SHA256_DIGITS).unwrap_or_default()),
            ("generation", &module.generation.to_string()),
        ];
        gauge(&labels, 1.0)
    });
    vec![
        gauges("module_info", "What serves each method now.", info.collect()),
        gauges(
            "generation",
            "The last swap that was committed; 1 before the first.",
            vec![gauge(&[], snapshot.generation.into())],
        ),
        counters("swaps_total", "Modules swapped for another one, in each worker.", one(totals.swaps as f64)),
        counters("failed_runs_total", "Runs of an extension that failed as a whole, by reason.", failed_runs),
        counters(
            "restores_total",
            "Memories restored after an extension answered with an error.",
            one(totals.restores as f64),
        ),
        counters(
            "replacements_total",
            "Instances replaced after a trap, a missed deadline or a full heap.",
            one(totals.replacements as f64),
        ),
        counters("module_loads_total", "Modules made ready, by the tier of the cache that had them.", loads),
        counters(
            "compile_seconds_total",
            "Time in compilation, or in fetching what was compiled.",
            one(totals.compile_ns as f64 / 1e9),
        ),
        counters(
            "instantiate_seconds_total",
            "Time in instantiation, the key's installation included.",
            one(totals.instantiate_ns as f64 / 1e9),
        ),
    ]
}

fn workers(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let Tally { starts, restarts, deaths, .. } = snapshot.tally;
    let deaths = Tally::DEATH_NAMES.into_iter().zip(deaths);
    let deaths = deaths.map(|(reason, count)| counter(&[("reason", reason)], count as f64)).collect();
    vec![
        gauges("workers", "Places of workers.", vec![gauge(&[], snapshot.workers as f64)]),
        gauges(
            "workers_ready",
            "Workers that can sign now.",
            vec![gauge(&[], snapshot.workers_ready as f64)],
        ),
        counters("worker_starts_total", "Worker processes started.", one(starts as f64)),
        counters(
            "worker_restarts_total",
            "Worker processes started in the place of one that died.",
            one(restarts as f64),
        ),
        counters("worker_deaths_total", "Worker processes that died, by how.", deaths),
    ]
}

fn signer(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let extent = snapshot.locked.map(|locked| match locked {
        Locked::All => "all",
        Locked::KeyPage => "key_page",
        Locked::Nothing => "nothing",
    });
    let locked = extent.map(|extent| gauge(&[("extent", extent)], 1.0)).into_iter().collect();
    let version = [("version", shmem_layout::VERSION)];
    vec![
        counters("key_rotations_total", "Changes of the key.", one(snapshot.tally.key_rotations as f64)),
        counters(
            "limit_changes_total",
            "Changes of what modules may use.",
            one(snapshot.tally.limit_changes as f64),
        ),
        gauges("memory_locked_info", "How much of the workers' memory is never swapped out.", locked),
        gauges(
            "start_time_seconds",
            "When the signer started, in seconds since 1970.",
            vec![gauge(&[], snapshot.started_unix_seconds)],
        ),
        gauges("build_info", "The version of the program.", vec![gauge(&version, 1.0)]),
    ]
}

fn counters(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, metrics)
}

fn gauges(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, metrics)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// The one counter of a family without labels.
fn one(value: f64) -> Vec<Metric> {
    vec![counter(&[], value)]
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &[(&str, &str)], totals: &HistogramTotals) -> Metric {
    let bucket = |(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(totals.cumulated().map(bucket).collect());
    histogram.set_sample_count(totals.count());
    histogram.set_sample_sum(totals.sum_seconds());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}
