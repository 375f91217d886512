//! How far the signer is, on a terminal. The supervisor knows what the workers count, and nothing of the ring.

use std::time::Instant;

use cli::figures::{self, Rate};
use cli::progress::{EVERY, Lines, Shown};
use cli::{LogOptions, ProgressOptions};

use super::seat::Seat;
use crate::stats::Totals;

/// A line on a terminal.
pub(super) struct Progress {
    lines: Lines,
    rate: Rate,
    since: Instant,
    /// When the line is drawn again.
    pub next: Instant,
}

impl Progress {
    /// A line, if there is to be one.
    pub fn start(options: &ProgressOptions, log: &LogOptions) -> Option<Self> {
        let since = Instant::now();
        Some(Self { lines: options.line("signer", log)?, rate: Rate::default(), since, next: since })
    }

    /// Draws it, if the time has come.
    pub fn draw(&mut self, seats: &[Seat]) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + EVERY;
            let totals: Totals = seats.iter().map(Seat::totals).sum();
            let per_s = self.rate.at(self.since.elapsed(), totals.signed());
            let is_ready = |seat: &&Seat| seat.worker().is_some_and(|worker| worker.is_ready);
            let ready = seats.iter().filter(is_ready).count();
            let deaths = seats.iter().map(|seat| seat.deaths).sum();
            let text = text(totals.signed(), totals.failed(), per_s, (ready, seats.len()), deaths);
            self.lines.draw([Shown { part: None, text }]);
        }
    }
}

fn text(signed: u64, failed: u64, per_s: Option<f64>, workers: (usize, usize), deaths: u64) -> String {
    let mut text = format!("{} signed", figures::count(signed));
    if failed > 0 {
        text.push_str(&format!(", {} failed", figures::count(failed)));
    }
    if let Some(per_s) = per_s {
        text.push_str(&format!(", {}", figures::rate(per_s)));
    }
    text.push_str(&format!(", {} of {} workers ready", workers.0, workers.1));
    if deaths > 0 {
        text.push_str(&format!(", {} died", figures::count(deaths)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_shown_only_if_it_did() {
        assert_eq!(text(1_000, 0, None, (0, 2), 0), "1,000 signed, 0 of 2 workers ready");
        let bad = "5 signed, 1 failed, 2.0/s, 1 of 2 workers ready, 3 died";
        assert_eq!(text(5, 1, Some(2.0), (1, 2), 3), bad);
    }
}
