//! How many records to claim at once: as many as take about 5 ms.

use std::time::Duration;

/// What a batch may take. A longer one would hold finished signatures back, and leave other workers idle.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// The measured cost of a record, and the batches that follow from it.
pub(crate) struct Pace {
    records_max: usize,
    /// Of one record, averaged over the last few batches; 0 before the first.
    cost_ns: u64,
}

impl Pace {
    /// Batches of at most `records_max`, and of one record until its cost is known.
    pub fn new(records_max: usize) -> Self {
        Self { records_max, cost_ns: 0 }
    }

    /// How many records to claim next: at least one.
    pub fn records(&self) -> usize {
        match self.cost_ns {
            0 => 1,
            cost_ns => (BATCH_TIME.as_nanos() as u64 / cost_ns).clamp(1, self.records_max as u64) as usize,
        }
    }

    /// Takes note of a batch of `records` that took `elapsed_ns`.
    pub fn note(&mut self, records: usize, elapsed_ns: u64) {
        let cost_ns = (elapsed_ns / records.max(1) as u64).max(1);
        self.cost_ns =
            if self.cost_ns == 0 { cost_ns } else { (3 * self.cost_ns).saturating_add(cost_ns) / 4 }.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_interpreter_claims_one_or_two_records_and_a_fast_runtime_all_it_may() {
        let batch_after = |cost_ns: u64| {
            let mut pace = Pace::new(64);
            assert_eq!(pace.records(), 1, "nothing is known yet");
            pace.note(1, cost_ns);
            pace.records()
        };
        assert_eq!([30_000, 2_000_000, 9_000_000, 0].map(batch_after), [64, 2, 1, 64]);
    }

    #[test]
    fn one_batch_that_was_held_up_is_forgotten_again() {
        let mut pace = Pace::new(64);
        pace.note(1, 1_000_000_000);
        for _ in 0..64 {
            let records = pace.records();
            pace.note(records, 30_000 * records as u64);
        }
        assert_eq!(pace.records(), 64);
    }
}
