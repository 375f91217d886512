//! One suite over all runtimes, methods and variants: whatever runs an extension, it must behave alike.
//!
//! Signatures are checked by libsecp256k1, which shares no code with the extensions.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{Random, Subject, batch, sign, subjects, verify};
use extension_engine::{Batch, EngineError, ExtensionKind, RecordError, Runtime, Settings, Status, compile};
use secp256k1::{Keypair, Message, PublicKey, SecretKey, XOnlyPublicKey, ecdsa, schnorr};
use sha2::{Digest, Sha256};

/// What is expected of a method.
struct Method {
    name: &'static str,
    public_key: fn([u8; 32]) -> Vec<u8>,
    verifies: fn(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool,
}

const METHODS: [Method; 2] = [
    Method {
        name: "ecdsa",
        public_key: |secret| {
            let secret = SecretKey::from_secret_bytes(secret).unwrap();
            PublicKey::from_secret_key(&secret).serialize().to_vec()
        },
        verifies: |public_key, message, signature| {
            let key = PublicKey::from_slice(public_key).unwrap();
            let message = Message::from_digest(Sha256::digest(message).into());
            ecdsa::Signature::from_compact(signature).is_ok_and(|s| s.verify(message, &key).is_ok())
        },
    },
    Method {
        name: "schnorr",
        public_key: |secret| {
            let pair = Keypair::from_secret_bytes(secret).unwrap();
            XOnlyPublicKey::from_keypair(&pair).0.to_byte_array().to_vec()
        },
        verifies: |public_key, message, signature| {
            let key = XOnlyPublicKey::from_byte_array(public_key.try_into().unwrap()).unwrap();
            let signature = signature.try_into().map(schnorr::Signature::from_byte_array);
            signature.is_ok_and(|signature| signature.verify(message, &key).is_ok())
        },
    },
];

const SECRET: [u8; 32] = [0x5e; 32];

/// The order of the group, minus one: the greatest secret key.
const ORDER_MINUS_ONE: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x40,
];

/// Calls `test` with each method on each subject, naming the subject if it fails.
fn for_each(test: impl Fn(&Method, &Subject)) {
    for method in &METHODS {
        for subject in subjects(method.name) {
            println!("{} on {}", method.name, subject.label);
            test(method, subject);
        }
    }
}

fn failed(status: Status) -> Result<(), RecordError> {
    Err(RecordError::Failed(status))
}

#[test]
fn a_key_gives_the_public_key_that_belongs_to_it() {
    let mut random = Random(1);
    let mut one = [0; 32];
    one[31] = 1;
    let secrets = [one, ORDER_MINUS_ONE, random.secret(), random.secret()];
    for_each(|method, subject| {
        let mut engine = subject.instance();
        for secret in secrets {
            assert_eq!(engine.set_key(&secret).unwrap(), (method.public_key)(secret));
        }
    });
}

#[test]
fn zero_and_the_group_order_are_no_keys_and_leave_the_earlier_one_installed() {
    let mut order = ORDER_MINUS_ONE;
    order[31] += 1;
    for_each(|method, subject| {
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        for bad in [[0; 32], order, [0xff; 32]] {
            let error = engine.set_key(&bad).unwrap_err();
            assert!(
                matches!(error, EngineError::Key(RecordError::Failed(Status::InvalidKey))),
                "{error} for {bad:x?}"
            );
        }
        let signature = &sign(&mut *engine, &[b"still here"])[0];
        assert!((method.verifies)(&(method.public_key)(SECRET), b"still here", signature));
    });
}

#[test]
fn signatures_verify_elsewhere_and_here_and_bad_ones_nowhere() {
    let messages = [&b""[..], b"a", b"The quick brown fox", &[0xa5; 4096]];
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let key = engine.set_key(&SECRET).unwrap();
        for (message, signature) in messages.into_iter().zip(sign(&mut *engine, &messages)) {
            assert!((method.verifies)(&key, message, &signature), "message of {} bytes", message.len());
            assert_eq!(verify(&mut *engine, message, &signature, &key), Ok(()));
            let invalid = failed(Status::InvalidSignature);
            assert_eq!(verify(&mut *engine, b"another", &signature, &key), invalid);
            for byte in [0, 31, 32, 63] {
                let mut bad = signature.clone();
                bad[byte] ^= 1;
                assert_eq!(verify(&mut *engine, message, &bad, &key), invalid, "byte {byte}");
            }
            for len in [0, 1, 63] {
                assert_eq!(verify(&mut *engine, message, &signature[..len], &key), invalid, "{len} bytes");
            }
            let long = [&signature[..], &[0]].concat();
            assert_eq!(verify(&mut *engine, message, &long, &key), invalid);
            let mut other = SECRET;
            other[0] ^= 1;
            let other = (method.public_key)(other);
            assert_eq!(verify(&mut *engine, message, &signature, &other), invalid);
            // All bits set: an encoding that no point has.
            let no_point = vec![0xff; key.len()];
            assert_eq!(
                verify(&mut *engine, message, &signature, &no_point),
                failed(Status::InvalidPublicKey)
            );
        }
    });
}

