//! What a ring is made to: its spec, archived with rkyv into the ring's header.

use rkyv::rancor;

use crate::layout::{Geometry, LAYOUT_VERSION, LINE, header};
use crate::state::ATTEMPTS_MAX;

/// The largest message capacity, in bytes: a megabyte is no longer a message to be signed in place.
pub const MESSAGE_CAPACITY_MAX: u32 = 1 << 20;

/// The largest signature capacity, in bytes.
pub const SIGNATURE_CAPACITY_MAX: u32 = 4096;

/// The largest capacity, in slots.
pub const CAPACITY_MAX: u32 = 1 << 24;

/// The clock that a ring's timestamps are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[repr(u8)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`, in nanoseconds: one clock for all processes of one boot.
    Monotonic = 1,
}

/// What a ring is made to. Every member holds a private copy, checked at attach.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct RingSpec {
    /// Again in the archive, so that its checksum covers it.
    pub layout_version: u32,
    /// Slots: a power of two.
    pub capacity: u32,
    /// Bytes from one slot to the next: a multiple of 128.
    pub stride: u32,
    /// Bytes of message that a slot holds.
    pub message_capacity: u32,
    /// Bytes of signature that a slot holds.
    pub signature_capacity: u32,
    /// How often a record may be claimed by signers that die, 1 to 15, before it is answered as failed.
    pub max_attempts: u8,
    /// What the timestamps are.
    pub clock: Clock,
    /// Drawn at random when the ring is made: outputs are bound to it.
    pub ring_id: [u8; 16],
    /// The boot that the ring was made in: monotonic timestamps of another boot mean nothing.
    pub boot_id: [u8; 16],
}

/// What whoever makes a ring chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Slots: a power of two, 1 to 2²⁴.
    pub capacity: u32,
    /// Bytes of message that a slot holds, 1 to 2²⁰.
    pub message_capacity: u32,
    /// Bytes of signature that a slot holds, at most 4096.
    pub signature_capacity: u32,
    /// How often a record may be claimed by signers that die, 1 to 15, before it is answered as failed.
    pub max_attempts: u8,
    /// Whether it is to lie on huge pages, of 2 MiB each. Not part of the spec: whoever attaches need not know.
    pub huge_pages: bool,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            capacity: 1024,
            message_capacity: 256,
            signature_capacity: 64,
            max_attempts: 3,
            huge_pages: false,
        }
    }
}

/// Why a spec makes no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The capacity has no power of two, or is out of range.
    #[error("capacity {0} is not a power of two from 1 to {CAPACITY_MAX}")]
    Capacity(u32),
    /// The message capacity is out of range.
    #[error("message capacity {0} is not in 1 to {MESSAGE_CAPACITY_MAX} bytes")]
    MessageCapacity(u32),
    /// The signature capacity is out of range.
    #[error("signature capacity {0} is over {SIGNATURE_CAPACITY_MAX} bytes")]
    SignatureCapacity(u32),
    /// The maximum of attempts is out of range.
    #[error("max attempts {0} is not in 1 to {ATTEMPTS_MAX}")]
    MaxAttempts(u8),
    /// A slot doesn't hold what it is said to hold.
    #[error("slot stride {stride} is no multiple of {LINE} of at least {least} bytes")]
    Stride {
        /// What the spec says.
        stride: u32,
        /// What message and signature need.
        least: usize,
    },
    /// Made for another layout.
    #[error("layout version {0}, but this program knows version {LAYOUT_VERSION}")]
    LayoutVersion(u32),
    /// The archive's bytes describe no spec.
    #[error("the spec's archive is invalid: {0}")]
    Archive(String),
}

impl RingSpec {
    /// The spec that `options` ask for.
    ///
    /// # Errors
    /// An option out of its range.
    pub fn new(options: &RingOptions, ring_id: [u8; 16], boot_id: [u8; 16]) -> Result<Self, SpecError> {
        let message = options.message_capacity.min(MESSAGE_CAPACITY_MAX) as usize;
        let signature = options.signature_capacity.min(SIGNATURE_CAPACITY_MAX) as usize;
        let spec = Self {
            layout_version: LAYOUT_VERSION,
            capacity: options.capacity,
            stride: Geometry::least_stride(message, signature) as u32,
            message_capacity: options.message_capacity,
            signature_capacity: options.signature_capacity,
            max_attempts: options.max_attempts,
            clock: Clock::Monotonic,
            ring_id,
            boot_id,
        };
        spec.check()?;
        Ok(spec)
    }

