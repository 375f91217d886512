//! Attach to arbitrary bytes: no panic, and what is let in keeps its bounds.
//!
//! An input's first byte says how the rest becomes a header: as it stands; as it stands with its checksum put right, as a
//! forger does; or as bytes to be changed in the header of a real ring, with or without the checksum put right.
#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use libfuzzer_sys::fuzz_target;
use ringseal_fuzz::layout::{SLOTS, SPEC, SPEC_END, word_of};
use shmem_layout::fuzzing::HeapRing;
use shmem_layout::{LINE, MESSAGE_CAPACITY_MAX, RingOptions, RingSpec, SIGNATURE_CAPACITY_MAX};

static RINGS: LazyLock<[(HeapRing, [u8; SPEC_END]); 2]> = LazyLock::new(|| {
    [(8, 100, 64), (1, 1, 0)].map(|(capacity, message_capacity, signature_capacity)| {
        let options = RingOptions {
            capacity,
            message_capacity,
            signature_capacity,
            max_attempts: 3,
            huge_pages: false,
        };
        let ring = HeapRing::new(&options).expect("a ring");
        let mut header = [0; SPEC_END];
        for (bytes, word) in header.as_chunks_mut::<8>().0.iter_mut().zip(ring.words()) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        (ring, header)
    })
});

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let (ring, original) = &RINGS[usize::from(mode >> 2 & 1)];
    let mut header;
    if mode & 1 == 0 {
        header = [0; SPEC_END];
        let len = rest.len().min(SPEC_END);
        header[..len].copy_from_slice(&rest[..len]);
    } else {
        header = *original;
        for change in rest.as_chunks::<3>().0 {
            let offset = usize::from(u16::from_le_bytes([change[0], change[1]]));
            header[offset % SPEC_END] = change[2];
        }
    }
    if mode & 2 == 0 {
        let len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        let archive = header.get(SPEC..SPEC.saturating_add(len)).unwrap_or(&[]);
        let checksum = crc32fast::hash(archive);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
    for (word, bytes) in ring.words().iter().zip(header.as_chunks::<8>().0) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    let len = 8 * ring.words().len();
    if let Ok(attached) = ring.attach() {
        check(attached.spec(), len);
        let held = attached.held().expect("locks on the heap don't fail");
        assert!(held.len() <= attached.spec().capacity as usize);
    }
    // Slots and control are never written here.
    debug_assert_eq!(word_of(ring.words(), SLOTS) & 0xFF_FFFF, 1 << 20);
});

/// What every bound of a ring that was let in must keep, in numbers of this target's own.
fn check(spec: &RingSpec, len: usize) {
    assert!(spec.capacity.is_power_of_two());
    assert!((1..=15).contains(&spec.max_attempts));
    assert!((1..=MESSAGE_CAPACITY_MAX).contains(&spec.message_capacity));
    assert!(spec.signature_capacity <= SIGNATURE_CAPACITY_MAX);
    let stride = spec.stride as usize;
    let used = LINE
        + (spec.signature_capacity as usize).next_multiple_of(8)
        + (spec.message_capacity as usize).next_multiple_of(8);
    assert!(used <= stride && stride.is_multiple_of(LINE));
    assert_eq!(SLOTS + spec.capacity as usize * stride, len);
}
