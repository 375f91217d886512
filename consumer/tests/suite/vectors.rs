//! Other people's test vectors, read from `shared/vectors` beside the checkout where that folder is.
//!
//! Wycheproof calls an ECDSA signature with a high s valid; the consumer doesn't (see `consumer::verify`).

use std::fs;
use std::path::PathBuf;

use cli::Method;
use consumer::record::{Batch, Outcome};
use consumer::trusted_key::TrustedKey;
use consumer::verify::{VerifierChoice, VerifierPlan};
use extension_engine::Runtime;
use serde_json::Value;

const CHOICES: [VerifierChoice; 3] =
    [VerifierChoice::Secp256k1, VerifierChoice::K256, VerifierChoice::Extension(Runtime::Native)];

/// (n - 1) / 2 for the group order n.
const HALF_ORDER: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

fn read(name: &str) -> Option<String> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")).join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(fs::read_to_string(path).unwrap())
}

fn is_verified(
    choice: VerifierChoice,
    key: &TrustedKey,
    method: Method,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let mut batch = Batch::new(1, message.len());
    let record = batch.push().unwrap();
    record.method = method;
    record.message.extend_from_slice(message);
    record.signature.extend_from_slice(signature);
    let plan = VerifierPlan::new(choice, &[*key], message.len(), true).unwrap();
    plan.verifier().unwrap().verify(&mut batch).unwrap();
    batch.records()[0].outcome == Outcome::Verified
}

#[test]
fn bip340_vectors() {
    let Some(text) = read("bip340/test-vectors.csv") else { return };
    let mut ran = 0;
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let [index, _, public_key, _, message, signature, result] = fields[..7].try_into().unwrap();
        let [message, signature] = [message, signature].map(|field| hex::decode(field).unwrap());
        let mut compressed = [2; 33];
        hex::decode_to_slice(public_key, &mut compressed[1..]).unwrap();
        for choice in CHOICES {
            // A key that is no point is refused before any signature is looked at.
            let verified = TrustedKey::from_compressed(compressed)
                .is_ok_and(|key| is_verified(choice, &key, Method::Schnorr, &message, &signature));
            assert_eq!(verified, result == "TRUE", "case {index}, {choice}");
        }
        ran += 1;
    }
    println!("BIP340: {ran} cases through {} verifiers", CHOICES.len());
    assert_eq!(ran, 19);
}

#[test]
fn wycheproof_vectors() {
    let Some(text) = read("wycheproof/ecdsa_secp256k1_sha256_p1363_test.json") else { return };
    let file: Value = serde_json::from_str(&text).unwrap();
    let decode = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let (mut ran, mut refused_for_high_s) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let uncompressed = decode(&group["publicKey"]["uncompressed"]);
        let key = secp256k1::PublicKey::from_slice(&uncompressed).unwrap();
        let key = TrustedKey::from_compressed(key.serialize()).unwrap();
        for case in group["tests"].as_array().unwrap() {
            let (message, signature) = (decode(&case["msg"]), decode(&case["sig"]));
            let is_valid = case["result"] == "valid";
            let is_high_s = signature.get(32..).is_some_and(|s| s > &hex::decode(HALF_ORDER).unwrap()[..]);
            for choice in CHOICES {
                let verified = is_verified(choice, &key, Method::Ecdsa, &message, &signature);
                assert_eq!(verified, is_valid && !is_high_s, "case {}, {choice}", case["tcId"]);
            }
            ran += 1;
            refused_for_high_s += usize::from(is_valid && is_high_s);
        }
    }
    println!(
        "Wycheproof: {ran} cases through {} verifiers, {refused_for_high_s} of them refused for a high s alone",
        CHOICES.len()
    );
    assert_eq!((ran, refused_for_high_s), (252, 72));
}
