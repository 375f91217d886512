//! One suite over all three kinds of region: what holds for a ring holds however its bytes came to be mapped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, which is the point"
)]

mod refusals;
mod stalls;
mod stream;
mod takeover;
mod view;

use std::path::{Path, PathBuf};

use crate::attach::format;
use crate::region::{Heap, Region};
use crate::{Answer, Claims, Delivery, Message, Producer, Ring, RingOptions, RingPath, RingSpec, Signer};
use crate::{Unchecked, WaitStrategy, Waiting, WhenFull, attach, clock, create, remove};

/// A place for rings, which takes with it what was made there.
enum Place {
    Heap(Heap),
    File(tempfile::TempDir),
    Segment(String),
}

impl Place {
    /// One of each kind, with a ring in it.
    fn all(options: &RingOptions) -> [Place; 3] {
        let heap = {
            let spec = RingSpec::new(options, [7; 16], clock::boot_id().unwrap()).unwrap();
            let heap = Heap::new(spec.total_len());
            format(&Region::Heap(heap.clone()), &spec);
            Place::Heap(heap)
        };
        let file = Place::File(private_folder());
        let segment = Place::segment();
        for place in [&file, &segment] {
            create(&place.path().unwrap(), options).unwrap();
        }
        [heap, file, segment]
    }

    fn segment() -> Place {
        let unique = tempfile::Builder::new().prefix("ringseal-test-").tempfile().unwrap();
        Place::Segment(unique.path().file_name().unwrap().to_string_lossy().into_owned())
    }

    fn path(&self) -> Option<RingPath> {
        match self {
            Place::Heap(_) => None,
            Place::File(folder) => Some(RingPath::File(folder.path().join("ring"))),
            Place::Segment(name) => Some(RingPath::Segment(name.clone())),
        }
    }

    fn file_path(&self) -> Option<PathBuf> {
        self.path().map(|path| path.file_path())
    }

    /// Attaches as another process would: another mapping, another holder of locks.
    fn attach(&self) -> Ring {
        match self {
            Place::Heap(heap) => Unchecked::on_heap(heap).check().unwrap(),
            _ => attach(&self.path().unwrap()).unwrap(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Segment(name) = self {
            let _ = remove(&RingPath::Segment(name.clone()));
        }
    }
}

fn private_folder() -> tempfile::TempDir {
    private_folder_in(&std::env::temp_dir())
}

fn private_folder_in(folder: &Path) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir_in(folder).unwrap()
}

fn small() -> RingOptions {
    RingOptions {
        capacity: 8,
        message_capacity: 100,
        signature_capacity: 64,
        max_attempts: 3,
        huge_pages: false,
    }
}

fn waiting() -> Waiting {
    Waiting::new(WaitStrategy::Block)
}

fn publish(producer: &mut Producer, position: u64, bytes: &[u8]) -> u64 {
    let message =
        Message { position, method: 1, intended_ns: clock::now_ns(), now_ns: clock::now_ns(), bytes };
    let sequence = producer.publish(&message, WhenFull::Fail, &waiting()).unwrap();
    producer.flush();
    sequence
}

/// Signs as many as `max` records with their own message, reversed.
fn sign(signer: &mut Signer, max: usize) -> Vec<u64> {
    let mut batch = Vec::new();
    assert_eq!(signer.claim(max, &mut batch, &waiting()).unwrap(), Claims::Some);
    batch.into_iter().map(|claim| sign_one(signer, claim)).collect()
}

fn sign_one(signer: &mut Signer, claim: crate::Claim) -> u64 {
    let sequence = claim.sequence();
    let mut message = vec![0; signer.request(&claim).message_len];
    signer.copy_message(&claim, &mut message);
    message.reverse();
    message.truncate(64);
    signer.answer(claim, &answer(&message));
    signer.flush();
    sequence
}

fn answer(signature: &[u8]) -> Answer<'_> {
    let now = clock::now_ns();
    Answer { status: 0, signature, claimed_ns: now, signed_ns: now, module_id: 5, generation: 6, runtime: 7 }
}

/// Reads one sequence, which must be answered: what it is, its message, its signature.
fn read(consumer: &crate::Consumer, sequence: u64) -> (Delivery, Vec<u8>, Vec<u8>) {
    let (mut message, mut signature) = (Vec::new(), Vec::new());
    let delivery = consumer.try_read(sequence, &mut message, &mut signature).unwrap();
    (delivery.expect("not answered yet"), message, signature)
}

fn answer_for(consumer: &crate::Consumer, record: &crate::Record) {
    consumer.answer_for(record.sequence, record.source, record.position).unwrap();
}
