//! A host that gets a block wrong must hear of it, record by record, and must never make the guest touch memory that
//! isn't the batch's. These tests play that host over a heap buffer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic in its helpers too")]

use ringseal_abi::batch::Buffers;
use ringseal_abi::scheme::{DIGEST_LEN, SECRET_KEY_LEN, Scheme};
use ringseal_abi::{ExtensionKind, Header, Record, Status};

/// Signs with the first byte of the key, the length of the message and its first byte (or 0).
struct Toy(u8);

impl Scheme for Toy {
    const NAME: &'static str = "toy";
    const PUBLIC_KEY_LEN: usize = 1;
    const SIGNATURE_LEN: usize = 3;

    fn from_secret(secret: &[u8; SECRET_KEY_LEN]) -> Result<Self, Status> {
        if secret[0] == 0 { Err(Status::InvalidKey) } else { Ok(Self(secret[0])) }
    }

    fn public_key(&self, out: &mut [u8]) {
        out.copy_from_slice(&[self.0]);
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), Status> {
        signature.copy_from_slice(&[self.0, message.len() as u8, message.first().copied().unwrap_or(0)]);
        Ok(())
    }

    fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status> {
        let mut expected = [0; 3];
        Self(public_key[0]).sign(message, &mut expected)?;
        if signature == expected { Ok(()) } else { Err(Status::InvalidSignature) }
    }

    fn hash(_: &[u8], _: &mut [u8; DIGEST_LEN]) -> Result<(), Status> {
        Err(Status::UnsupportedKind)
    }
}

const LEN: usize = 4096;
const PAINT: u8 = 0xa5;

/// Where things stand, from the start of the guest's memory.
const NAME: u32 = 0;
const BLOCK: u32 = 64;
const MESSAGES: u32 = 1024;
const OUTPUTS: u32 = 2048;
const END: u32 = LEN as u32;

/// A guest with one buffer, whose first address is `start`.
struct Guest {
    start: u32,
    base: *mut u8,
    buffers: Buffers,
    key: Option<Toy>,
}

impl Guest {
    fn at(start: u32) -> Self {
        let base =
            Box::leak(vec![u32::from_ne_bytes([PAINT; 4]); LEN / 4].into_boxed_slice()).as_mut_ptr().cast();
        // SAFETY: leaked, so always there; only `self` knows of it, and doesn't touch it while `buffers` runs.
        let buffers = unsafe { Buffers::new(base, start, LEN as u64) };
        let mut guest = Self { start, base, buffers, key: Some(Toy(7)) };
        guest.write(NAME, b"toy\0");
        guest
    }

    fn new() -> Self {
        Self::at(65536)
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        assert!(at as usize + bytes.len() <= LEN);
        // SAFETY: within the leaked buffer.
        unsafe { self.base.add(at as usize).copy_from(bytes.as_ptr(), bytes.len()) }
    }

    fn read(&self, at: u32, len: usize) -> Vec<u8> {
        assert!(at as usize + len <= LEN);
        // SAFETY: within the leaked buffer, which is initialized.
        unsafe { std::slice::from_raw_parts(self.base.add(at as usize), len) }.to_vec()
    }

    fn words(&mut self, at: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(at, &bytes);
    }

    /// Writes a block at [`BLOCK`], its records `header.record_stride` apart.
    fn block(&mut self, header: Header, records: &[Record]) {
        let Header { version, count, record_stride, flags, key_handle, .. } = header;
        self.words(BLOCK, &[version, count, record_stride, flags, key_handle, 0, 0, 0]);
        for (i, r) in records.iter().enumerate() {
            let words = [
                r.msg_ptr,
                r.msg_len,
                r.out_ptr,
                r.out_cap,
                r.out_len,
                r.status as u32,
                r.pubkey_ptr,
                r.reserved,
            ];
            self.words(BLOCK + 32 + i as u32 * record_stride, &words);
        }
    }

    fn run(&mut self, kind: ExtensionKind) -> Result<(), Status> {
        self.run_at(NAME, kind as u32, BLOCK)
    }

