//! Failpoints: named steps of the transitions, at which a build with the feature `failpoints` can be made to die.
//!
//! What is shipped has none of it: there a failpoint is an empty function. With the feature, the environment says what is to
//! happen, and `--version` says that it may:
//!
//! | variable | meaning |
//! |---|---|
//! | `RINGSEAL_FAILPOINTS` | the steps, separated by `;`, each as it stands in the code, or `STEP@N` for its Nth time in a process |
//! | `RINGSEAL_FUSES` | a folder: who dies at a step leaves a file there, so that nobody dies of the same one again |
//! | `RINGSEAL_PROTECT` | if set, the whole pages of a message can't be touched by its signer from the copy to the answer |

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::failpoint;
#[cfg(feature = "failpoints")]
pub(crate) use armed::protect_pages;

/// Whether this build can be made to die.
pub const HAS_FAILPOINTS: bool = cfg!(feature = "failpoints");

/// The version of this build, for `--version`.
pub const VERSION: &str = if HAS_FAILPOINTS {
    concat!(env!("CARGO_PKG_VERSION"), " (with failpoints, for tests only)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// A step at which this process may be made to die.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn failpoint(_step: &'static str) {}

/// Keeps this process from touching the whole pages in `bytes` bytes at `base`, or lets it again.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn protect_pages(_base: *const u8, _bytes: usize, _is_protected: bool) {}
