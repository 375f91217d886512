//! What can go wrong in a tier.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a cache didn't give or take a module.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The module isn't there.
    #[error("the module is not in the cache")]
    Missing,
    /// The directory, or a file in it, is not one that code may be loaded from.
    #[error("{path} {reason}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The system said no.
    #[error("can't {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's own words.
        error: io::Error,
    },
    /// Somebody else is at work there for too long.
    #[error("{path} has been locked by another process for {seconds} s")]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long this process has waited.
        seconds: u64,
    },
    /// A module that all the others would have to give way for, and more.
    #[error("the compiled module takes {bytes} bytes, and the cache may hold {limit}")]
    TooLarge {
        /// Bytes that it takes.
        bytes: u64,
        /// Bytes that there may be.
        limit: u64,
    },
    /// The runtime doesn't take back what it gave, or doesn't give it.
    #[error("{runtime} can't {action} the compiled module: {reason}")]
    Runtime {
        /// The runtime.
        runtime: crate::Runtime,
        /// `write` or `read`.
        action: &'static str,
        /// The runtime's own words.
        reason: String,
    },
}

impl CacheError {
    /// Whether it means no more than that the module has to be compiled.
    pub fn is_miss(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Something in a cache that went wrong, and that work goes on without. One line.
#[derive(Debug)]
pub struct CacheWarning {
    /// What the cache was about to do.
    pub action: CacheAction,
    /// What went wrong.
    pub error: CacheError,
}

/// What a cache does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheAction {
    /// Look a module up.
    Load,
    /// Look a module up that was then found in a slower tier.
    LoadFirst,
    /// Keep a module.
    Save,
    /// Keep a module that was found in a slower tier.
    Promote,
    /// Make room.
    Evict,
    /// Wait for another process that compiles the same module.
    Wait,
}

impl CacheWarning {
    pub(crate) fn new(action: CacheAction, error: CacheError) -> Self {
        Self { action, error }
    }
}

impl fmt::Display for CacheWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self.action {
            CacheAction::Load => "it is compiled anew",
            CacheAction::LoadFirst => "another tier is asked",
            CacheAction::Save => "it is not kept",
            CacheAction::Promote => "it is not promoted",
            CacheAction::Evict => "nothing is evicted",
            CacheAction::Wait => "it may be compiled twice",
        };
        write!(f, "module cache: {}; {consequence}", self.error)
    }
}