    fn run_at(&mut self, name: u32, kind: u32, block: u32) -> Result<(), Status> {
        let at = |offset: u32| self.start.wrapping_add(offset);
        self.buffers.run(&mut self.key, at(name), kind, at(block))
    }

    /// Writes a good block of these records and runs it.
    fn batch(&mut self, kind: ExtensionKind, records: &[Record]) -> Result<(), Status> {
        self.block(header(records.len()), records);
        self.run(kind)
    }

    /// Status and `out_len` of record `i` of a block with the common stride.
    fn result(&self, i: u32) -> (Status, u32) {
        let bytes = self.read(BLOCK + 32 + i * 32 + 16, 8);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        (Status::from_raw(word(4) as i32).expect("a status was written"), word(0))
    }

    /// A record that has message `i`, of four bytes, and 16 bytes of room.
    fn record(&mut self, i: u32) -> Record {
        self.write(MESSAGES + i * 4, &[i as u8 + 1; 4]);
        Record {
            msg_ptr: self.start + MESSAGES + i * 4,
            msg_len: 4,
            out_ptr: self.start + OUTPUTS + i * 16,
            out_cap: 16,
            out_len: 99,
            status: -1,
            ..Record::default()
        }
    }
}

fn header(count: usize) -> Header {
    Header { version: 1, count: count as u32, record_stride: 32, ..Header::default() }
}

#[test]
fn every_record_of_a_batch_is_run() {
    let mut guest = Guest::new();
    let records = [guest.record(0), guest.record(1), guest.record(2)];
    assert_eq!(guest.batch(ExtensionKind::Sign, &records), Ok(()));
    for i in 0..3 {
        assert_eq!(guest.result(i), (Status::Ok, 3));
        assert_eq!(guest.read(OUTPUTS + i * 16, 4), [7, 4, i as u8 + 1, PAINT]);
    }
    assert_eq!(guest.batch(ExtensionKind::Sign, &[]), Ok(()), "an empty batch is one too");
}

#[test]
fn a_wider_stride_is_followed() {
    let mut guest = Guest::new();
    let records = [guest.record(0), guest.record(1)];
    guest.block(Header { record_stride: 40, ..header(2) }, &records);
    assert_eq!(guest.run(ExtensionKind::Sign), Ok(()));
    assert_eq!(guest.read(OUTPUTS + 16, 3), [7, 4, 2]);
}

#[test]
fn a_malformed_block_is_refused_before_any_record_runs() {
    let refused = |header: Header| {
        let mut guest = Guest::new();
        let records = [guest.record(0), guest.record(1)];
        guest.block(self::header(2), &records);
        guest.block(header, &[]);
        assert_eq!(guest.run(ExtensionKind::Sign), Err(Status::BadArgument), "{header:?}");
        assert_eq!(guest.read(OUTPUTS, 1), [PAINT], "{header:?}");
    };
    refused(Header { version: 0, ..header(2) });
    refused(Header { version: 2, ..header(2) });
    refused(Header { flags: 1, ..header(2) });
    refused(Header { key_handle: 1, ..header(2) });
    refused(Header { record_stride: 0, ..header(2) });
    refused(Header { record_stride: 28, ..header(2) });
    refused(Header { record_stride: 34, ..header(2) });
    refused(Header { record_stride: u32::MAX - 3, ..header(2) });
    refused(header(1 + (LEN - BLOCK as usize - 32) / 32));
    refused(Header { count: u32::MAX, ..header(0) });
    refused(Header { count: u32::MAX, record_stride: u32::MAX - 3, ..header(0) });
}

#[test]
fn a_block_outside_the_buffers_or_misaligned_is_refused() {
    let mut guest = Guest::new();
    let sign = ExtensionKind::Sign as u32;
    guest.words(BLOCK + 2, &[1, 0, 32, 0, 0, 0, 0, 0]);
    for block in [BLOCK + 2, END - 28, END, 0_u32.wrapping_sub(4), 0_u32.wrapping_sub(65536)] {
        assert_eq!(guest.run_at(NAME, sign, block), Err(Status::BadArgument), "{block}");
    }
    guest.buffers = Buffers::NONE;
    assert_eq!(guest.run(ExtensionKind::Sign), Err(Status::UnknownExtension));
}

