//! What swaps cost: those who ask for them, and those whose records are signed meanwhile.

use std::time::Duration;

use super::operator::Swapped;
use crate::support::journal::Line;
use crate::support::session::Session;

/// Samples of rounds, in nanoseconds.
#[derive(Default)]
pub struct Figures {
    /// When nobody swapped, and when somebody did: from, to.
    pub phases: [(u64, u64); 2],
    /// From when a record was due until it was signed, in each phase.
    latencies: [Vec<u64>; 2],
    /// When records were signed, in each phase of this round.
    signed: [Vec<u64>; 2],
    /// The longest time without a signature in each phase.
    gaps: [u64; 2],
    prepare: Vec<u64>,
    install: Vec<u64>,
    switch: Vec<u64>,
}

impl Figures {
    /// Takes note of a swap.
    pub fn swapped(&mut self, swapped: &Swapped) {
        self.prepare.push(swapped.prepare_ns);
        self.install.push(swapped.install_ns);
        self.switch.push(swapped.switch_ns);
    }

    /// Takes note of a record.
    pub fn take(&mut self, line: &Line) {
        let times = &line.times;
        for (phase, (from, to)) in self.phases.into_iter().enumerate() {
            if (from..to).contains(&times.intended_ns) {
                self.latencies[phase].push(times.signed_ns.saturating_sub(times.intended_ns));
                self.signed[phase].push(times.signed_ns);
            }
        }
    }

    /// The round has ended.
    pub fn close(&mut self) {
        for (signed, gap) in self.signed.iter_mut().zip(&mut self.gaps) {
            signed.sort_unstable();
            let longest = signed.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            *gap = longest.max(*gap);
            signed.clear();
        }
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: Self) {
        for phase in 0..2 {
            self.gaps[phase] = self.gaps[phase].max(other.gaps[phase]);
        }
        let [calm, busy] = other.latencies;
        self.latencies[0].extend(calm);
        self.latencies[1].extend(busy);
        self.prepare.extend(other.prepare);
        self.install.extend(other.install);
        self.switch.extend(other.switch);
    }

    /// Says how long swaps took.
    pub fn tell_swaps(&mut self, session: &Session) {
        let parts =
            [("prepare", &mut self.prepare), ("install", &mut self.install), ("switch", &mut self.switch)];
        for (name, samples) in parts {
            samples.sort_unstable();
            let at = |permille| time(quantile(samples, permille));
            let (count, p50, p99, max) = (samples.len(), at(500), at(990), at(1000));
            session.say(format_args!("{name}: {count} swaps, p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}"));
        }
    }

    /// Says what records waited, without and with swaps.
    pub fn tell_records(&mut self, session: &Session) {
        let phases = self.latencies.iter_mut().zip(self.gaps);
        for (name, (samples, gap)) in ["without swaps", "with swaps"].into_iter().zip(phases) {
            samples.sort_unstable();
            let at = |permille| time(quantile(samples, permille));
            let (count, p50, p99, p999) = (samples.len(), at(500), at(990), at(999));
            session.say(format_args!(
                "due to signed, {name}: {count} records, p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, max {:.1?}; \
                 longest time without a signature {:.1?}",
                at(1000),
                time(gap)
            ));
        }
    }

    /// p99.9 of what records waited, without and with swaps.
    pub fn p999(&self) -> [Duration; 2] {
        [&self.latencies[0], &self.latencies[1]].map(|samples| time(quantile(samples, 999)))
    }
}

fn time(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}

/// The least of the sorted `samples` that so many of a thousand are at most; 0 if there are none.
fn quantile(samples: &[u64], permille: usize) -> u64 {
    let at = (samples.len() * permille).div_ceil(1000).max(1) - 1;
    samples.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_least_value_that_so_many_are_at_most() {
        let samples: Vec<u64> = (1..=2000).collect();
        assert_eq!([500, 990, 999, 1000].map(|at| quantile(&samples, at)), [1000, 1980, 1998, 2000]);
        assert_eq!(quantile(&[], 999), 0);
    }
}
