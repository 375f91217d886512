//! What campaigns share: their frame, folders and keys, the roles as child processes, and the judge.

pub mod journal;
pub mod judge;
pub mod ledger;
pub mod load;
pub mod process;
pub mod rng;
pub mod session;
pub mod site;
pub mod stats;
