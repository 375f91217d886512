//! One line on a terminal while a run goes on; silence in a pipe.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(500);

/// Counts records and shows the count and the rate.
pub struct Progress {
    is_shown: bool,
    done: u64,
    done_before: u64,
    since: Instant,
}

impl Progress {
    /// Nothing done so far; shown if standard error is a terminal.
    pub fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), done: 0, done_before: 0, since: Instant::now() }
    }

    /// Counts `records` more.
    pub fn add(&mut self, records: u64) {
        self.done += records;
        if self.is_shown && self.since.elapsed() >= EVERY {
            let rate = (self.done - self.done_before) as f64 / self.since.elapsed().as_secs_f64();
            show(format_args!("\r\x1b[K{} messages, {rate:.0}/s", self.done));
            (self.done_before, self.since) = (self.done, Instant::now());
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.is_shown {
            show(format_args!("\r\x1b[K"));
        }
    }
}

fn show(line: std::fmt::Arguments<'_>) {
    // A terminal that went away is no reason to stop.
    let mut err = io::stderr().lock();
    let _ = err.write_fmt(line).and_then(|()| err.flush());
}
