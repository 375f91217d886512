//! The way in for fuzz targets: a ring on the heap, whose bytes the target writes as it likes.

use std::sync::atomic::AtomicU64;

use crate::attach::{Unchecked, format};
use crate::clock;
use crate::error::{AttachError, CreateError};
use crate::region::{Heap, Region};
use crate::ring::Ring;
use crate::spec::{RingOptions, RingSpec};

/// The bytes of a ring, and who holds its locks.
pub struct HeapRing(Heap);

impl HeapRing {
    /// Makes a ring.
    ///
    /// # Errors
    /// The options make no ring.
    pub fn new(options: &RingOptions) -> Result<Self, CreateError> {
        let spec = RingSpec::new(options, [0; 16], clock::boot_id().map_err(CreateError::Make)?)?;
        let heap = Heap::new(spec.total_len());
        format(&Region::Heap(heap.clone()), &spec);
        Ok(Self(heap))
    }

    /// The bytes.
    pub fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }

    /// Attaches, as another holder of locks.
    ///
    /// # Errors
    /// What attach refuses.
    pub fn attach(&self) -> Result<Ring, AttachError> {
        Unchecked::on_heap(&self.0).check()
    }
}
