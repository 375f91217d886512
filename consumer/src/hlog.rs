//! The interval log (`.hlog`) of HdrHistogram, format version 1.3.
//!
//! Lines without a tag are the stage `end_to_end`, because readers such as HistogramLogProcessor read those by
//! default; the other stages are tagged with their names. Values are nanoseconds, times are seconds since BaseTime.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::histograms::{Histograms, Stage};

/// The third field of a line, for people, is in milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Writes the latencies of one interval after the other.
pub struct IntervalLog<W> {
    out: W,
    started_ns: u64,
    serializer: V2DeflateSerializer,
    serialized: Vec<u8>,
    lines: String,
}

impl<W: Write> IntervalLog<W> {
    /// Begins a log whose time 0 is both `started_at` (wall clock) and `started_ns` (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn begin(mut out: W, started_at: SystemTime, started_ns: u64) -> io::Result<Self> {
        let since_epoch = started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let header = format!(
            "#[Histogram log format version 1.3]\n\
             #[Values in ns; Interval_Max in ms; lines without a tag are end_to_end]\n\
             #[StartTime: {since_epoch:.3} (seconds since epoch)]\n\
             #[BaseTime: {since_epoch:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        out.write_all(header.as_bytes())?;
        Ok(Self {
            out,
            started_ns,
            serializer: V2DeflateSerializer::new(),
            serialized: Vec::new(),
            lines: String::new(),
        })
    }

    /// Writes the interval of `histograms` that ran from `from_ns` to `to_ns` (CLOCK_MONOTONIC). Stages without a
    /// value have no line.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn write_interval(&mut self, histograms: &Histograms, from_ns: u64, to_ns: u64) -> io::Result<()> {
        self.lines.clear();
        for stage in Stage::ALL {
            let interval = histograms.interval(stage);
            if !interval.is_empty() {
                self.push_line(stage, interval, from_ns, to_ns)?;
            }
        }
        self.out.write_all(self.lines.as_bytes())
    }

    fn push_line(&mut self, stage: Stage, of: &Histogram<u64>, from_ns: u64, to_ns: u64) -> io::Result<()> {
        self.serialized.clear();
        self.serializer.serialize(of, &mut self.serialized).map_err(io::Error::other)?;
        if stage != Stage::EndToEnd {
            self.lines += &format!("Tag={},", stage.name());
        }
        let start = seconds(from_ns.saturating_sub(self.started_ns));
        let length = seconds(to_ns.saturating_sub(from_ns));
        let max_ms = of.max() as f64 / NS_PER_MS;
        self.lines += &format!("{start:.3},{length:.3},{max_ms:.3},");
        STANDARD.encode_string(&self.serialized, &mut self.lines);
        self.lines.push('\n');
        Ok(())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
