//! Members: who is attached with a role, and whether they live.

use std::fmt;
use std::thread;
use std::time::Duration;

use crate::cells::{Cells, Ordering, release_fence};
use crate::failpoint::failpoint;
use crate::locks::MEMBER_BYTE;
use crate::protocol::{Core, RingError};
use crate::state::Owner;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Verifies and frees. There is one at most.
    Consumer = 1,
    /// Writes messages.
    Producer = 2,
    /// Signs them.
    Signer = 3,
}

impl Role {
    fn from_raw(raw: u8) -> Option<Self> {
        [Role::Consumer, Role::Producer, Role::Signer].into_iter().find(|role| *role as u8 == raw)
    }

    /// The role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Consumer => "consumer",
            Role::Producer => "producer",
            Role::Signer => "signer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A member, present or past, as the ring tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its index in the table, and its generation.
    pub owner: Owner,
    /// `None` for a number that no honest member writes.
    pub role: Option<Role>,
    /// What it said its process id was. For people: nothing is decided by it.
    pub pid: u32,
    /// Whether the kernel says that it lives.
    pub is_alive: bool,
}

/// Why a role can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is a live consumer.
    #[error("a consumer is attached already (pid {pid}); stop it first")]
    ConsumerTaken {
        /// What it said its process id was.
        pid: u32,
    },
    /// All indices are held by live members.
    #[error("all {0} places for members are taken")]
    NoPlace(usize),
    /// A live producer writes for the source.
    #[error("source {name:?} has a live producer already; stop it first, or choose another --source")]
    SourceTaken {
        /// The source's name.
        name: String,
    },
    /// All entries of the source table are taken by other sources.
    #[error("the ring keeps positions for {0} sources, and all are taken")]
    NoSource(usize),
    /// The name doesn't fit.
    #[error("source name {name:?} is not 1 to {max} bytes of printable text")]
    SourceName {
        /// The name.
        name: String,
        /// Bytes at most.
        max: usize,
    },
    /// The ring itself.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// The consumer's index: a fixed one, so that the kernel refuses a second.
const CONSUMER: u8 = 1;

impl Core {
    /// Takes an index for `role`, for life, and sweeps what its earlier holders left.
    pub fn join(&self, role: Role) -> Result<Owner, JoinError> {
        let indices = if role == Role::Consumer { CONSUMER..=CONSUMER } else { CONSUMER + 1..=u8::MAX };
        for index in indices.clone() {
            if !self.locks.take(MEMBER_BYTE + u64::from(index)).map_err(RingError::Locks)? {
                continue;
            }
            failpoint("join: locked");
            // Who we are, still in the last holder's generation, for whoever is refused while we sweep.
            let word = self.cells.member(index.into());
            let last = word.load(Ordering::Relaxed) as u8;
            word.store(pack(last, role, std::process::id()), Ordering::Relaxed);
            self.sweep(index);
            failpoint("join: swept");
            let generation = last.wrapping_add(1);
            word.store(pack(generation, role, std::process::id()), Ordering::Relaxed);
            // Who sees a claim of ours sees this generation too, and not the one before.
            release_fence("joined: join");
            failpoint("join: joined");
            return Ok(Owner { index, generation });
        }
        Err(match role {
            Role::Consumer => JoinError::ConsumerTaken { pid: self.pid_of_consumer() },
            _ => JoinError::NoPlace(indices.count()),
        })
    }

    /// What the consumer says its process id is. One that has only just come may not have said it yet.
    fn pid_of_consumer(&self) -> u32 {
        let pid = || Some(unpack(&self.cells, CONSUMER).2).filter(|pid| *pid != 0);
        (0..100)
            .find_map(|_| {
                pid().or_else(|| {
                    thread::sleep(Duration::from_millis(1));
                    None
                })
            })
            .unwrap_or(0)
    }

    /// Every index that was ever taken, as a holder of `me` sees it.
    pub fn members(&self, me: Owner) -> Result<Vec<Member>, RingError> {
        let mut members = Vec::new();
        for index in 1..=u8::MAX {
            let (generation, role, pid) = unpack(&self.cells, index);
            let held = self.locks.is_held_by_other(MEMBER_BYTE + u64::from(index))?;
            if held || pid != 0 {
                let owner = Owner { index, generation };
                members.push(Member { owner, role, pid, is_alive: held || owner == me });
            }
        }
        Ok(members)
    }
}

fn pack(generation: u8, role: Role, pid: u32) -> u64 {
    u64::from(pid) << 32 | (role as u64) << 8 | u64::from(generation)
}

fn unpack(cells: &Cells, index: u8) -> (u8, Option<Role>, u32) {
    let word = cells.member(index.into()).load(Ordering::Relaxed);
    (word as u8, Role::from_raw((word >> 8) as u8), (word >> 32) as u32)
}
