//! Numbers for people, and how far a percentile is to be trusted.

pub(crate) use cli::figures::count as thousands;

/// With fewer samples above it than this, a percentile is one stall or another and no property of what was measured.
pub(crate) const FEW: u64 = 10;

/// A percentile that the summary has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentile {
    /// Its name for people.
    pub name: &'static str,
    /// Its field in the summary.
    pub field: &'static str,
    /// Of a thousand values, how many are at most this one.
    pub per_mille: u64,
}

/// Those that the summary has.
pub(crate) const PERCENTILES: [Percentile; 4] = [
    Percentile { name: "p50", field: "p50_ns", per_mille: 500 },
    Percentile { name: "p90", field: "p90_ns", per_mille: 900 },
    Percentile { name: "p99", field: "p99_ns", per_mille: 990 },
    Percentile { name: "p99.9", field: "p99_9_ns", per_mille: 999 },
];

impl Percentile {
    /// How many of `count` samples lie above it.
    pub fn above(self, count: u64) -> u64 {
        (u128::from(count) * u128::from(1_000 - self.per_mille) / 1_000) as u64
    }

    /// As [`Percentile::above`], if these are too few to trust it.
    pub fn few_above(self, count: u64) -> Option<u64> {
        Some(self.above(count)).filter(|above| *above < FEW)
    }
}

/// Rounded to `decimals` places, with its thousands apart.
pub(crate) fn decimal(number: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), thousands);
    format!("{}{whole}{fraction}", if number < 0.0 { "−" } else { "" })
}

/// Nanoseconds as microseconds, for columns.
pub(crate) fn us(ns: f64) -> String {
    decimal(ns / 1e3, 1)
}

/// A duration in the unit that suits it, with three digits.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = in_its_unit(ns);
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{} {unit}", decimal(value, if unit == "ns" { 0 } else { decimals }))
}

/// A round duration, as on an axis: without zeros at its end.
pub(crate) fn round_time(ns: f64) -> String {
    let (value, unit) = in_its_unit(ns);
    format!("{} {unit}", round(value))
}

/// A round number, without zeros at its end.
pub(crate) fn round(value: f64) -> String {
    let text = decimal(value, 3);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn in_its_unit(ns: f64) -> (f64, &'static str) {
    // Beyond what three digits would round up to the next unit.
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    units
        .into_iter()
        .find(|(unit, _)| ns >= 0.9995 * unit)
        .map_or((ns, "ns"), |(unit, name)| (ns / unit, name))
}

/// Messages a second.
pub(crate) fn rate(per_s: f64) -> String {
    format!("{}/s", decimal(per_s, if per_s < 100.0 { 1 } else { 0 }))
}

/// How many, of what: `1 message`, `2 messages`.
pub(crate) fn count_of(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// A moment in UTC, to the second.
pub(crate) fn utc(unix_s: f64) -> String {
    let seconds = unix_s.max(0.0) as u64;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date `days` after 1970-01-01, by counting: a run isn't centuries away from then.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // A damaged file's moment, far away: whole cycles of 400 years at once.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_rests_on_the_samples_above_it() {
        let above = |count| PERCENTILES.map(|percentile| percentile.above(count));
        assert_eq!(above(1_024), [512, 102, 10, 1]);
        assert_eq!(above(0), [0; 4]);
        assert_eq!(PERCENTILES.map(|percentile| percentile.few_above(1_024)), [None, None, None, Some(1)]);
        assert_eq!(PERCENTILES.map(|percentile| percentile.few_above(999)), [None, None, Some(9), Some(0)]);
        assert_eq!(PERCENTILES[3].few_above(10_000), None);
        assert_eq!(PERCENTILES[0].above(u64::MAX), u64::MAX / 2);
    }

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (999.0, "999 ns"),
            (999.9, "1.00 µs"),
            (98_047.0, "98.0 µs"),
            (444_415.0, "444 µs"),
            (999_600.0, "1.00 ms"),
            (4_517_887.0, "4.52 ms"),
            (3_000_183_602.0, "3.00 s"),
            (7_200e9, "7,200 s"),
        ] {
            assert_eq!(time(ns), text);
        }
        assert_eq!(
            [thousands(0), thousands(999), thousands(1_000), thousands(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [us(7_221_247.0), decimal(-1_234.56, 1), round_time(50_000.0)],
            ["7,221.2", "−1,234.6", "50 µs"]
        );
        assert_eq!(
            [round(0.5), round(1_000.0), rate(2_999.8), rate(0.5)],
            ["0.5", "1,000", "3,000/s", "0.5/s"]
        );
    }

    #[test]
    fn a_moment_is_a_date_whatever_a_file_says() {
        assert_eq!(utc(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400.5), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_219_425.3), "2026-11-21 00:03:45 UTC");
        assert_eq!(utc(f64::NAN), utc(-1.0));
        assert!(utc(f64::INFINITY).ends_with("UTC"));
    }
}
