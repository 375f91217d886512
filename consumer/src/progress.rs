//! How far a run is, on a terminal: the consumer's own line, or one for each role.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cli::figures::{self, Rate};
use cli::progress::{Drawer, Drawing, Lines, Shown, suspended};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shmem_layout::{Hints, View};

use crate::options::{Options, Progress};
use crate::recorder::{Recorder, Watched};

/// The most of others' messages that is kept without the end of its line.
const LINE_MAX: usize = 64 << 10;

/// Shows how far `recorder` is, until what is returned is dropped.
pub(crate) fn start(options: &Options, recorder: &mut Recorder) -> Option<Drawing> {
    let (names, drawer) = match options.progress.progress {
        _ if options.log.quiet => return None,
        Progress::None => return None,
        Progress::Auto => (&["consumer"][..], Drawer::Foreground),
        Progress::All => (&["producer", "signer", "consumer"][..], Drawer::Appointed),
    };
    let lines = Lines::new(names, drawer)?;
    let watched = Arc::new(Watched::default());
    recorder.tell(Arc::clone(&watched));
    // The ring is looked at, not touched. If it can't be, it is left out.
    let view = View::open(&options.ring).ok();
    let mut others = (drawer == Drawer::Appointed).then(Others::on_stdin).flatten();
    let mut sight = Sight { expect: options.progress.expect, ..Sight::default() };
    let is_alone = names.len() == 1;
    Drawing::start(Some(lines), move |at| {
        if let Some(others) = &mut others {
            others.print();
        }
        sight.done = watched.done.load(Ordering::Relaxed);
        sight.p99_ns = watched.p99_ns.load(Ordering::Relaxed);
        sight.ring = view.as_ref().map(|view| (view.hints(), view.spec().capacity.into()));
        let mut shown = sight.shown(at);
        if is_alone { vec![shown.remove(2)] } else { shown }
    })
}

/// What is seen of a run.
#[derive(Default)]
struct Sight {
    expect: Option<u64>,
    done: u64,
    p99_ns: u64,
    /// And its capacity.
    ring: Option<(Hints, u64)>,
    rates: [Rate; 3],
}

impl Sight {
    /// What the lines of producer, signer and consumer say.
    fn shown(&mut self, at: Duration) -> Vec<Shown> {
        let (hints, capacity) = self.ring.unwrap_or_default();
        let counts = [hints.head, hints.sign, self.done];
        let mut per_s = [None; 3];
        for (i, rate) in self.rates.iter_mut().enumerate() {
            per_s[i] = rate.at(at, counts[i]);
        }
        let said = ["written", "claimed", "done"];
        let mut texts = [0, 1, 2].map(|i| {
            let rate = per_s[i].map(|rate| format!(", {}", figures::rate(rate))).unwrap_or_default();
            format!("{} {}{rate}", figures::count(counts[i]), said[i])
        });
        let consumer = &mut texts[2];
        let left = self.expect.and_then(|all| figures::time_left(all.saturating_sub(self.done), per_s[2]));
        if let Some(left) = left {
            consumer.push_str(&format!(", {} left", figures::time(left)));
        }
        if self.p99_ns > 0 {
            consumer.push_str(&format!(", p99 {}", figures::duration(self.p99_ns)));
        }
        if self.ring.is_some() {
            let in_flight = hints.in_use(capacity);
            let fill = figures::percent(in_flight, capacity);
            consumer.push_str(&format!(", {} in flight, ring {fill} %", figures::count(in_flight)));
        }
        let part = |count| self.expect.map(|all| (count, all));
        counts.into_iter().zip(texts).map(|(count, text)| Shown { part: part(count), text }).collect()
    }
}

/// Others' messages, which are printed above the lines.
struct Others {
    from: File,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Others {
    /// Those that come in by standard input, if that is a pipe.
    fn on_stdin() -> Option<Self> {
        let from = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        from.metadata()
            .is_ok_and(|metadata| metadata.file_type().is_fifo())
            .then_some(Self { from, begun: Vec::new() })
    }

    /// Prints all whole lines that have come by now, without waiting for more.
    fn print(&mut self) {
        let mut bytes = [0; 4096];
        while self.begun.len() < LINE_MAX && has_more(&self.from) {
            match self.from.read(&mut bytes) {
                Ok(len @ 1..) => self.begun.extend_from_slice(&bytes[..len]),
                _ => break,
            }
        }
        let whole = match self.begun.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.begun.len() < LINE_MAX => 0,
            None => self.begun.len(),
        };
        if whole > 0 {
            suspended(|| {
                // A terminal that went away is no reason to stop.
                let _ = io::Write::write_all(&mut io::stderr().lock(), &self.begun[..whole]);
            });
            self.begun.drain(..whole);
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.print();
    }
}

fn has_more(file: &File) -> bool {
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&now)), Ok(1)) && polled[0].revents().contains(PollFlags::IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_line_and_the_consumers_says_most() {
        let hints = Hints { head: 5_100, sign: 5_050, tail: 5_000 };
        let mut sight = Sight {
            expect: Some(20_000),
            done: 5_000,
            p99_ns: 1_234_000,
            ring: Some((hints, 1_000)),
            rates: Default::default(),
        };
        let before: Vec<_> = sight.shown(Duration::ZERO).into_iter().map(|shown| shown.text).collect();
        let consumer = "5,000 done, p99 1.23 ms, 100 in flight, ring 10 %";
        assert_eq!(before, ["5,100 written", "5,050 claimed", consumer]);
        sight.done = 6_000;
        let shown = sight.shown(Duration::from_millis(500));
        let consumer = "6,000 done, 2,000/s, 7 s left, p99 1.23 ms, 100 in flight, ring 10 %";
        assert_eq!(shown[2], Shown { part: Some((6_000, 20_000)), text: consumer.to_owned() });
        assert_eq!(shown[0].part, Some((5_100, 20_000)));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut sight = Sight { done: 3, ..Sight::default() };
        assert_eq!(sight.shown(Duration::ZERO)[2], Shown { part: None, text: "3 done".to_owned() });
    }
}
