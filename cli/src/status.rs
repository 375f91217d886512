//! Why a record has no signature, by the signer's own account.

/// The negative statuses of an answered record, which the signer gives by itself; 0 is a signature, and positive ones are the
/// extension's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum SignerStatus {
    /// The record asks for a method that this signer doesn't know.
    NoEngine = -1,
    /// The extension trapped on this record alone, or refused to run it.
    EngineFailed = -2,
    /// The extension answered what no extension may: an unknown status, or more output than there was room for.
    BadAnswer = -3,
    /// The signature does not verify, and was held back (`--verify-before-release`).
    NotVerified = -4,
    /// The extension took more CPU time over this record than it may.
    Deadline = -5,
    /// The extension had no memory for this record.
    OutOfMemory = -6,
}

impl SignerStatus {
    /// Each of them, from −1 on down.
    pub const ALL: [Self; 6] = [
        Self::NoEngine,
        Self::EngineFailed,
        Self::BadAnswer,
        Self::NotVerified,
        Self::Deadline,
        Self::OutOfMemory,
    ];

    /// The status of number `raw`, if it is one of the signer's.
    pub fn from_raw(raw: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == raw)
    }
}
