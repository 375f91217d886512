//! Same key, same messages: the same bytes from every runtime, every variant, k256's own interface and libsecp256k1.
//!
//! A runtime that computes one carry wrongly signs with a wrong nonce now and then; seen by a verifier that is a failed
//! message, seen by an attacker it is the key.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{Random, batch, sign, subjects, verify};
use extension_engine::ExtensionKind;
use k256::ecdsa::signature::Signer;
use secp256k1::{Keypair, Message, SecretKey};
use sha2::{Digest, Sha256};

const SEED: u64 = 20_261_120;

/// One message of each length up to 1,024 bytes.
fn messages() -> Vec<Vec<u8>> {
    let mut random = Random(SEED);
    (0..=1024).map(|len| random.bytes(len)).collect()
}

fn assert_all_sign(name: &str, secret: [u8; 32], messages: &[Vec<u8>], expected: &[Vec<u8>]) {
    for subject in subjects(name) {
        let mut engine = subject.instance();
        engine.set_key(&secret).unwrap();
        let signatures: Vec<_> = messages.chunks(64).flat_map(|chunk| sign(&mut *engine, chunk)).collect();
        for ((message, signature), expected) in messages.iter().zip(&signatures).zip(expected) {
            assert_eq!(
                hex::encode(signature),
                hex::encode(expected),
                "{name} on {}, seed {SEED}, {} bytes",
                subject.label,
                message.len()
            );
        }
        assert_eq!(signatures.len(), expected.len());
        println!("{name} on {}: {} signatures as expected", subject.label, signatures.len());
    }
}

#[test]
fn ecdsa_signatures_are_the_same_everywhere() {
    let (messages, secret) = (messages(), Random(SEED ^ 1).secret());
    let direct = k256::ecdsa::SigningKey::from_slice(&secret).unwrap();
    let independent = SecretKey::from_secret_bytes(secret).unwrap();
    let sign = |message: &Vec<u8>| {
        let signature: k256::ecdsa::Signature = direct.sign(message);
        let digest = Message::from_digest(Sha256::digest(message).into());
        let same = secp256k1::ecdsa::sign(digest, &independent).serialize_compact();
        assert_eq!(signature.to_bytes().as_slice(), same, "k256 and libsecp256k1, {} bytes", message.len());
        same.to_vec()
    };
    let expected: Vec<_> = messages.iter().map(sign).collect();
    assert_all_sign("ecdsa", secret, &messages, &expected);
}

#[test]
fn schnorr_signatures_are_the_same_everywhere() {
    let (messages, secret) = (messages(), Random(SEED ^ 2).secret());
    let direct = k256::schnorr::SigningKey::from_slice(&secret).unwrap();
    let independent = Keypair::from_secret_bytes(secret).unwrap();
    let sign = |message: &Vec<u8>| {
        let signature = direct.sign_raw(message, &[0; 32]).unwrap().to_bytes();
        let same = secp256k1::schnorr::sign_with_aux_rand(message, &independent, &[0; 32]).to_byte_array();
        assert_eq!(signature.as_slice(), same, "k256 and libsecp256k1, {} bytes", message.len());
        same.to_vec()
    };
    let expected: Vec<_> = messages.iter().map(sign).collect();
    assert_all_sign("schnorr", secret, &messages, &expected);
}

#[test]
fn many_keys_sign_the_same_everywhere() {
    for name in ["ecdsa", "schnorr"] {
        let mut engines: Vec<_> =
            subjects(name).iter().map(|subject| (subject, subject.instance())).collect();
        let mut random = Random(SEED ^ 3);
        for i in 0..50 {
            let (secret, message) = (random.secret(), random.bytes(40));
            let expected = if name == "ecdsa" {
                let digest = Message::from_digest(Sha256::digest(&message).into());
                secp256k1::ecdsa::sign(digest, &SecretKey::from_secret_bytes(secret).unwrap())
                    .serialize_compact()
            } else {
                let pair = Keypair::from_secret_bytes(secret).unwrap();
                secp256k1::schnorr::sign_with_aux_rand(&message, &pair, &[0; 32]).to_byte_array()
            };
            for (subject, engine) in &mut engines {
                engine.set_key(&secret).unwrap();
                let signature = &sign(&mut **engine, &[&message])[0];
                assert_eq!(signature[..], expected, "{name} on {}, seed {SEED}, key {i}", subject.label);
            }
        }
    }
}

#[test]
fn verdicts_and_digests_are_the_same_everywhere() {
    let mut random = Random(SEED ^ 4);
    let messages: Vec<_> = (0..1024).step_by(37).map(|len| random.bytes(len)).collect();
    for name in ["ecdsa", "schnorr"] {
        let mut verdicts = Vec::new();
        for subject in subjects(name) {
            let mut engine = subject.instance();
            let key = engine.set_key(&[9; 32]).unwrap();
            let mut damage = Random(SEED ^ 5);
            let mut seen = Vec::new();
            for (message, mut signature) in messages.iter().zip(sign(&mut *engine, &messages)) {
                assert_eq!(verify(&mut *engine, message, &signature, &key), Ok(()), "{}", subject.label);
                signature[damage.word() as usize % 64] ^= 1 << (damage.word() % 8);
                seen.push(verify(&mut *engine, message, &signature, &key));
            }
            assert!(seen.iter().all(Result::is_err), "{}", subject.label);
            let mut digests = batch(&messages);
            engine.run(ExtensionKind::Hash, &mut digests).unwrap();
            let digests = (0..digests.len()).map(|i| (digests.status(i), digests.output(i).to_vec()));
            verdicts.push((seen, digests.collect::<Vec<_>>()));
        }
        assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
}