    /// Whether a ring can be what the spec says.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.layout_version != LAYOUT_VERSION {
            return Err(SpecError::LayoutVersion(self.layout_version));
        }
        if !self.capacity.is_power_of_two() || self.capacity > CAPACITY_MAX {
            return Err(SpecError::Capacity(self.capacity));
        }
        if !(1..=MESSAGE_CAPACITY_MAX).contains(&self.message_capacity) {
            return Err(SpecError::MessageCapacity(self.message_capacity));
        }
        if self.signature_capacity > SIGNATURE_CAPACITY_MAX {
            return Err(SpecError::SignatureCapacity(self.signature_capacity));
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(SpecError::MaxAttempts(self.max_attempts));
        }
        let least = Geometry::least_stride(self.message_capacity as usize, self.signature_capacity as usize);
        let stride = self.stride as usize;
        // An upper bound too, so that capacity × stride can't overflow.
        if stride < least || !stride.is_multiple_of(LINE) || stride > least.max(1 << 22) {
            return Err(SpecError::Stride { stride: self.stride, least });
        }
        Ok(())
    }

    /// Bytes of a ring of this spec.
    pub fn total_len(&self) -> usize {
        self.geometry().total_len()
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            capacity: u64::from(self.capacity),
            stride: self.stride as usize,
            message_capacity: self.message_capacity as usize,
            signature_capacity: self.signature_capacity as usize,
        }
    }

    /// The spec as rkyv archives it.
    ///
    /// # Panics
    /// If the archive outgrew its room in the header, which is a fault of this program.
    pub(crate) fn to_archive(&self) -> rkyv::util::AlignedVec {
        match rkyv::to_bytes::<rancor::Error>(self) {
            Ok(bytes) if bytes.len() <= header::SPEC_CAPACITY => bytes,
            Ok(bytes) => panic!("a spec of {} bytes outgrew the header", bytes.len()),
            Err(error) => panic!("a spec of plain numbers must archive: {error}"),
        }
    }

    /// The spec in `archive`, a **private** copy: bytecheck on shared bytes would check what a peer can change.
    ///
    /// # Errors
    /// Bytes that are no spec, or a spec that no ring can have.
    pub(crate) fn from_archive(archive: &[u8]) -> Result<Self, SpecError> {
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let spec = rkyv::from_bytes::<Self, rancor::Error>(&aligned)
            .map_err(|error| SpecError::Archive(error.to_string()))?;
        spec.check()?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RingSpec {
        RingSpec::new(&RingOptions::default(), [1; 16], [2; 16]).unwrap()
    }

    #[test]
    fn a_spec_comes_back_from_its_archive() {
        assert_eq!(RingSpec::from_archive(&spec().to_archive()).unwrap(), spec());
    }

    #[test]
    fn each_field_out_of_range_is_refused_by_its_own_error() {
        type Change = fn(&mut RingSpec);
        type Expected = fn(&SpecError) -> bool;
        let cases: [(Change, Expected); 9] = [
            (|s| s.capacity = 0, |e| matches!(e, SpecError::Capacity(0))),
            (|s| s.capacity = 3, |e| matches!(e, SpecError::Capacity(3))),
            (|s| s.message_capacity = 0, |e| matches!(e, SpecError::MessageCapacity(0))),
            (|s| s.signature_capacity = 5000, |e| matches!(e, SpecError::SignatureCapacity(5000))),
            (|s| s.max_attempts = 0, |e| matches!(e, SpecError::MaxAttempts(0))),
            (|s| s.max_attempts = 16, |e| matches!(e, SpecError::MaxAttempts(16))),
            (|s| s.stride = 384, |e| matches!(e, SpecError::Stride { stride: 384, .. })),
            (|s| s.stride += 1, |e| matches!(e, SpecError::Stride { .. })),
            (|s| s.layout_version = 2, |e| matches!(e, SpecError::LayoutVersion(2))),
        ];
        for (index, (change, expected)) in cases.into_iter().enumerate() {
            let mut spec = spec();
            change(&mut spec);
            let error = RingSpec::from_archive(&spec.to_archive()).unwrap_err();
            assert!(expected(&error), "case {index}: {error}");
        }
    }

    #[test]
    fn arbitrary_bytes_make_no_spec_and_no_panic() {
        let archive = spec().to_archive();
        assert!(RingSpec::from_archive(&archive[..archive.len() - 1]).is_err());
        assert!(RingSpec::from_archive(&[]).is_err());
        let clock = archive.iter().position(|b| *b == 3).map(|i| i + 1).unwrap();
        let mut bad_clock = archive.to_vec();
        bad_clock[clock] = 99;
        assert!(matches!(RingSpec::from_archive(&bad_clock), Err(SpecError::Archive(_))));
    }
}
