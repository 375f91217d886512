//! Reads an interval log back: what all intervals add up to, and end-to-end latency as time goes by.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use hdrhistogram::Histogram;

use crate::histogram_text;
use crate::histograms::{Stage, empty};

/// A day has 86,400 intervals, and a picture fewer pixels: intervals are put together until there are at most so many.
const SPANS_MAX: usize = 240;

/// Intervals that begin later than this after the end of the one before, in seconds, don't follow it: nothing came between.
const GAP_S: f64 = 0.1;

/// What an interval log says.
pub struct Digest {
    /// All intervals of each stage, in the order of [`Stage::ALL`], in nanoseconds.
    totals: [Histogram<u64>; 4],
    /// End-to-end latencies, in the order of time.
    pub spans: Vec<Span>,
    /// How many intervals a span holds at most.
    pub intervals_per_span: usize,
    /// What is wrong with the first line that can't be read, if there is one. It and those behind it are left out.
    pub damage: Option<String>,
}

/// End-to-end latencies of a stretch of time. Times are in seconds since the log's time 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// When it begins.
    pub from_s: f64,
    /// When it ends.
    pub to_s: f64,
    /// Recorded values.
    pub count: u64,
    /// The median.
    pub p50_ns: u64,
    /// 99 % are at most this.
    pub p99_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

/// A line that holds an interval.
struct Interval {
    stage: Stage,
    from_s: f64,
    to_s: f64,
    histogram: Histogram<u64>,
}

impl Digest {
    /// What the log at `path` says.
    ///
    /// # Errors
    /// It can't be opened or read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let intervals = BufReader::new(File::open(path)?).split(b'\n').try_fold(0, |count, line| {
            line.map(|line| {
                count + usize::from(!line.is_empty() && !line.starts_with(b"Tag=") && !is_comment(&line))
            })
        })?;
        let mut digest = Self {
            totals: Stage::ALL.map(|_| empty()),
            spans: Vec::new(),
            intervals_per_span: intervals.div_ceil(SPANS_MAX).max(1),
            damage: None,
        };
        let mut span = OpenSpan::new();
        for (line, number) in BufReader::new(File::open(path)?).split(b'\n').zip(1..) {
            let line = line?;
            if line.is_empty() || is_comment(&line) {
                continue;
            }
            match parse(&line) {
                Ok(interval) => digest.add(interval, &mut span),
                Err(error) => {
                    digest.damage = Some(format!("line {number}: {error}"));
                    break;
                }
            }
        }
        digest.spans.extend(span.close());
        Ok(digest)
    }

    /// All intervals of `stage` together, in nanoseconds.
    pub fn total(&self, stage: Stage) -> &Histogram<u64> {
        &self.totals[stage as usize]
    }

    fn add(&mut self, interval: Interval, span: &mut OpenSpan) {
        add(&mut self.totals[interval.stage as usize], &interval.histogram);
        if interval.stage == Stage::EndToEnd {
            if span.intervals == self.intervals_per_span || interval.from_s > span.to_s + GAP_S {
                self.spans.extend(span.close());
            }
            span.add(&interval);
        }
    }
}

/// A stretch of time that more may be added to.
struct OpenSpan {
    intervals: usize,
    from_s: f64,
    to_s: f64,
    histogram: Histogram<u64>,
}

impl OpenSpan {
    fn new() -> Self {
        Self { intervals: 0, from_s: 0.0, to_s: 0.0, histogram: empty() }
    }

    fn add(&mut self, interval: &Interval) {
        if self.intervals == 0 {
            self.from_s = interval.from_s;
        }
        self.intervals += 1;
        self.to_s = interval.to_s;
        add(&mut self.histogram, &interval.histogram);
    }

    /// What it holds, and begins an empty one.
    fn close(&mut self) -> Option<Span> {
        let of = &self.histogram;
        let span = (!of.is_empty()).then(|| Span {
            from_s: self.from_s,
            to_s: self.to_s,
            count: of.len(),
            p50_ns: of.value_at_quantile(0.5),
            p99_ns: of.value_at_quantile(0.99),
            max_ns: of.max(),
        });
        self.histogram.reset();
        self.intervals = 0;
        span
    }
}

fn add(sum: &mut Histogram<u64>, more: &Histogram<u64>) {
    #[allow(clippy::expect_used, reason = "fails only for bounds that differ, which the parser has refused")]
    sum.add(more).expect("equal bounds");
}

fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.starts_with(b"\"")
}

fn parse(line: &[u8]) -> Result<Interval, String> {
    let line = str::from_utf8(line).map_err(|error| error.to_string())?;
    let (stage, fields) = match line.strip_prefix("Tag=").and_then(|line| line.split_once(',')) {
        Some((tag, fields)) => {
            let stage = Stage::ALL.into_iter().find(|stage| stage.name() == tag);
            (stage.ok_or_else(|| format!("there is no stage {tag:?}"))?, fields)
        }
        None => (Stage::EndToEnd, line),
    };
    let mut fields = fields.splitn(4, ',');
    let mut next = || fields.next().ok_or("it has too few fields");
    let (from_s, length_s, _max_ms, text) = (seconds(next()?)?, seconds(next()?)?, next()?, next()?);
    let histogram = histogram_text::parse(text).map_err(|error| error.to_string())?;
    if !crate::histograms::has_our_bounds(&histogram) {
        return Err("its histogram has other bounds than ours".to_owned());
    }
    Ok(Interval { stage, from_s, to_s: from_s + length_s, histogram })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    seconds.ok_or_else(|| format!("{text:?} are no seconds"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::histograms::Histograms;
    use crate::hlog::IntervalLog;
    use crate::record::{Outcome, Times};

    const SECOND_NS: u64 = 1_000_000_000;

    /// A log of `intervals` seconds, of which `busy` says how many records came in each; each took a µs more than the one before.
    fn written(intervals: u64, busy: impl Fn(u64) -> u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = IntervalLog::new(file.reopen().unwrap(), 0, 0);
        log.write_header(Duration::ZERO).unwrap();
        let mut histograms = Histograms::new();
        let mut took_ns = 0;
        for second in 0..intervals {
            for _ in 0..busy(second) {
                took_ns += 1_000;
                let times = Times { verified_ns: took_ns, ..Times::default() };
                histograms.record(&times, Outcome::Verified);
            }
            log.write_interval(&histograms, second * SECOND_NS, (second + 1) * SECOND_NS).unwrap();
            histograms.end_interval();
        }
        file
    }

    #[test]
    fn what_is_written_is_read_back() {
        let digest = Digest::read(written(3, |_| 100).path()).unwrap();
        assert_eq!((digest.damage.as_deref(), digest.spans.len(), digest.intervals_per_span), (None, 3, 1));
        let total = digest.total(Stage::EndToEnd);
        assert_eq!((total.len(), digest.total(Stage::Queue).max()), (300, 0));
        let Span { from_s, to_s, count, p50_ns, max_ns, .. } = digest.spans[1];
        assert_eq!((from_s, to_s, count), (1.0, 2.0, 100));
        assert!(total.equivalent(p50_ns, 150_000) && total.equivalent(max_ns, 200_000), "{p50_ns} {max_ns}");
    }

    #[test]
    fn a_long_log_becomes_few_spans_that_lose_nothing_and_bridge_no_gap() {
        let digest = Digest::read(written(1_000, |second| u64::from(second != 502)).path()).unwrap();
        assert_eq!(digest.intervals_per_span, 5);
        assert!(digest.spans.len() <= SPANS_MAX, "{}", digest.spans.len());
        assert_eq!(digest.spans.iter().map(|span| span.count).sum::<u64>(), 999);
        assert!(digest.spans.iter().all(|span| span.to_s <= 502.0 || span.from_s >= 503.0));
    }

    #[test]
    fn a_torn_line_is_named_and_what_stands_before_it_counts() {
        let file = written(2, |_| 10);
        let text = fs::read_to_string(file.path()).unwrap();
        for (torn, why) in [
            (text[..text.len() - 20].to_owned(), "line 13: "),
            (text.replacen("Tag=verify", "Tag=verity", 1), "line 8: there is no stage \"verity\""),
            (text.clone() + "1.0,NaN,1,x\n", "line 14: \"NaN\" are no seconds"),
            (text.clone() + "1.0\n", "line 14: it has too few fields"),
        ] {
            fs::write(file.path(), torn).unwrap();
            let digest = Digest::read(file.path()).unwrap();
            let damage = digest.damage.unwrap();
            assert!(damage.starts_with(why), "{damage}");
        }
        fs::write(file.path(), "").unwrap();
        assert!(Digest::read(file.path()).unwrap().spans.is_empty());
    }
}
