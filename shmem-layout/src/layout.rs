//! Where everything is: a const chain of offsets, each the previous one plus the size of what stands there.
//!
//! `LAYOUT.md` is the prose home of these bytes. Offsets are in bytes from the start of the ring; numbers are
//! little-endian.

/// The first eight bytes of a ring, written last of all when one is made.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGSEAL");

/// The version of this layout, rkyv's format (little-endian, aligned, 32-bit relative pointers) included.
pub const LAYOUT_VERSION: u32 = 1;

/// Two 64-byte cache lines: what the adjacent-line prefetcher of x86 moves together. A number of ours, the same
/// on every target, for it is part of the layout.
pub const LINE: usize = 128;

/// Slots begin on a page, so that the pages of large messages can be protected one by one.
pub const PAGE: usize = 4096;

/// How many members (processes attached with a role) a ring has room for. Index 0 means nobody.
pub const MEMBERS: usize = 256;

/// How many sources a ring keeps positions for.
pub const SOURCES: usize = 64;

/// Bytes of a source's name at most.
pub const SOURCE_NAME_LEN: usize = 48;

/// The fixed header, before the spec.
pub(crate) mod header {
    use super::LINE;

    pub const MAGIC: usize = 0;
    pub const LAYOUT_VERSION: usize = MAGIC + 8;
    pub const SPEC_LEN: usize = LAYOUT_VERSION + 4;
    pub const SPEC_CRC32: usize = SPEC_LEN + 4;
    pub const SPEC: usize = LINE;
    /// Room for the archived spec: no length read from the ring goes beyond it.
    pub const SPEC_CAPACITY: usize = 3 * LINE;
    pub const END: usize = SPEC + SPEC_CAPACITY;
}

/// Words shared by all slots: hints, events, members, sources.
pub(crate) mod control {
    use super::{LINE, MEMBERS, PAGE, SOURCES, header};

    // Each hint and each event has a line to itself: each is written by another role.
    pub const HEAD: usize = header::END;
    pub const SIGN: usize = HEAD + LINE;
    pub const TAIL: usize = SIGN + LINE;
    pub const PUBLISHED: usize = TAIL + LINE;
    pub const SIGNED: usize = PUBLISHED + LINE;
    pub const FREED: usize = SIGNED + LINE;
    pub const MEMBER_TABLE: usize = FREED + LINE;
    pub const MEMBER_LEN: usize = 8;
    pub const SOURCE_TABLE: usize = MEMBER_TABLE + MEMBERS * MEMBER_LEN;
    pub const END: usize = SOURCE_TABLE + SOURCES * super::source::LEN;
    pub const SLOTS: usize = END.next_multiple_of(PAGE);
}

/// An event: offsets from its line's start.
pub(crate) mod event {
    pub const COUNTER: usize = 0;
    pub const WAITERS: usize = COUNTER + 4;
}

/// A source's entry: offsets from its start.
pub(crate) mod source {
    use super::SOURCE_NAME_LEN;

    pub const ID: usize = 0;
    pub const NEXT: usize = ID + 8;
    pub const NAME: usize = NEXT + 8;
    pub const LEN: usize = NAME + SOURCE_NAME_LEN;
}

/// A slot: offsets from its start. The producer writes the first 64-byte line and the message, the signer the
/// second line and the signature; so one hop of a short message moves two lines.
pub(crate) mod slot {
    pub const STATE: usize = 0;
    pub const POSITION: usize = STATE + 8;
    pub const SOURCE_AND_METHOD: usize = POSITION + 8;
    pub const MESSAGE_LEN: usize = SOURCE_AND_METHOD + 8;
    pub const INTENDED_NS: usize = MESSAGE_LEN + 8;
    pub const WRITTEN_NS: usize = INTENDED_NS + 8;
    pub const PRODUCER_END: usize = WRITTEN_NS + 8;

