//! What a signer starts with: what its command line asks for, and what was committed in its control directory before.

use std::path::Path;

use cli::Failure;

use crate::SupervisorOptions;
use crate::assignment::{Assignment, Assignments};
use crate::store::Store;

/// What the control directory at `directory` remembers.
pub(super) fn open_store(directory: &Path) -> Result<Store, Failure> {
    Store::open(directory).map_err(|error| {
        Failure::environment(format_args!("control directory {}: {error}", directory.display()))
    })
}

/// What the command line asks for, but for methods that were swapped under this control directory before.
pub(super) fn first_assignments(
    options: &SupervisorOptions,
    store: Option<&Store>,
) -> Result<Assignments, Failure> {
    let work = &options.work;
    let mut all = Assignments::from_arguments(work.runtime, &work.modules, &work.limits)?;
    let Some((store, directory)) = store.zip(options.control.as_ref()) else { return Ok(all) };
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::environment(format_args!(
            "control directory {}: what was committed there is of no use: {why}; remove generation.json to go without",
            directory.display()
        ))
    };
    if let Some(committed) = store.load().map_err(|error| unusable(&error))? {
        all.take_over(committed).map_err(|error| unusable(&error))?;
        for assignment in all.present.iter().filter(|assignment| assignment.generation > 1) {
            let Assignment { method, label, runtime, generation, .. } = assignment;
            tracing::info!(
                %method, label, %runtime, generation,
                "{method} is signed by {label} on {runtime}, generation {generation}, as committed in {}",
                directory.display()
            );
        }
    }
    Ok(all)
}