#[test]
fn another_name_is_not_mistaken_for_this_one() {
    let sign = ExtensionKind::Sign as u32;
    for name in [&b"to\0"[..], b"toys\0", b"Toy\0", b"\0"] {
        let mut guest = Guest::new();
        guest.write(NAME, name);
        assert_eq!(guest.run_at(NAME, sign, BLOCK), Err(Status::UnknownExtension), "{name:?}");
    }
    let mut guest = Guest::new();
    guest.write(END - 3, b"toy");
    assert_eq!(
        guest.run_at(END - 3, sign, BLOCK),
        Err(Status::UnknownExtension),
        "no NUL before memory ends"
    );
}

#[test]
fn an_unknown_kind_is_not_mistaken_for_a_known_one() {
    let mut guest = Guest::new();
    let record = guest.record(0);
    guest.block(header(1), &[record]);
    assert_eq!(guest.run_at(NAME, 6, BLOCK), Err(Status::UnsupportedKind));
    for kind in [ExtensionKind::Hash, ExtensionKind::Validator, ExtensionKind::Projector] {
        let record = Record { out_cap: 64, ..record };
        assert_eq!(guest.batch(kind, &[record]), Ok(()));
        assert_eq!(guest.result(0), (Status::UnsupportedKind, 0), "{kind:?}");
    }
}

#[test]
fn a_bad_record_spares_its_neighbours() {
    let mut guest = Guest::new();
    let (first, bad, last) = (guest.record(0), guest.record(1), guest.record(2));
    let (start, end) = (guest.start, guest.start + END);
    let cases = [
        Record { msg_ptr: end - 3, ..bad },
        Record { msg_ptr: start - 1, ..bad },
        Record { msg_ptr: 0, ..bad },
        Record { msg_len: u32::MAX, ..bad },
        Record { out_ptr: end - 15, ..bad },
        Record { out_ptr: 16, ..bad },
        Record { out_cap: u32::MAX, ..bad },
        Record { out_ptr: bad.msg_ptr + 3, ..bad },
        Record { out_ptr: bad.msg_ptr - 15, ..bad },
        Record { out_ptr: start + BLOCK + 32, ..bad },
        Record { out_ptr: start + BLOCK - 15, ..bad },
    ];
    for bad in cases {
        guest.write(OUTPUTS, &[PAINT; 64]);
        assert_eq!(guest.batch(ExtensionKind::Sign, &[first, bad, last]), Ok(()));
        assert_eq!(guest.result(0), (Status::Ok, 3));
        assert_eq!(guest.result(1), (Status::BadArgument, 0), "{bad:?}");
        assert_eq!(guest.result(2), (Status::Ok, 3));
        assert_eq!(guest.read(OUTPUTS + 16, 16), [PAINT; 16], "{bad:?}");
    }
}

#[test]
fn an_empty_message_may_point_anywhere() {
    let mut guest = Guest::new();
    let record = guest.record(0);
    for msg_ptr in [0, u32::MAX] {
        assert_eq!(guest.batch(ExtensionKind::Sign, &[Record { msg_ptr, msg_len: 0, ..record }]), Ok(()));
        assert_eq!(guest.result(0), (Status::Ok, 3));
        assert_eq!(guest.read(OUTPUTS, 3), [7, 0, 0]);
    }
}

#[test]
fn too_little_room_is_said_so() {
    let mut guest = Guest::new();
    let record = guest.record(0);
    for (kind, out_cap) in [(ExtensionKind::Sign, 2), (ExtensionKind::Sign, 0), (ExtensionKind::Hash, 31)] {
        assert_eq!(guest.batch(kind, &[Record { out_cap, ..record }]), Ok(()));
        assert_eq!(guest.result(0), (Status::OutputTooSmall, 0));
    }
}

