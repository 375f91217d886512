//! Records as a signer leaves them, signed by libsecp256k1.

use cli::Method;
use consumer::record::{Batch, Record, Times};
use consumer::trusted_key::TrustedKey;
use secp256k1::{Keypair, Message, SecretKey};
use sha2::{Digest, Sha256};

/// The byte that the secret key of [`sign`] consists of.
const SECRET: u8 = 7;

/// The public key of [`sign`].
pub fn trusted_key() -> TrustedKey {
    key_of(SECRET)
}

/// The public key of the secret key that consists of 32 times this byte.
pub fn key_of(secret: u8) -> TrustedKey {
    TrustedKey::from_compressed(keypair(secret).public_key().serialize()).unwrap()
}

fn keypair(secret: u8) -> Keypair {
    Keypair::from_secret_key(&SecretKey::from_secret_bytes([secret; 32]).unwrap())
}

/// Fills `record` with a message of its own, signed with `method`, and times in order.
pub fn fill(record: &mut Record, sequence: u64, method: Method) {
    record.sequence = sequence;
    record.position = sequence;
    record.source = "generator".into();
    record.runtime = "native";
    record.method = method;
    record.message.extend_from_slice(format!("message {sequence}").as_bytes());
    record.times = Times {
        intended_ns: 1_000 * sequence,
        written_ns: 1_000 * sequence + 100,
        claimed_ns: 1_000 * sequence + 200,
        signed_ns: 1_000 * sequence + 300,
        verified_ns: 0,
    };
    sign(record);
}

/// Signs the record's message as its method has it.
pub fn sign(record: &mut Record) {
    record.signature = signature(record.method, &record.message);
}

/// The signature of `message` as `method` has it.
pub fn signature(method: Method, message: &[u8]) -> Vec<u8> {
    signature_by(SECRET, method, message)
}

/// The same by another secret key: see [`key_of`].
pub fn signature_by(secret: u8, method: Method, message: &[u8]) -> Vec<u8> {
    match method {
        Method::Ecdsa => {
            let digest = Message::from_digest(Sha256::digest(message).into());
            secp256k1::ecdsa::sign(digest, &keypair(secret).secret_key()).serialize_compact().to_vec()
        }
        Method::Schnorr => {
            secp256k1::schnorr::sign_no_aux_rand(message, &keypair(secret)).to_byte_array().to_vec()
        }
        Method::Null => Vec::new(),
    }
}

/// A batch of `methods`' records, in that order, from sequence 0.
pub fn batch(methods: &[Method]) -> Batch {
    let mut batch = Batch::new(methods.len(), 64);
    for (sequence, method) in (0..).zip(methods) {
        fill(batch.push().unwrap(), sequence, *method);
    }
    batch
}
