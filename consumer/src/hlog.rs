//! The interval log (`.hlog`) of HdrHistogram, format version 1.3.
//!
//! Lines without a tag are the stage `end_to_end`, because readers such as HistogramLogProcessor read those by
//! default; the other stages are tagged with their names. Values are nanoseconds, times are seconds since BaseTime.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::histogram_text::HistogramWriter;
use crate::histograms::{Histograms, Stage};

/// The third field of a line, for people, is in milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Writes the latencies of one interval after the other.
pub struct IntervalLog {
    file: File,
    /// Bytes written in full.
    len: u64,
    started_ns: u64,
    writer: HistogramWriter,
    lines: String,
}

impl IntervalLog {
    /// A log that goes on behind the first `len` bytes of `file`, and whose time 0 is `started_ns` (CLOCK_MONOTONIC).
    pub fn new(file: File, len: u64, started_ns: u64) -> Self {
        Self { file, len, started_ns, writer: HistogramWriter::default(), lines: String::new() }
    }

    /// Bytes of the log.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether not even the header is there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes what a log begins with. Time 0 is `since_epoch` on the wall clock.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn write_header(&mut self, since_epoch: Duration) -> io::Result<()> {
        let since_epoch = since_epoch.as_secs_f64();
        self.lines = format!(
            "#[Histogram log format version 1.3]\n\
             #[Values in ns; Interval_Max in ms; lines without a tag are end_to_end]\n\
             #[StartTime: {since_epoch:.3} (seconds since epoch)]\n\
             #[BaseTime: {since_epoch:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        self.write_lines()
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
        self.write_lines()
    }

    /// At the end by our own count: what a full disk cut short last time is written over.
    fn write_lines(&mut self) -> io::Result<()> {
        self.file.write_all_at(self.lines.as_bytes(), self.len)?;
        self.len += self.lines.len() as u64;
        Ok(())
    }

    fn push_line(&mut self, stage: Stage, of: &Histogram<u64>, from_ns: u64, to_ns: u64) -> io::Result<()> {
        if stage != Stage::EndToEnd {
            self.lines += &format!("Tag={},", stage.name());
        }
        let start = seconds(from_ns.saturating_sub(self.started_ns));
        let length = seconds(to_ns.saturating_sub(from_ns));
        let max_ms = of.max() as f64 / NS_PER_MS;
        self.lines += &format!("{start:.3},{length:.3},{max_ms:.3},");
        self.writer.push(of, &mut self.lines)?;
        self.lines.push('\n');
        Ok(())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
