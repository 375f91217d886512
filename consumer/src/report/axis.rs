//! Where a value stands on an axis, and which values are written beside it.

/// From values to a place between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    min: f64,
    max: f64,
    is_log: bool,
}

impl Scale {
    /// From `min` to `max`, in equal steps.
    pub fn linear(min: f64, max: f64) -> Self {
        Self { min, max: if max > min { max } else { min + 1.0 }, is_log: false }
    }

    /// From `min` to `max`, in equal factors. What is not positive stands at the least.
    pub fn log(min: f64, max: f64) -> Self {
        let min = min.max(f64::MIN_POSITIVE);
        Self { min, max: if max > min { max } else { min * 10.0 }, is_log: true }
    }

    /// As [`Scale::log`], with room on both sides of `values`.
    pub fn log_around(values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|value| *value > 0.0);
        let (min, max) =
            values.fold((f64::MAX, 0.0), |(min, max): (f64, f64), value| (min.min(value), max.max(value)));
        match max {
            0.0 => Self::log(1.0, 10.0),
            _ if max < 2.0 * min => Self::log(min / 1.6, max * 1.6),
            _ => Self::log(min / 1.2, max * 1.2),
        }
    }

    /// The place of `value`: 0 is the least, 1 the greatest, and what lies beyond stands there.
    pub fn at(self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.min) / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values, about five of them.
    pub fn ticks(self) -> Vec<f64> {
        if self.is_log { self.log_ticks() } else { self.linear_ticks() }
    }

    fn linear_ticks(self) -> Vec<f64> {
        let rough = (self.max - self.min) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.min / step).ceil();
        (0..=10)
            .map(|i| (first + f64::from(i)) * step)
            .take_while(|tick| *tick <= self.max * (1.0 + 1e-9))
            .collect()
    }

    fn log_ticks(self) -> Vec<f64> {
        let factors: [&[f64]; 3] = [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]];
        let powers = self.min.log10().floor() as i32..=self.max.log10().ceil() as i32;
        let of = |factors: &[f64]| -> Vec<f64> {
            let all = powers
                .clone()
                .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
            all.filter(|tick| (self.min..=self.max).contains(tick)).collect()
        };
        let candidates = factors.map(of);
        candidates.iter().find(|ticks| ticks.len() >= 3).unwrap_or(&candidates[2]).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Scale::linear(0.0, 3.03).ticks(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(Scale::linear(0.0, 5.0).ticks(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(Scale::linear(0.0, 0.0).ticks().len(), 6, "nothing happened");
        assert_eq!(Scale::log(3e3, 9e6).ticks(), [1e4, 1e5, 1e6]);
        assert_eq!(Scale::log(3e3, 9e4).ticks(), [5e3, 1e4, 2e4, 5e4]);
        let narrow = Scale::log_around([31.0, 34.0]).ticks();
        assert!(narrow.len() >= 3 && narrow.iter().all(|tick| (19.0..55.0).contains(tick)), "{narrow:?}");
        for scale in [Scale::log_around([]), Scale::log_around([0.0]), Scale::log_around([1e300, 1e-300])] {
            assert!(scale.ticks().len() >= 2, "{scale:?}");
        }
    }

    #[test]
    fn places_follow_the_values_and_stay_on_the_axis() {
        let log = Scale::log(1.0, 10_000.0);
        for (value, place) in [(1.0, 0.0), (100.0, 0.5), (10_000.0, 1.0), (0.0, 0.0), (1e9, 1.0)] {
            assert!((log.at(value) - place).abs() < 1e-12, "{value}: {}", log.at(value));
        }
        assert_eq!(Scale::linear(0.0, 4.0).at(1.0), 0.25);
    }
}
