//! Calls and replies, as both ends have them. A watch is none: it has no end.

use tonic::{Code, Status};

use crate::protocol as proto;

/// What can be asked of a signer.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// [`Reply::Status`].
    Status,
    /// [`Reply::Modules`].
    ListModules,
    /// [`Reply::Swapped`].
    SwapModule(proto::SwapModuleRequest),
    /// [`Reply::Done`].
    SetLimits(proto::SetLimitsRequest),
    /// [`Reply::KeyRotated`].
    RotateKey(proto::RotateKeyRequest),
    /// [`Reply::Done`].
    Drain,
}

/// What a signer answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The signer at a moment.
    Status(Box<proto::StatusResponse>),
    /// The modules that serve, and have served.
    Modules(proto::ListModulesResponse),
    /// What serves now.
    Swapped(proto::SwapModuleResponse),
    /// The new public key.
    KeyRotated(proto::RotateKeyResponse),
    /// It is done, or has begun.
    Done,
}

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub code: Code,
    /// One line: what is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal of a kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Status::new(refusal.code, refusal.message)
    }
}
