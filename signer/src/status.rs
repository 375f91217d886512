//! The statuses that the signer itself gives, as the ring has them. Positive ones are the extension's.

use cli::SignerStatus;
use extension_engine::{EngineError, RecordError};

/// [`SignerStatus::NoEngine`].
pub const NO_ENGINE: i32 = SignerStatus::NoEngine as i32;

/// [`SignerStatus::EngineFailed`].
pub const ENGINE_FAILED: i32 = SignerStatus::EngineFailed as i32;

/// [`SignerStatus::BadAnswer`].
pub const BAD_ANSWER: i32 = SignerStatus::BadAnswer as i32;

/// [`SignerStatus::NotVerified`].
pub const NOT_VERIFIED: i32 = SignerStatus::NotVerified as i32;

/// [`SignerStatus::Deadline`].
pub const DEADLINE: i32 = SignerStatus::Deadline as i32;

/// [`SignerStatus::OutOfMemory`].
pub const OUT_OF_MEMORY: i32 = SignerStatus::OutOfMemory as i32;

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
