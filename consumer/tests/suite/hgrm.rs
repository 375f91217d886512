//! The distribution file must be HdrHistogram's own to the byte, or plotters refuse it or draw something else.
//! `data/*.hgrm` were written by HdrHistogram (Java) 2.2.2 from the same values.

use consumer::hgrm;
use hdrhistogram::Histogram;

fn written(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    hgrm::write(histogram, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap()
}

#[test]
fn an_empty_distribution_is_what_java_writes() {
    assert_eq!(written(&empty()), include_str!("data/empty.hgrm"));
}

#[test]
fn a_distribution_is_what_java_writes() {
    let mut histogram = empty();
    for i in 1..=20_000_u64 {
        let outlier = if i.is_multiple_of(97) { i * 5_000 } else { 0 };
        histogram.record(i * i % 1_000_003 + outlier).unwrap();
    }
    // Line by line, for a readable difference.
    let written = written(&histogram);
    let expected = include_str!("data/squares.hgrm");
    for (ours, javas) in written.lines().zip(expected.lines()) {
        assert_eq!(ours, javas);
    }
    assert_eq!(written.len(), expected.len());
}

#[test]
fn zeros_alone_end_at_a_hundred_percent() {
    let mut histogram = empty();
    histogram.record_n(0, 3).unwrap();
    let rows: Vec<_> = written(&histogram).lines().skip(2).take(2).map(str::to_owned).collect();
    assert_eq!(
        rows,
        ["       0.000 0.000000000000          3           1.00", "       0.000 1.000000000000          3"]
    );
}

#[test]
fn counts_far_beyond_any_run_neither_hang_nor_panic() {
    let mut histogram = empty();
    histogram.record_n(1_000, 1 << 52).unwrap();
    histogram.record_n(5_000, 1).unwrap();
    assert!(written(&histogram).lines().count() < 1_000);
}
