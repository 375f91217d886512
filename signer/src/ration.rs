//! What may come with every record must not flood the log.

use std::time::{Duration, Instant};

/// Between two messages at least.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one message through a second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    last: Option<Instant>,
    suppressed: u64,
}

impl Ration {
    /// Whether a message may be said now, and how many were not since the last one.
    pub fn take(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}
