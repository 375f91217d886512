//! A signature that is altered, missing, of another message or of another method must never be taken for good,
//! whoever verifies; and all verifiers must say the same.

use cli::{Exit, Method};
use consumer::record::{Batch, Outcome, Record};
use consumer::trusted_key::TrustedKey;
use consumer::verify::{VerifierChoice, VerifierPlan};
use extension_engine::Runtime;

use crate::signed;

const MESSAGE_CAPACITY: usize = 256;

/// Every verifier of this build that looks at signatures.
fn choices() -> Vec<VerifierChoice> {
    let runtimes = Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok());
    [VerifierChoice::Secp256k1, VerifierChoice::K256]
        .into_iter()
        .chain(runtimes.map(VerifierChoice::Extension))
        .collect()
}

fn verify_under(key: &TrustedKey, choice: VerifierChoice, batch: &mut Batch) {
    let plan = VerifierPlan::new(choice, &[*key], MESSAGE_CAPACITY, true).unwrap();
    plan.verifier().unwrap().verify(batch).unwrap();
}

/// The outcomes of ECDSA and Schnorr records, in turn, after `alter` had its way with each.
fn outcomes(choice: VerifierChoice, alter: impl Fn(&mut Record)) -> Vec<Outcome> {
    // More records than an extension gets at once.
    let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr].repeat(20));
    batch.records_mut().iter_mut().for_each(alter);
    verify_under(&signed::trusted_key(), choice, &mut batch);
    batch.records().iter().map(|record| record.outcome).collect()
}

#[test]
fn good_signatures_of_both_methods_in_one_batch_verify() {
    for choice in choices() {
        assert_eq!(outcomes(choice, |_| ()), [Outcome::Verified; 40], "{choice}");
    }
}

#[test]
fn altered_records_do_not_verify() {
    type Alteration = (&'static str, fn(&mut Record));
    let alterations: [Alteration; 9] = [
        ("a bit of the message", |record| record.message[0] ^= 1),
        ("a longer message", |record| record.message.push(0)),
        ("a bit of r", |record| record.signature[31] ^= 1),
        ("a bit of s", |record| record.signature[63] ^= 1),
        ("no signature", |record| record.signature.clear()),
        ("a short signature", |record| record.signature.truncate(63)),
        ("a long signature", |record| record.signature.push(0)),
        ("all zeros", |record| record.signature.fill(0)),
        ("all ones", |record| record.signature.fill(0xff)),
    ];
    for choice in choices() {
        for (what, alter) in alterations {
            assert_eq!(outcomes(choice, alter), [Outcome::NotVerified; 40], "{choice}: {what}");
        }
    }
}

#[test]
fn the_other_methods_signature_does_not_verify() {
    let swap = |record: &mut Record| {
        record.method = if record.method == Method::Ecdsa { Method::Schnorr } else { Method::Ecdsa };
    };
    for choice in choices() {
        assert_eq!(outcomes(choice, swap), [Outcome::NotVerified; 40], "{choice}");
    }
}

#[test]
fn one_bad_record_does_not_spoil_its_neighbours() {
    let alterations: [fn(&mut Record); 2] =
        [|record| record.signature[5] ^= 4, |record| record.signature.truncate(10)];
    for (choice, alter) in choices().into_iter().flat_map(|choice| alterations.map(|alter| (choice, alter))) {
        let outcomes = outcomes(choice, |record| {
            if record.sequence == 17 {
                alter(record);
            }
        });
        for (sequence, outcome) in outcomes.into_iter().enumerate() {
            let expected = if sequence == 17 { Outcome::NotVerified } else { Outcome::Verified };
            assert_eq!(outcome, expected, "{choice}: record {sequence}");
        }
    }
}

#[test]
fn a_signature_of_another_key_does_not_verify() {
    // The same x coordinate with the other sign: another key to ECDSA, the same to BIP340.
    let mut compressed = *signed::trusted_key().compressed();
    compressed[0] ^= 1;
    let other = TrustedKey::from_compressed(compressed).unwrap();
    for choice in choices() {
        let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr]);
        verify_under(&other, choice, &mut batch);
        let outcomes = batch.records().iter().map(|record| record.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes, [Outcome::NotVerified, Outcome::Verified], "{choice}");
    }
}

/// The keys of a rotation: whichever signed, its number is the record's, and nobody else's signature passes.
#[test]
fn a_signature_by_any_of_the_trusted_keys_verifies_and_the_record_says_by_which() {
    let secrets = [1, 2, 3];
    let keys = secrets.map(signed::key_of);
    let signer_of = |sequence: u64| (sequence / 3) % 4;
    for choice in choices() {
        let plan = VerifierPlan::new(choice, &keys, MESSAGE_CAPACITY, true).unwrap();
        let mut verifier = plan.verifier().unwrap();
        // Twice, so that the second begins with another key than the first.
        for _ in 0..2 {
            let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr].repeat(25));
            for record in batch.records_mut() {
                // The last of the four is a stranger.
                let secret = signer_of(record.sequence) as u8 + 1;
                record.signature = signed::signature_by(secret, record.method, &record.message);
            }
            verifier.verify(&mut batch).unwrap();
            for record in batch.records() {
                let expected = match signer_of(record.sequence) {
                    3 => (Outcome::NotVerified, 0),
                    key => (Outcome::Verified, key as usize),
                };
                assert_eq!((record.outcome, record.key), expected, "{choice}: {}", record.sequence);
            }
        }
    }
}

