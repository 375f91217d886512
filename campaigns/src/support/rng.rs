//! Numbers that a seed repeats.

use std::ops::Range;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers of their own for a part of a plan, so that it doesn't depend on how much the other parts have drawn.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of `range`; its start if it is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % range.end.saturating_sub(range.start).max(1)
    }

    /// True `percent` times of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// One of `choices`, which must not be empty.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..choices.len() as u64) as usize]
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time within `range`.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        range.start + range.end.saturating_sub(range.start).mul_f64(self.fraction())
    }

    /// A time within `range` of which each order of magnitude is as likely as the others.
    pub fn log_duration(&mut self, range: Range<Duration>) -> Duration {
        let (least, most) = (range.start.as_secs_f64().max(1e-6), range.end.as_secs_f64().max(1e-6));
        Duration::from_secs_f64(least * (most / least).powf(self.fraction()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_a_range_holds_them() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..1000).map(|_| rng.within(5..9)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((5..9).all(|number| draw(7).contains(&number)));
        assert!(draw(7).iter().all(|number| (5..9).contains(number)));
    }

    #[test]
    fn times_stay_in_their_range() {
        let mut rng = Rng::new(1);
        let range = Duration::from_millis(1)..Duration::from_secs(30);
        let times: Vec<_> = (0..1000).map(|_| rng.log_duration(range.clone())).collect();
        assert!(times.iter().all(|time| range.contains(time)));
        let short = times.iter().filter(|time| **time < Duration::from_millis(173)).count();
        assert!((400..600).contains(&short), "half of them are below the geometric mean, not {short}");
    }
}