#[test]
fn memory_may_end_at_the_top_of_the_address_space() {
    let mut guest = Guest::at(0_u32.wrapping_sub(END));
    let record = guest.record(0);
    let last = Record { out_ptr: u32::MAX - 2, out_cap: 3, ..record };
    let beyond = Record { out_ptr: u32::MAX - 1, out_cap: 3, ..record };
    assert_eq!(guest.batch(ExtensionKind::Sign, &[last, beyond]), Ok(()));
    assert_eq!(guest.result(0), (Status::Ok, 3));
    assert_eq!(guest.result(1), (Status::BadArgument, 0));
    assert_eq!(guest.read(END - 3, 3), [7, 4, 1]);
}

#[test]
fn a_refused_key_leaves_the_old_one_installed() {
    let mut guest = Guest::new();
    guest.key = None;
    let sign = guest.record(0);
    assert_eq!(guest.batch(ExtensionKind::Sign, &[sign]), Ok(()));
    assert_eq!(guest.result(0), (Status::NoKey, 0));

    let set = Record { msg_len: 32, ..sign };
    assert_eq!(
        guest.batch(ExtensionKind::SetKey, &[set, set]),
        Err(Status::BadArgument),
        "one key at a time"
    );
    assert_eq!(guest.batch(ExtensionKind::SetKey, &[]), Err(Status::BadArgument));
    assert!(guest.key.is_none());
    guest.write(MESSAGES, &[9; 32]);
    assert_eq!(guest.batch(ExtensionKind::SetKey, &[set]), Ok(()));
    assert_eq!(guest.result(0), (Status::Ok, 1));
    assert_eq!(guest.read(OUTPUTS, 1), [9]);

    let refusals = [
        (Record { msg_len: 31, ..set }, 5, Status::InvalidKey),
        (Record { msg_len: 33, ..set }, 5, Status::InvalidKey),
        (Record { out_cap: 0, ..set }, 5, Status::OutputTooSmall),
        (set, 0, Status::InvalidKey),
    ];
    for (record, first_byte, status) in refusals {
        guest.write(MESSAGES, &[first_byte; 33]);
        assert_eq!(guest.batch(ExtensionKind::SetKey, &[record]), Ok(()));
        assert_eq!(guest.result(0), (status, 0));
    }
    assert_eq!(guest.batch(ExtensionKind::Sign, &[sign]), Ok(()));
    assert_eq!(guest.result(0), (Status::Ok, 3));
    assert_eq!(guest.read(OUTPUTS, 1), [9]);
}

#[test]
fn verifying_writes_nothing_but_the_status() {
    let mut guest = Guest::new();
    let record = guest.record(0);
    let verify = Record { out_len: 3, pubkey_ptr: guest.start + 3000, ..record };
    guest.write(3000, &[7]);
    guest.write(OUTPUTS, &[7, 4, 1]);
    let bad = [
        (Record { msg_len: 3, ..verify }, Status::InvalidSignature),
        (Record { out_len: 2, ..verify }, Status::InvalidSignature),
        (Record { out_len: 17, ..verify }, Status::BadArgument),
        (Record { pubkey_ptr: guest.start + END, ..verify }, Status::BadArgument),
    ];
    for (record, status) in [(verify, Status::Ok)].into_iter().chain(bad) {
        assert_eq!(guest.batch(ExtensionKind::Verify, &[record]), Ok(()));
        assert_eq!(guest.result(0), (status, record.out_len), "{record:?}");
        assert_eq!(guest.read(OUTPUTS, 4), [7, 4, 1, PAINT]);
    }
}

#[test]
fn a_wipe_leaves_nothing_of_a_batch_and_all_of_the_rest() {
    let mut guest = Guest::new();
    let records = [guest.record(0), guest.record(1)];
    let painted = guest.read(OUTPUTS + 32, LEN - OUTPUTS as usize - 32);
    assert_eq!(guest.batch(ExtensionKind::Sign, &records), Ok(()));
    guest.buffers.wipe();
    assert_eq!(guest.read(NAME, 4), b"toy\0");
    assert!(guest.read(BLOCK, (OUTPUTS + 32 - BLOCK) as usize).iter().all(|byte| *byte == 0));
    assert_eq!(guest.read(OUTPUTS + 32, painted.len()), painted);

    // The next wipe is about the next batch alone.
    guest.write(MESSAGES, b"kept");
    guest.buffers.wipe();
    assert_eq!(guest.read(MESSAGES, 4), b"kept");
}