#[test]
fn batches_of_none_one_and_many_are_answered_record_by_record() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let key = engine.set_key(&SECRET).unwrap();
        for count in [0, 1, 2, 33] {
            let messages: Vec<Vec<u8>> = (0..count).map(|i| vec![i as u8; i * 7]).collect();
            let signatures = sign(&mut *engine, &messages);
            assert_eq!(signatures.len(), count);
            for (message, signature) in messages.iter().zip(&signatures) {
                assert!((method.verifies)(&key, message, signature), "message of {} bytes", message.len());
            }
        }
    });
}

#[test]
fn a_batch_used_again_shows_nothing_of_its_last_use() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let key = engine.set_key(&SECRET).unwrap();
        let mut batch = Batch::new(3, 64, 64).unwrap();
        for round in 0..3_u8 {
            batch.clear();
            for i in 0..3 - round {
                let len = usize::from(64 - 20 * round - i);
                batch.push(len, |message| message.fill(round * 3 + i)).unwrap();
            }
            let last = batch.len() - 1;
            assert_eq!(batch.status(last), Err(RecordError::NotRun));
            assert!(batch.output(last).is_empty());
            engine.run(ExtensionKind::Sign, &mut batch).unwrap();
            for i in 0..batch.len() {
                assert!((method.verifies)(&key, batch.message(i), batch.output(i)));
            }
            engine.reset().unwrap();
        }
    });
}

#[test]
fn a_bad_record_fails_alone() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let key = engine.set_key(&SECRET).unwrap();
        let signature = &sign(&mut *engine, &[b"good"])[0];
        let mut batch = Batch::new(5, 8, 64).unwrap();
        batch.push_verify(b"good", signature, &key).unwrap();
        batch.push_verify(b"bad", signature, &key).unwrap();
        batch.push_verify(b"good", &signature[..10], &key).unwrap();
        batch.push_verify(b"good", signature, &[0xff; 33]).unwrap();
        batch.push_verify(b"good", signature, &key).unwrap();
        engine.run(ExtensionKind::Verify, &mut batch).unwrap();
        let invalid = failed(Status::InvalidSignature);
        let expected = [Ok(()), invalid, invalid, failed(Status::InvalidPublicKey), Ok(())];
        assert_eq!([0, 1, 2, 3, 4].map(|i| batch.status(i)), expected, "{} {}", method.name, subject.label);
        assert!((0..5).all(|i| batch.output(i).is_empty()), "verifying has no output");
    });
}

#[test]
fn without_a_key_nothing_is_signed_but_signatures_are_verified() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let mut batch = batch(&[b"one", b"two"]);
        engine.run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!([0, 1].map(|i| batch.status(i)), [failed(Status::NoKey); 2]);
        assert!(batch.output(0).is_empty());
        let mut signer = subject.instance();
        let key = signer.set_key(&SECRET).unwrap();
        let signature = &sign(&mut *signer, &[b"one"])[0];
        assert_eq!(verify(&mut *engine, b"one", signature, &key), Ok(()), "{}", method.name);
    });
}

#[test]
fn too_little_room_is_a_status_and_not_half_a_signature() {
    for_each(|_, subject| {
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        for room in [0, 1, 63] {
            let mut batch = Batch::new(1, 4, room).unwrap();
            batch.push(4, |message| message.fill(1)).unwrap();
            engine.run(ExtensionKind::Sign, &mut batch).unwrap();
            assert_eq!(batch.status(0), failed(Status::OutputTooSmall), "{room} bytes");
            assert!(batch.output(0).is_empty());
        }
    });
}

#[test]
fn ecdsa_hashes_with_sha256_and_schnorr_not_at_all() {
    for (name, expected) in [("ecdsa", Ok(())), ("schnorr", failed(Status::UnsupportedKind))] {
        for subject in subjects(name) {
            let mut batch = batch(&[b"abc"]);
            subject.instance().run(ExtensionKind::Hash, &mut batch).unwrap();
            assert_eq!(batch.status(0), expected, "{}", subject.label);
            let digest: &[u8] = &Sha256::digest(b"abc");
            assert_eq!(batch.output(0), if expected.is_ok() { digest } else { &[] });
        }
    }
}