#[test]
fn what_is_no_signature_under_one_key_is_none_under_several() {
    for choice in choices() {
        let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr].repeat(10));
        for (i, record) in batch.records_mut().iter_mut().enumerate() {
            match i % 3 {
                0 => record.signature.truncate(63),
                1 => record.signature[40] ^= 1,
                _ => record.message.push(0),
            }
        }
        let keys = [signed::key_of(1), signed::trusted_key(), signed::key_of(2)];
        let plan = VerifierPlan::new(choice, &keys, MESSAGE_CAPACITY, true).unwrap();
        plan.verifier().unwrap().verify(&mut batch).unwrap();
        assert!(batch.records().iter().all(|record| record.outcome == Outcome::NotVerified), "{choice}");
        assert!(batch.records().iter().all(|record| record.times.verified_ns > 0), "{choice}");
    }
}

#[test]
fn the_malleable_twin_of_an_ecdsa_signature_does_not_verify() {
    let twin = |record: &mut Record| {
        if record.method == Method::Ecdsa {
            let signature = k256::ecdsa::Signature::from_slice(&record.signature).unwrap();
            let (r, s) = signature.split_scalars();
            let high_s = k256::ecdsa::Signature::from_scalars(r, -s).unwrap();
            record.signature = high_s.to_bytes().to_vec();
        }
    };
    for choice in choices() {
        let outcomes = outcomes(choice, twin);
        assert_eq!(outcomes[..2], [Outcome::NotVerified, Outcome::Verified], "{choice}");
    }
}

#[test]
fn what_has_no_signature_keeps_its_outcome_whoever_verifies() {
    for choice in choices().into_iter().chain([VerifierChoice::None]) {
        let mut batch = signed::batch(&[Method::Ecdsa, Method::Null, Method::Schnorr, Method::Ecdsa]);
        let told = [Outcome::Failed(9), Outcome::Failed(-1), Outcome::Exhausted, Outcome::Void];
        for (record, outcome) in batch.records_mut().iter_mut().zip(told) {
            record.outcome = outcome;
        }
        verify_under(&signed::trusted_key(), choice, &mut batch);
        let outcomes = batch.records().iter().map(|record| record.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes, told, "{choice}");
    }
}

/// A peer that can write the ring can relabel a record; it must not get it past the verifier that way.
#[test]
fn a_record_relabelled_null_is_not_verified_unless_nobody_verifies() {
    for choice in choices() {
        let outcomes = outcomes(choice, |record| record.method = Method::Null);
        assert_eq!(outcomes, [Outcome::NotVerified; 40], "{choice}");
    }
    assert_eq!(
        outcomes(VerifierChoice::None, |record| record.method = Method::Null),
        [Outcome::Unchecked; 40]
    );
}

#[test]
fn every_record_is_hashed_and_stamped_whoever_verifies() {
    for choice in choices().into_iter().chain([VerifierChoice::None]) {
        let mut batch = signed::batch(&[Method::Ecdsa, Method::Null, Method::Schnorr]);
        verify_under(&signed::trusted_key(), choice, &mut batch);
        let stamps = batch.records().iter().map(|record| record.times.verified_ns).collect::<Vec<_>>();
        assert!(stamps.iter().all(|stamp| *stamp > 0), "{choice}: {stamps:?}");
        assert!(batch.records().iter().all(|record| record.message_sha256 != [0; 32]), "{choice}");
        let nobody_worked = choice == VerifierChoice::None;
        assert_eq!(batch.verify_busy_ns == 0, nobody_worked, "{choice}");
    }
}

#[test]
fn nobody_hashes_what_nobody_reads() {
    let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr]);
    let plan = VerifierPlan::new(VerifierChoice::None, &[], MESSAGE_CAPACITY, false).unwrap();
    plan.verifier().unwrap().verify(&mut batch).unwrap();
    assert!(batch.records().iter().all(|record| record.message_sha256 == [0; 32]));
    let plan =
        VerifierPlan::new(VerifierChoice::K256, &[signed::trusted_key()], MESSAGE_CAPACITY, false).unwrap();
    plan.verifier().unwrap().verify(&mut batch).unwrap();
    assert!(batch.records().iter().all(|record| record.outcome == Outcome::Verified));
}

#[test]
fn nobody_verified_means_unchecked_and_never_verified() {
    assert_eq!(outcomes(VerifierChoice::None, |_| ()), [Outcome::Unchecked; 40]);
}

#[test]
fn a_verifier_without_a_key_is_refused_before_the_run() {
    for choice in choices() {
        let failure = VerifierPlan::new(choice, &[], MESSAGE_CAPACITY, true).err().unwrap();
        assert!(failure.exit == Exit::BadInput && failure.message.contains("--public-key"), "{failure}");
    }
    assert!(VerifierPlan::new(VerifierChoice::None, &[], MESSAGE_CAPACITY, true).is_ok());
}

#[test]
fn an_unknown_verifier_is_refused_with_the_legal_ones() {
    for choice in choices().into_iter().chain([VerifierChoice::None]) {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    let why = "openssl".parse::<VerifierChoice>().unwrap_err();
    assert!(why.contains("secp256k1, k256, native, wasmtime, wasmi, wasm3, or none"), "{why}");
}
