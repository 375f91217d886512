//! A nonce that is not RFC 6979's, or a place in a batch that gets its neighbour's inverse, gives keys away or makes signatures that
//! nobody accepts: whatever the batch, each signature must have the bytes that k256 gives it alone.
//!
//! The campaign `batch` does the same a million times over; these are few.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::sha2::{Digest, Sha256};
use k256::{NonZeroScalar, ecdsa, schnorr};
use ringseal_abi::Status;
use ringseal_abi::scheme::Records;
use secp256k1_batch::{CHUNK, Ecdsa, Schnorr};

/// Records as a host has them. A refused one has no message to show.
struct Batch {
    messages: Vec<Option<Vec<u8>>>,
    signatures: Vec<Option<[u8; 64]>>,
    statuses: Vec<Option<Result<(), Status>>>,
}

impl Batch {
    fn new(messages: Vec<Option<Vec<u8>>>) -> Self {
        let count = messages.len();
        Self { messages, signatures: vec![None; count], statuses: vec![None; count] }
    }
}

impl Records for Batch {
    fn count(&self) -> usize {
        self.messages.len()
    }

    fn message(&self, i: usize) -> Option<&[u8]> {
        self.messages[i].as_deref()
    }

    fn answer(&mut self, i: usize, sign: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Status>) {
        assert_eq!(self.statuses[i], None, "record {i} is answered twice");
        let Some(message) = &self.messages[i] else {
            self.statuses[i] = Some(Err(Status::BadArgument));
            return;
        };
        let mut signature = [0xa5; 64];
        self.statuses[i] = Some(sign(message, &mut signature));
        self.signatures[i] = Some(signature);
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }
}

fn never(_: &[u8], _: &mut [u8]) -> Result<(), Status> {
    panic!("no nonce of these is 0");
}

/// Signs `messages` by both schemes in a batch, and compares with k256.
fn check(secret: &[u8], messages: &[Option<Vec<u8>>]) {
    let key = ecdsa::SigningKey::from_slice(secret).unwrap();
    let expected = |message: &Vec<u8>| -> [u8; 64] {
        let signature: ecdsa::Signature = key.sign_prehash(&Sha256::digest(message)).unwrap();
        signature.to_bytes().into()
    };
    let mut batch = Batch::new(messages.to_vec());
    Ecdsa::new(key.as_nonzero_scalar()).sign(&mut batch, never);
    compare("ecdsa", &batch, expected);

    let key = schnorr::SigningKey::from_slice(secret).unwrap();
    let expected = |message: &Vec<u8>| key.sign_raw(message, &[0; 32]).unwrap().to_bytes();
    let mut batch = Batch::new(messages.to_vec());
    let public = key.verifying_key().to_bytes().into();
    Schnorr::new(key.as_nonzero_scalar(), &public).sign(&mut batch, never);
    compare("schnorr", &batch, expected);
}

fn compare(scheme: &str, batch: &Batch, expected: impl Fn(&Vec<u8>) -> [u8; 64]) {
    for (i, message) in batch.messages.iter().enumerate() {
        let count = batch.count();
        assert_eq!(
            batch.signatures[i],
            message.as_ref().map(&expected),
            "{scheme}, record {i} of {count}: {message:02x?}"
        );
        let status = if message.is_some() { Ok(()) } else { Err(Status::BadArgument) };
        assert_eq!(batch.statuses[i], Some(status), "{scheme}, record {i} of {count}");
    }
}

#[test]
fn batches_of_every_size_have_the_signatures_of_k256() {
    let mut random = Random(1);
    for count in (1..=CHUNK + 3).chain([2 * CHUNK, 2 * CHUNK + 1]) {
        let messages: Vec<_> = (0..count).map(|_| random.word() as usize % 201).collect();
        let messages: Vec<_> = messages.into_iter().map(|len| Some(random.bytes(len))).collect();
        check(&random.bytes(32), &messages);
    }
}

#[test]
fn messages_of_every_length_around_a_block_are_padded_right() {
    let mut random = Random(2);
    let secret = random.bytes(32);
    let messages: Vec<_> = (0..=200).map(|len| Some(random.bytes(len))).collect();
    check(&secret, &messages);
}

#[test]
fn keys_at_the_ends_of_their_range_sign_alike() {
    let smallest = NonZeroScalar::new(k256::Scalar::ONE).unwrap();
    let largest = NonZeroScalar::new(-k256::Scalar::ONE).unwrap();
    for key in [smallest, largest] {
        let messages = [Some(b"one".to_vec()), Some(b"another".to_vec())];
        check(&key.to_bytes(), &messages);
    }
}

#[test]
fn a_refused_record_leaves_its_neighbours_alone_wherever_it_stands() {
    let mut random = Random(3);
    let secret = random.bytes(32);
    for refused in 0..CHUNK + 1 {
        let messages: Vec<_> = (0..CHUNK + 1).map(|i| (i != refused).then(|| random.bytes(50))).collect();
        check(&secret, &messages);
    }
    check(&secret, &[None]);
    check(&secret, &[None, None]);
    check(&secret, &[]);
}