#[test]
fn a_kind_that_nobody_does_yet_is_refused_record_by_record() {
    for_each(|_, subject| {
        for kind in [ExtensionKind::Validator, ExtensionKind::Projector] {
            let mut batch = batch(&[b"x"]);
            subject.instance().run(kind, &mut batch).unwrap();
            assert_eq!(batch.status(0), failed(Status::UnsupportedKind));
        }
    });
}

#[test]
fn two_keys_at_once_are_refused_as_a_whole_and_nothing_of_the_last_run_is_left() {
    for_each(|_, subject| {
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        let mut batch = batch(&[SECRET, SECRET]);
        engine.run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!((batch.status(0), batch.output(0).len()), (Ok(()), 64));
        let error = engine.run(ExtensionKind::SetKey, &mut batch).unwrap_err();
        assert!(matches!(*error, EngineError::Refused(Status::BadArgument)), "{error}");
        assert_eq!((batch.status(0), batch.output(0)), (Err(RecordError::NotRun), &[][..]));
    });
}

#[test]
fn a_reset_keeps_the_key_and_a_long_life_changes_nothing() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        let first = sign(&mut *engine, &[b"the same"]);
        for _ in 0..20 {
            engine.reset().unwrap();
            assert_eq!(sign(&mut *engine, &[b"the same"]), first, "{}", method.name);
        }
    });
}

#[test]
fn instances_of_one_program_share_no_key() {
    for_each(|method, subject| {
        let (mut one, mut two) = (subject.instance(), subject.instance());
        let key = one.set_key(&SECRET).unwrap();
        let mut batch = batch(&[b"mine"]);
        two.run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!(batch.status(0), failed(Status::NoKey));
        two.set_key(&ORDER_MINUS_ONE).unwrap();
        drop(two);
        assert!((method.verifies)(&key, b"mine", &sign(&mut *one, &[b"mine"])[0]));
    });
}

#[test]
fn a_program_makes_instances_on_other_threads() {
    for_each(|method, subject| {
        std::thread::scope(|scope| {
            let run = || {
                let mut engine = subject.instance();
                let key = engine.set_key(&SECRET).unwrap();
                (method.verifies)(&key, b"there", &sign(&mut *engine, &[b"there"])[0])
            };
            let threads = [scope.spawn(run), scope.spawn(run)];
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    });
}

#[test]
fn a_batch_larger_than_the_first_buffer_is_run_too() {
    for_each(|method, subject| {
        let mut engine = subject.instance();
        let key = engine.set_key(&SECRET).unwrap();
        let message = vec![7; 300_000];
        assert!((method.verifies)(&key, &message, &sign(&mut *engine, &[&message])[0]));
        assert!((method.verifies)(&key, b"small", &sign(&mut *engine, &[b"small"])[0]));
    });
}

#[test]
fn the_null_extension_signs_with_nothing_and_accepts_everything() {
    for subject in subjects("null") {
        let mut engine = subject.instance();
        assert!(engine.set_key(&[0; 32]).unwrap().is_empty(), "{}", subject.label);
        assert_eq!(sign(&mut *engine, &[b"a", b"b"]), [b"", b""]);
        assert_eq!(verify(&mut *engine, b"a", &[], &[]), Ok(()));
    }
}

#[test]
fn a_name_that_is_not_the_modules_is_refused() {
    for &runtime in common::runtimes() {
        let error = compile(runtime, "ecdsb", None, &Settings::default()).err().unwrap();
        assert!(matches!(error, EngineError::UnknownExtension(_)), "{error}");
    }
    let schnorr = common::module("schnorr", extension_engine::Variant::Base);
    for subject in common::on_all("ecdsa", &schnorr) {
        let mut batch = batch(&[b"x"]);
        let error = subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap_err();
        assert!(matches!(*error, EngineError::Refused(Status::UnknownExtension)), "{error}");
    }
}

#[test]
fn a_module_for_the_native_runtime_is_refused_rather_than_ignored() {
    let module = common::module("ecdsa", extension_engine::Variant::Base);
    let error = compile(Runtime::Native, "ecdsa", Some(&module), &Settings::default()).err().unwrap();
    assert!(matches!(error, EngineError::NativeModule(_)), "{error}");
}

#[test]
fn a_program_tells_what_it_was_made_from() {
    for_each(|_, subject| {
        let of = |program: &dyn extension_engine::Program| {
            (program.runtime(), program.module_sha256(), program.module().map(|module| module.sha256()))
        };
        let (runtime, sha256, of_module) = of(&*subject.program);
        assert_eq!((runtime, sha256), (subject.runtime, of_module));
        assert_eq!(sha256.is_none(), runtime == Runtime::Native);
    });
}
