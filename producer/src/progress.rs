//! How far a producer is, on a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cli::figures::{self, Rate};
use cli::progress::{Drawing, Shown};
use shmem_layout::{Hints, View};

use crate::{Content, Options};

/// How many messages are sent, for another thread to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicU64>);

impl Sent {
    /// Tells it.
    pub fn set(&self, sent: u64) {
        self.0.store(sent, Ordering::Relaxed);
    }
}

/// Shows `sent`, which follow on `resumed_at` that were sent before, until what is returned is dropped.
pub(crate) fn start(options: &Options, sent: Sent, resumed_at: u64) -> Option<Drawing> {
    let lines = options.progress.line("producer", &options.log);
    // Of an input, the number of lines is not known.
    let all = matches!(options.content, Content::Generated(_)) || options.messages != u64::MAX;
    let all = all.then_some(options.messages);
    // The ring is looked at, not touched. If it can't be, it is left out.
    let view = lines.as_ref().and_then(|_| View::open(&options.ring).ok());
    let mut rate = Rate::default();
    Drawing::start(lines, move |at| {
        let done = resumed_at.saturating_add(sent.0.load(Ordering::Relaxed));
        let per_s = rate.at(at, done);
        let ring = view.as_ref().map(|view| (view.hints(), view.spec().capacity.into()));
        vec![line(done, all, per_s, ring)]
    })
}

fn line(done: u64, all: Option<u64>, per_s: Option<f64>, ring: Option<(Hints, u64)>) -> Shown {
    let mut text = format!("{} written", figures::count(done));
    if let Some(all) = all {
        text = format!("{} of {} written", figures::count(done), figures::count(all));
    }
    if let Some(per_s) = per_s {
        text.push_str(&format!(", {}", figures::rate(per_s)));
    }
    if let Some(left) = all.and_then(|all| figures::time_left(all.saturating_sub(done), per_s)) {
        text.push_str(&format!(", {} left", figures::time(left)));
    }
    if let Some((hints, capacity)) = ring {
        let in_flight = hints.in_use(capacity);
        let fill = figures::percent(in_flight, capacity);
        text.push_str(&format!(", {} in flight, ring {fill} %", figures::count(in_flight)));
    }
    Shown { part: all.map(|all| (done, all)), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_leaves_out_the_rest() {
        let hints = Hints { head: 1_300, sign: 1_290, tail: 1_200 };
        let shown = line(1_300, Some(5_000), Some(2_000.0), Some((hints, 1_024)));
        let text = "1,300 of 5,000 written, 2,000/s, 2 s left, 100 in flight, ring 10 %";
        assert_eq!(shown, Shown { part: Some((1_300, 5_000)), text: text.to_owned() });
        assert_eq!(line(7, None, None, None), Shown { part: None, text: "7 written".to_owned() });
        let lies = Hints { head: u64::MAX, sign: 0, tail: 0 };
        assert!(line(0, None, None, Some((lies, 8))).text.contains("8 in flight, ring 100 %"));
    }
}