    pub const CLAIMED_NS: usize = 64;
    pub const SIGNED_NS: usize = CLAIMED_NS + 8;
    pub const MODULE_ID: usize = SIGNED_NS + 8;
    pub const GENERATION_AND_RUNTIME: usize = MODULE_ID + 8;
    pub const STATUS_AND_SIGNATURE_LEN: usize = GENERATION_AND_RUNTIME + 8;
    pub const SIGNER_END: usize = STATUS_AND_SIGNATURE_LEN + 8;

    pub const SIGNATURE: usize = 128;
}

const _: () = {
    assert!(header::SPEC_CRC32 + 4 <= header::SPEC);
    assert!(header::END == 512 && header::END.is_multiple_of(LINE));
    assert!(control::HEAD.is_multiple_of(LINE) && control::MEMBER_TABLE.is_multiple_of(LINE));
    assert!(control::MEMBER_TABLE == 1280 && control::SOURCE_TABLE == 3328 && control::END == 7424);
    assert!(control::SLOTS == 8192 && source::LEN == 64);
    assert!(slot::PRODUCER_END <= slot::CLAIMED_NS, "the roles' lines overlap");
    assert!(slot::SIGNER_END <= slot::SIGNATURE && slot::SIGNATURE == LINE);
    assert!(usize::BITS == 64, "the ring is for 64-bit machines");
    assert!(cfg!(target_endian = "little"), "the ring is little-endian and is not converted");
};

/// Where the parts of a slot are, and how long the ring is: computed once from the private copy of the spec, so
/// that no bound is read from shared bytes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Slots, a power of two.
    pub capacity: u64,
    /// Bytes from one slot to the next.
    pub stride: usize,
    /// Bytes of message that a slot holds.
    pub message_capacity: usize,
    /// Bytes of signature that a slot holds.
    pub signature_capacity: usize,
}

impl Geometry {
    /// The least stride that holds such a message and such a signature.
    pub fn least_stride(message_capacity: usize, signature_capacity: usize) -> usize {
        (slot::SIGNATURE + signature_capacity.next_multiple_of(8) + message_capacity.next_multiple_of(8))
            .next_multiple_of(LINE)
    }

    /// Bytes of the whole ring.
    pub fn total_len(&self) -> usize {
        control::SLOTS + self.capacity as usize * self.stride
    }

    /// The slot that `sequence` falls into.
    pub fn slot_of(&self, sequence: u64) -> u64 {
        sequence & (self.capacity - 1)
    }

    /// How often the ring has been gone round before `sequence`.
    pub fn lap_of(&self, sequence: u64) -> u64 {
        sequence >> self.capacity.trailing_zeros()
    }

    /// The sequence that falls into `slot` on `lap`. Wraps for a lap that no honest peer writes.
    pub fn sequence(&self, lap: u64, slot: u64) -> u64 {
        (lap << self.capacity.trailing_zeros()).wrapping_add(slot)
    }

    /// Where `slot` starts.
    pub fn slot_offset(&self, slot: u64) -> usize {
        debug_assert!(slot < self.capacity);
        control::SLOTS + slot as usize * self.stride
    }

    /// Where a slot's message starts, from the slot's start.
    pub fn message_offset(&self) -> usize {
        slot::SIGNATURE + self.signature_capacity.next_multiple_of(8)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn sequences_slots_and_laps_go_there_and_back() {
        let geometry = Geometry { capacity: 8, stride: 256, message_capacity: 64, signature_capacity: 64 };
        for sequence in [0, 1, 7, 8, 9, 1 << 40, (1 << 43) - 1] {
            let (lap, slot) = (geometry.lap_of(sequence), geometry.slot_of(sequence));
            assert_eq!(geometry.sequence(lap, slot), sequence);
        }
    }

    #[test]
    fn the_least_stride_holds_everything_and_keeps_lines_apart() {
        for (message, signature) in [(1, 0), (64, 64), (65, 64), (256, 64), (16384, 72)] {
            let stride = Geometry::least_stride(message, signature);
            let geometry =
                Geometry { capacity: 1, stride, message_capacity: message, signature_capacity: signature };
            assert!(geometry.message_offset() + message <= stride && stride.is_multiple_of(LINE));
        }
    }
}
