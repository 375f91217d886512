//! Figures for people who watch: counts, rates, times.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(1);

/// What is too short to make a rate of.
const SHORTEST: Duration = Duration::from_millis(100);

/// Counts a second, of about the last second.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// The oldest one first.
    seen: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// The rate at time `at`, when the count is `count`; none as long as too little was seen. A count that falls, as a hint
    /// may, is no progress.
    pub fn at(&mut self, at: Duration, count: u64) -> Option<f64> {
        self.seen.push_back((at, count));
        // One that is older than the window stays, or little would be left of it when looks are far apart.
        while self.seen.get(1).is_some_and(|(second, _)| *second + WINDOW <= at) {
            self.seen.pop_front();
        }
        let (from, first) = *self.seen.front()?;
        let elapsed = at.saturating_sub(from);
        (elapsed >= SHORTEST).then(|| count.saturating_sub(first) as f64 / elapsed.as_secs_f64())
    }
}

/// `1,234,567`
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,234/s`; below ten with a decimal.
#[must_use]
pub fn rate(per_s: f64) -> String {
    match per_s {
        rate if rate < 9.95 => format!("{rate:.1}/s"),
        rate => format!("{}/s", count(rate.round() as u64)),
    }
}

/// Nanoseconds with three digits that count: `12.3 µs`, `4.56 ms`, `1.23 s`, `3 min 20 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        1_000_000_000..100_000_000_000 => (ns as f64 / 1e9, "s"),
        _ => return time(Duration::from_nanos(ns)),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// In whole seconds, minutes and hours: `4 s`, `3 min 20 s`, `5 h 12 min`.
#[must_use]
pub fn time(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// How long `rest` takes at `per_s`; none if nothing moves.
#[must_use]
pub fn time_left(rest: u64, per_s: Option<f64>) -> Option<Duration> {
    let seconds = rest as f64 / per_s.filter(|rate| *rate > 0.0)?;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

/// `part` of `whole` in percent, a part of a percent taken for one, and never above 100.
#[must_use]
pub fn percent(part: u64, whole: u64) -> u64 {
    let percent = (u128::from(part) * 100).div_ceil(u128::from(whole.max(1)));
    percent.min(100) as u64
}

/// A bar of `width` characters, as full as `part` of `whole`. A little is seen, and a lie is no longer than the truth may be.
#[must_use]
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let filled = (u128::from(part) * width as u128).div_ceil(u128::from(whole.max(1)));
    let filled = filled.min(width as u128) as usize;
    "#".repeat(filled) + &"-".repeat(width - filled)
}

/// `line`, cut to `width` characters.
#[must_use]
pub fn cut(line: &str, width: usize) -> &str {
    line.char_indices().nth(width).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_is_of_the_last_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.at(ms(0), 100), None, "one look is no rate");
        assert_eq!(rate.at(ms(50), 200), None, "too short");
        assert_eq!(rate.at(ms(500), 600), Some(1000.0));
        assert_eq!(rate.at(ms(1000), 600), Some(500.0));
        assert_eq!(rate.at(ms(1500), 600), Some(0.0), "what came before is forgotten");
        assert_eq!(rate.at(ms(9500), 16_600), Some(2000.0), "looks far apart");
        assert_eq!(rate.at(ms(10_000), 5), Some(0.0), "a hint that went back");
    }

    #[test]
    fn figures_are_short_and_have_their_unit() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 9.94, 9.96, 1999.6].map(rate), ["0.0/s", "9.9/s", "10/s", "2,000/s"]);
        let ns = [0, 1_234, 12_345, 999_000, 4_560_000, 99_960_000, 1_230_000_000, 200_000_000_000];
        let text = ["0.00 µs", "1.23 µs", "12.3 µs", "999 µs", "4.56 ms", "100 ms", "1.23 s", "3 min 20 s"];
        assert_eq!(ns.map(duration), text);
        assert_eq!(
            [4, 200, 18_720].map(|s| time(Duration::from_secs(s))),
            ["4 s", "3 min 20 s", "5 h 12 min"]
        );
        assert!(!duration(u64::MAX).is_empty() && !count(u64::MAX).is_empty());
    }

    #[test]
    fn time_is_left_only_while_something_moves() {
        assert_eq!(time_left(1000, Some(400.0)), Some(Duration::from_secs(3)));
        assert_eq!(time_left(1000, Some(0.0)), None);
        assert_eq!(time_left(1000, None), None);
        assert_eq!(time_left(u64::MAX, Some(1e-9)), None, "longer than any time");
    }

    #[test]
    fn a_bar_is_as_full_as_it_should_be_and_never_longer() {
        let bars = [(0, 8), (4, 8), (1, 1 << 20), (8, 8), (u64::MAX, 1), (0, 0)].map(|(a, b)| bar(a, b, 4));
        assert_eq!(bars, ["----", "##--", "#---", "####", "####", "----"]);
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(["µs and ms", "µs", ""].map(|line| cut(line, 3)), ["µs ", "µs", ""]);
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn percent_shows_little_as_some_and_a_lie_as_all() {
        assert_eq!(
            [(0, 8), (1, 1024), (4, 8), (9, 8), (1, 0)].map(|(a, b)| percent(a, b)),
            [0, 1, 50, 100, 100]
        );
        assert_eq!(percent(u64::MAX, 1), 100);
    }
}
