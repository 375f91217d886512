#![doc = include_str!("../LAYOUT.md")]
//!
//! # Example
//! ```
//! use std::fs::Permissions;
//! use std::os::unix::fs::PermissionsExt;
//!
//! use shmem_layout::{Message, RingOptions, RingPath, Waiting, WhenFull, attach, create};
//!
//! let private = Permissions::from_mode(0o700);
//! let folder = tempfile::Builder::new().permissions(private).tempdir()?;
//! let path = RingPath::File(folder.path().join("ring"));
//! create(&path, &RingOptions { capacity: 8, ..RingOptions::default() })?;
//!
//! let mut producer = attach(&path)?.join_producer("feed")?;
//! let message = Message { position: 0, method: 1, intended_ns: 0, now_ns: 0, bytes: b"hello" };
//! producer.publish(&message, WhenFull::Fail, &Waiting::default())?;
//!
//! let mut signer = attach(&path)?.join_signer()?;
//! let mut claims = Vec::new();
//! signer.claim(1, &mut claims, &Waiting::default())?;
//! assert_eq!(claims.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(loom, allow(dead_code, reason = "models use the protocol and not what maps it"))]

mod cells;
mod failpoint;
mod layout;
mod locks;
mod membership;
mod protocol;
mod recovery;
mod source;
mod stall;
mod state;
mod sys;
mod wait;

// What maps real bytes has no place in a model.
#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod consumer;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fault;
#[cfg(not(loom))]
mod producer;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod signer;
#[cfg(not(loom))]
mod snapshot;
#[cfg(not(loom))]
mod spec;
#[cfg(not(loom))]
mod view;

#[cfg(all(feature = "fuzzing", not(loom)))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use attach::{Unchecked, create, remove};
pub use cells::Event;
#[cfg(not(loom))]
pub use clock::now_ns;
#[cfg(not(loom))]
pub use consumer::{Consumer, Delivery, Record};
#[cfg(not(loom))]
pub use error::{AttachError, CreateError};
pub use failpoint::{HAS_FAILPOINTS, VERSION, failpoint};
#[cfg(not(loom))]
pub use fault::{report_faults_to, word_faults};
pub use layout::{LAYOUT_VERSION, LINE, MAGIC, MEMBERS, PAGE, SOURCE_NAME_LEN, SOURCES};
pub use membership::{JoinError, Member, Role};
#[cfg(not(loom))]
pub use producer::{Message, Producer, PublishError, SlotClaim, WhenFull};
pub use protocol::{Claim, RingError};
pub use recovery::Recovered;
#[cfg(not(loom))]
pub use region::RingPath;
#[cfg(not(loom))]
pub use ring::{Ring, WaitError};
#[cfg(not(loom))]
pub use signer::{Answer, Claims, Request, Signer};
#[cfg(not(loom))]
pub use snapshot::{Damage, Held, Snapshot};
pub use source::Source;
#[cfg(not(loom))]
pub use spec::{
    CAPACITY_MAX, Clock, MESSAGE_CAPACITY_MAX, RingOptions, RingSpec, SIGNATURE_CAPACITY_MAX, SpecError,
};
pub use stall::{STALL_AFTER, Stall};
pub use state::{Owner, Stage};
#[cfg(not(loom))]
pub use view::{Hints, Oldest, SignedBy, View};
pub use wait::{SLEEP_LIMIT, STALL_SECONDS, WaitStrategy, Waiting, parse_stall_after};

/// Attaches to the ring at `path`: opens, maps and checks it.
///
/// # Errors
/// Each refusal its own.
#[cfg(not(loom))]
pub fn attach(path: &RingPath) -> Result<Ring, AttachError> {
    Unchecked::open(path)?.check()
}
