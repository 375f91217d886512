//! What Ringseal costs, measured side by side with what else one could use.
//!
//! A [`Contender`](measure::Contender) gives a [`Sample`](measure::Sample) a round; [`alternate`](measure::alternate) lets the contenders of a case take
//! turns and makes a [`Table`](report::Table) of it, with ratios taken between neighbours in time; a
//! [`Report`](report::Report) holds the tables of a run with the machine they come from. Each group is a module.
//! Other processes of a contender are this binary again, as `role`.

pub mod clock;
pub mod criterion_figures;
pub mod hop;
pub mod machine;
pub mod measure;
pub mod pipeline;
pub mod probe;
pub mod process;
pub mod report;
pub mod scale;
pub mod service;
pub mod sign;
pub mod start;
pub mod stats;
pub mod work;

/// What goes wrong here ends the run: with a word for whoever reads it, and no more structure than that.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What everything here that may fail gives.
pub type Result<T> = std::result::Result<T, Error>;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds: each contender is sampled once in each.
    pub rounds: usize,
    /// Whether each contender is run once before it counts.
    pub warms_up: bool,
    /// The short form: everything once and little of it, to see that it works.
    pub is_short: bool,
}

impl Plan {
    /// `full`, or in the short form `short`.
    pub fn pick<T>(&self, full: T, short: T) -> T {
        if self.is_short { short } else { full }
    }
}
