//! What is served, held against what is documented; what is an address; and who is ready.

use std::collections::{BTreeMap, BTreeSet};

use extension_engine::Runtime;
use prometheus::proto::MetricType;

use super::{Address, Course, ModuleInfo, Snapshot, Tally, families};
use crate::memory_lock::Locked;
use crate::stats::Page;

const DOCUMENTED: &str = include_str!("../../../docs/reference/metrics.md");

/// One that everything can be told of.
fn snapshot() -> Snapshot {
    let modules =
        [("ecdsa", Runtime::Wasmtime), ("schnorr", Runtime::Native)].map(|(method, runtime)| ModuleInfo {
            method,
            runtime,
            variant: "base".to_owned(),
            sha256: "0123456789abcdef".repeat(4),
            generation: 7,
        });
    Snapshot {
        modules: modules.into(),
        locked: Some(Locked::All),
        ring: Some((3, 1024)),
        workers: 2,
        ..Snapshot::default()
    }
}

/// A metric's type and labels.
type Shape = (String, BTreeSet<String>);

fn served() -> BTreeMap<String, Shape> {
    let shape = |family: &prometheus::proto::MetricFamily| {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY | MetricType::UNTYPED => "of no type that we use",
        };
        let labels = family.get_metric().iter().flat_map(|metric| metric.get_label());
        (family.name().to_owned(), (kind.to_owned(), labels.map(|label| label.name().to_owned()).collect()))
    };
    families::all(&snapshot()).iter().map(shape).collect()
}

/// The rows of the page's tables of metrics.
fn documented() -> BTreeMap<String, Shape> {
    let rows = DOCUMENTED.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        assert!(!meaning.is_empty(), "{name}");
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((format!("ringseal_signer_{name}"), (kind.to_owned(), labels)))
    });
    rows.collect()
}

#[test]
fn the_page_in_docs_lists_what_is_served_and_nothing_else() {
    assert_eq!(documented(), served());
}

#[test]
fn every_value_of_a_label_that_stands_for_a_kind_is_documented() {
    for family in families::all(&snapshot()) {
        for label in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            if ["method", "status", "reason", "tier", "extent"].contains(&label.name()) {
                let value = format!("`{}`", label.value());
                assert!(DOCUMENTED.contains(&value), "{} of {}", value, family.name());
            }
        }
    }
}

#[test]
fn every_metric_is_served_before_anything_has_happened_but_what_only_a_worker_knows() {
    let early = families::all(&Snapshot::default()).len();
    // Of the ring two, the modules, and locked memory.
    assert_eq!(early, served().len() - 4);
    assert!(families::text(&Snapshot::default()).is_ok());
}

#[test]
fn counts_of_a_page_are_served_in_base_units_and_cumulated() {
    let page = Page::new().unwrap();
    let ecdsa = page.of(Some(cli::Method::Ecdsa));
    ecdsa.note(0, 1_500);
    ecdsa.note(0, 3_000_000);
    ecdsa.sign.note(250_000, 2);
    let text = families::text(&Snapshot { totals: page.totals(), ..snapshot() }).unwrap();
    for line in [
        r#"ringseal_signer_records_total{method="ecdsa",status="signed"} 2"#,
        r#"ringseal_signer_queue_seconds_bucket{method="ecdsa",le="0.000001"} 0"#,
        r#"ringseal_signer_queue_seconds_bucket{method="ecdsa",le="0.000002"} 1"#,
        r#"ringseal_signer_queue_seconds_bucket{method="ecdsa",le="16.777216"} 2"#,
        r#"ringseal_signer_queue_seconds_bucket{method="ecdsa",le="+Inf"} 2"#,
        r#"ringseal_signer_queue_seconds_sum{method="ecdsa"} 0.0030015"#,
        r#"ringseal_signer_sign_seconds_bucket{method="ecdsa",le="0.000256"} 2"#,
        r#"ringseal_signer_sign_seconds_sum{method="ecdsa"} 0.0005"#,
        r#"ringseal_signer_module_info{method="ecdsa",runtime="wasmtime",variant="base",sha256="0123456789ab",generation="7"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn only_this_machine_is_an_address() {
    for good in ["127.0.0.1:9464", "127.8.9.1:0", "[::1]:80", "localhost:9464", "unix:/run/x.sock", "unix:x"]
    {
        assert!(good.parse::<Address>().is_ok(), "{good}");
    }
    for (bad, words) in [
        ("0.0.0.0:9464", "not authenticated"),
        ("192.168.1.7:9464", "not authenticated"),
        ("[::]:9464", "not authenticated"),
        ("127.0.0.1", "127.0.0.1:PORT"),
        ("127.0.0.1:65536", "127.0.0.1:PORT"),
        ("example.org:80", "127.0.0.1:PORT"),
        ("9464", "127.0.0.1:PORT"),
        ("unix:", "path of a socket"),
        ("", "127.0.0.1:PORT"),
    ] {
        let why = bad.parse::<Address>().unwrap_err();
        assert!(why.contains(words), "{bad}: {why}");
    }
}

#[test]
fn who_is_ready_and_who_is_healthy() {
    let dead = Tally { deaths: [1, 0, 0, 0, 0], ..Tally::default() };
    let ready = Snapshot { workers_ready: 1, ..snapshot() };
    let cases = [
        (snapshot(), true, Some("yet")),
        (ready.clone(), true, None),
        (Snapshot { tally: dead, ..ready.clone() }, true, None),
        (Snapshot { tally: dead, ..snapshot() }, true, Some("died")),
        (Snapshot { course: Course::Draining, ..ready.clone() }, true, Some("draining")),
        (Snapshot { course: Course::GivenUp("ten deaths".to_owned()), ..ready }, false, Some("ten deaths")),
    ];
    for (snapshot, is_healthy, unready) in cases {
        assert_eq!(snapshot.health().is_ok(), is_healthy, "{snapshot:?}");
        match unready {
            Some(words) => assert!(snapshot.readiness().unwrap_err().contains(words), "{snapshot:?}"),
            None => assert_eq!(snapshot.readiness(), Ok(())),
        }
    }
}
