//! Why a record has no signature: the statuses that the signer itself gives. Positive ones are the extension's.

use extension_engine::{EngineError, RecordError};

/// The record asks for a method that this signer doesn't know.
pub const NO_ENGINE: i32 = -1;

/// The extension trapped on this record alone, or refused to run it.
pub const ENGINE_FAILED: i32 = -2;

/// The extension answered what no extension may: an unknown status, or more output than there was room for.
pub const BAD_ANSWER: i32 = -3;

/// The signature does not verify, and was held back (`--verify-before-release`).
pub const NOT_VERIFIED: i32 = -4;

/// The extension took more CPU time over this record than it may.
pub const DEADLINE: i32 = -5;

/// The extension had no memory for this record.
pub const OUT_OF_MEMORY: i32 = -6;

/// The status that a record gets for what became of it in a run.
pub(crate) fn of(outcome: Result<(), RecordError>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(RecordError::Failed(status)) => status as i32,
        Err(RecordError::NotRun) => ENGINE_FAILED,
        Err(RecordError::UnknownStatus(_) | RecordError::OutputTooLong { .. }) => BAD_ANSWER,
    }
}

/// The status of a record whose run, alone, failed as a whole.
pub(crate) fn of_failed_run(error: &EngineError) -> i32 {
    match error {
        EngineError::Deadline { .. } => DEADLINE,
        EngineError::OutOfMemory { .. } => OUT_OF_MEMORY,
        _ => ENGINE_FAILED,
    }
}
