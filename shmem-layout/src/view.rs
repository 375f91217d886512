//! A ring that is only looked at.
//!
//! Everything is read relaxed: people look at it, and nothing is decided by it. Whatever stands there, it is bounded by our
//! own copy of the spec.

use crate::attach::Unchecked;
use crate::cells::{Hint, Ordering};
use crate::error::AttachError;
use crate::layout::slot;
use crate::protocol::{Core, RingError};
use crate::region::RingPath;
use crate::ring::Ring;
use crate::snapshot::Snapshot;
use crate::spec::RingSpec;
use crate::state::{Stage, State};

/// A ring that is mapped read-only: nothing that is done with it changes a byte, and nobody notices.
pub struct View {
    ring: Ring,
}

/// Where everybody has got to, as the hints have it: for people, who look at a few words and not at every slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The first sequence that may be unclaimed by producers.
    pub head: u64,
    /// The first sequence that may wait for a signer.
    pub sign: u64,
    /// The first sequence that the consumer has not freed.
    pub tail: u64,
}

impl Hints {
    /// How many of a ring's `capacity` slots are in use.
    pub fn in_use(&self, capacity: u64) -> u64 {
        in_use(self.head, self.tail, capacity)
    }
}

/// How many of `capacity` slots are in use, by two hints. Those of a damaged ring may say anything.
pub(crate) fn in_use(head: u64, tail: u64, capacity: u64) -> u64 {
    head.saturating_sub(tail).min(capacity)
}

/// The record that everybody behind it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// Its sequence.
    pub sequence: u64,
    /// What it waits in.
    pub stage: Stage,
    /// When it was written, as its producer says, in nanoseconds of the ring's clock; none while it is being written.
    pub written_ns: Option<u64>,
}

/// What made the newest signature in the ring, as its signer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The record's sequence.
    pub sequence: u64,
    /// How many swaps its signer knew of.
    pub generation: u32,
    /// The first eight bytes of the module's SHA-256; 0 for none.
    pub module_id: u64,
    /// The runtime, as roles number it.
    pub runtime: u32,
}

impl View {
    /// Opens, maps and checks the ring at `path`, all of it for reading alone.
    ///
    /// # Errors
    /// As [`attach`](crate::attach).
    pub fn open(path: &RingPath) -> Result<Self, AttachError> {
        Ok(Self { ring: Unchecked::open_read_only(path)?.check()? })
    }

    /// Our copy of the spec.
    pub fn spec(&self) -> &RingSpec {
        self.ring.spec()
    }

    /// As [`Ring::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(&self) -> Result<Snapshot, RingError> {
        self.ring.snapshot()
    }

    /// Where everybody has got to.
    pub fn hints(&self) -> Hints {
        let hint = |hint| self.ring.cells().hint(hint).load(Ordering::Relaxed);
        Hints { head: hint(Hint::Head), sign: hint(Hint::Sign), tail: hint(Hint::Tail) }
    }

    /// The record at `sequence`, the first one that is not freed, if there is one.
    pub fn oldest(&self, sequence: u64) -> Option<Oldest> {
        let core = self.core();
        let state = core.load(sequence, Ordering::Relaxed);
        let stage = state.stage().filter(|stage| !matches!(stage, Stage::Free | Stage::Closed))?;
        let is_written = !matches!(stage, Stage::Writing | Stage::Void);
        let written_ns = is_written.then(|| self.word(sequence, slot::WRITTEN_NS));
        // Else the slot is another record's by now.
        let is_same = core.load(sequence, Ordering::Relaxed).lap() == state.lap();
        (is_same && state.lap() == core.cells.geometry.lap_of(sequence)).then_some(Oldest {
            sequence,
            stage,
            written_ns,
        })
    }

    /// What made the newest signature: that of a record that waits for the consumer, or else of the one that was freed
    /// last, whose words still stand there.
    pub fn signed_by(&self) -> Option<SignedBy> {
        let core = self.core();
        let geometry = &core.cells.geometry;
        let signed = (0..geometry.capacity).filter_map(|slot| {
            let state = State(core.cells.state(slot).load(Ordering::Relaxed));
            match state.stage()? {
                Stage::Signed => Some(geometry.sequence(state.lap(), slot)),
                Stage::Free => geometry.sequence(state.lap(), slot).checked_sub(geometry.capacity),
                _ => None,
            }
        });
        let sequence = signed.max()?;
        let origin = self.word(sequence, slot::GENERATION_AND_RUNTIME);
        let module_id = self.word(sequence, slot::MODULE_ID);
        // All zero: nobody has signed in this slot.
        (origin != 0).then_some(SignedBy {
            sequence,
            generation: origin as u32,
            module_id,
            runtime: (origin >> 32) as u32,
        })
    }

    fn core(&self) -> &Core {
        &self.ring.core
    }

    fn word(&self, sequence: u64, offset: usize) -> u64 {
        self.ring.cells().slot(sequence).get(offset)
    }
}
