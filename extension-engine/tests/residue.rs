//! What is in an instance's memory when it shouldn't be: nothing of a message, a nonce or an intermediate after a reset,
//! and nothing of a key after another one has taken its place. All of the memory is searched, the shadow stack included.
//!
//! Nonces are computed from the signatures and the key, independently of how the extensions have made them.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{Random, Subject, batch, sign, subjects};
use extension_engine::{Batch, ExtensionEngine, ExtensionKind};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::ops::Reduce;
use k256::{FieldBytes, Scalar};
use sha2::{Digest, Sha256};

/// Halves of `bytes` in all orders that they may be kept in: bytes, 32-bit and 64-bit words, each from either end.
fn forms(what: &str, bytes: &[u8; 32]) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    for word in [1, 4, 8] {
        let words: Vec<&[u8]> = bytes.chunks(word).collect();
        let swapped = || words.iter().flat_map(|word| word.iter().rev().copied());
        let orders: [(&str, Vec<u8>); 4] = [
            ("as it is", bytes.to_vec()),
            ("reversed", bytes.iter().rev().copied().collect()),
            ("words reversed", words.iter().rev().flat_map(|word| word.iter().copied()).collect()),
            ("bytes of words reversed", swapped().collect()),
        ];
        for (order, bytes) in orders {
            for (half, part) in [("first", &bytes[..16]), ("second", &bytes[16..])] {
                forms.push((format!("{what}, {order}, words of {word}, {half} half"), part.to_vec()));
            }
        }
    }
    forms
}

fn of_scalar(what: &str, scalar: Scalar) -> Vec<(String, Vec<u8>)> {
    let negated = format!("{what}, negated");
    [forms(what, &scalar.to_repr().into()), forms(&negated, &(-scalar).to_repr().into())].concat()
}

/// Every 16 bytes of `bytes`.
fn windows(what: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    bytes.chunks_exact(16).map(|part| (what.to_owned(), part.to_vec())).collect()
}

fn found<'a>(memory: &[u8], forms: &'a [(String, Vec<u8>)]) -> Option<&'a str> {
    // Each form is 16 bytes long: most places are ruled out by their first.
    let mut starts = [const { Vec::new() }; 256];
    for (what, form) in forms {
        assert!(form.iter().any(|byte| *byte != 0), "{what} would be found anywhere");
        starts[usize::from(form[0])].push((what, form));
    }
    memory.windows(16).find_map(|window| {
        let hit = starts[usize::from(window[0])].iter().find(|(_, form)| form.as_slice() == window);
        hit.map(|(what, _)| what.as_str())
    })
}

fn scalar(bytes: &[u8]) -> Scalar {
    Scalar::reduce(&FieldBytes::try_from(bytes).unwrap())
}

/// What signing `message` has made that nobody may see.
fn secrets_of(name: &str, secret: &[u8; 32], message: &[u8], signature: &[u8]) -> Vec<(String, Vec<u8>)> {
    let d = scalar(secret);
    let (first, s) = signature.split_at(32);
    let s = scalar(s);
    let digest: [u8; 32] = Sha256::digest(message).into();
    if name == "ecdsa" {
        let (r, z) = (scalar(first), scalar(&digest));
        // s = (z + r d) / k, up to its sign.
        let k = (z + r * d) * s.invert().unwrap();
        [
            of_scalar("nonce", k),
            of_scalar("inverted nonce", k.invert().unwrap()),
            of_scalar("r d", r * d),
            of_scalar("z + r d", z + r * d),
            forms("digest", &digest),
        ]
        .concat()
    } else {
        let point = k256::schnorr::SigningKey::from_slice(secret).unwrap();
        let tag = Sha256::digest(b"BIP0340/challenge");
        let hash = Sha256::new()
            .chain_update(tag)
            .chain_update(tag)
            .chain_update(first)
            .chain_update(point.verifying_key().to_bytes())
            .chain_update(message);
        let e = scalar(&hash.finalize());
        // s = k + e d, where the key is the one of the two with an even point.
        let keys = [d, -d];
        let nonces = keys.map(|d| of_scalar("nonce", s - e * d)).concat();
        let products = keys.map(|d| of_scalar("e d", e * d)).concat();
        [nonces, products, of_scalar("challenge", e)].concat()
    }
}

fn for_each_module(test: impl Fn(&str, &Subject)) {
    for name in ["ecdsa", "schnorr"] {
        for subject in subjects(name).iter().filter(|subject| subject.program.module().is_some()) {
            println!("{name} on {}", subject.label);
            test(name, subject);
        }
    }
}

fn assert_none(engine: &mut dyn ExtensionEngine, forms: &[(String, Vec<u8>)]) {
    assert_eq!(found(engine.memory().unwrap(), forms), None);
}

#[test]
fn what_is_looked_for_would_be_found() {
    let bytes: [u8; 32] = Random(1).bytes(32).try_into().unwrap();
    let mut reversed = bytes.to_vec();
    reversed.reverse();
    let swapped: Vec<u8> = bytes.chunks(4).rev().flatten().copied().collect();
    for form in [&bytes[..], &reversed, &swapped] {
        let memory = [&[0; 1001][..], form, &[0; 50]].concat();
        assert!(found(&memory, &forms("it", &bytes)).is_some());
    }
    assert_eq!(found(&[0; 1000], &forms("it", &bytes)), None);
    // And what a module has before its reset is there.
    for_each_module(|_, subject| {
        let mut engine = subject.instance();
        engine.set_key(&[7; 32]).unwrap();
        let message = Random(2).bytes(64);
        engine.run(ExtensionKind::Sign, &mut batch(&[&message])).unwrap();
        assert!(found(engine.memory().unwrap(), &windows("message", &message)).is_some());
    });
}

#[test]
fn after_a_reset_nothing_of_a_batch_is_left() {
    for_each_module(|name, subject| {
        let mut random = Random(3);
        let mut engine = subject.instance();
        let secret = random.secret();
        engine.set_key(&secret).unwrap();
        for lengths in [&[64][..], &[0, 32, 100, 257], &[40; 35], &[5000]] {
            let messages: Vec<Vec<u8>> = lengths.iter().map(|len| random.bytes(*len)).collect();
            let signatures = sign(&mut *engine, &messages);
            for (message, signature) in messages.iter().zip(&signatures) {
                let secrets = secrets_of(name, &secret, message, signature);
                assert_none(&mut *engine, &[secrets, windows("message", message)].concat());
                assert_none(&mut *engine, &windows("signature", signature));
            }
        }
        // And of one that was larger than the buffer, nor where its buffer was before.
        let message = random.bytes(200_000);
        let signature = &sign(&mut *engine, &[&message])[0];
        let secrets = secrets_of(name, &secret, &message, signature);
        assert_none(&mut *engine, &[secrets, windows("message", &message)].concat());
    });
}

#[test]
fn after_an_error_nothing_of_a_batch_is_left() {
    for_each_module(|_, subject| {
        let mut random = Random(4);
        let mut engine = subject.instance();
        engine.set_key(&random.secret()).unwrap();
        let messages = [random.secret(), random.secret()];
        engine.run(ExtensionKind::SetKey, &mut batch(&messages)).unwrap_err();
        for message in &messages {
            assert_none(&mut *engine, &of_scalar("refused key", scalar(message)));
        }
    });
}

#[test]
fn after_a_rotation_no_form_of_the_old_key_is_left() {
    for_each_module(|_, subject| {
        let mut random = Random(5);
        let (old, new) = (random.secret(), random.secret());
        let old_forms = of_scalar("old key", scalar(&old));
        let mut engine = subject.instance();
        engine.set_key(&old).unwrap();
        assert!(found(engine.memory().unwrap(), &old_forms).is_some(), "it is one of these forms");
        sign(&mut *engine, &[b"with the old one"]);
        engine.set_key(&new).unwrap();
        assert_none(&mut *engine, &old_forms);
        let first = sign(&mut *engine, &[b"with the new one"]);
        assert_none(&mut *engine, &old_forms);
        // Restored from a backup, which is the new key's.
        engine.run(ExtensionKind::SetKey, &mut batch(&[[1; 32], [1; 32]])).unwrap_err();
        assert_none(&mut *engine, &old_forms);
        assert_eq!(sign(&mut *engine, &[b"with the new one"]), first);
        // And in a larger buffer.
        let mut long = Batch::new(1, 300_000, 64).unwrap();
        long.push(300_000, |_| ()).unwrap();
        engine.run(ExtensionKind::Sign, &mut long).unwrap();
        engine.reset().unwrap();
        assert_none(&mut *engine, &old_forms);
        assert_eq!(sign(&mut *engine, &[b"with the new one"]), first);
    });
}
