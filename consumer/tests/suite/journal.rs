//! A line that isn't JSON, is out of order, or says `verified` without a verification, poisons whoever reads the
//! journal.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use cli::Method;
use consumer::encoding::Encoding;
use consumer::journal::Journal;
use consumer::record::{Batch, Outcome, Times};
use serde_json::{Value, json};

use crate::signed;

/// The lines that a journal with `encoding` makes of `batches`.
fn journaled(encoding: Encoding, batches: &[Batch]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signatures.ndjson");
    let mut journal =
        Journal::new(File::create(&path).unwrap(), encoding, &[signed::trusted_key(), signed::key_of(8)]);
    for batch in batches {
        journal.append(batch.records()).unwrap();
    }
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_everything_about_its_record() {
    let mut batch = signed::batch(&[Method::Ecdsa]);
    let record = &mut batch.records_mut()[0];
    record.hash_message();
    record.sequence = 41;
    record.position = 40;
    record.module = [0xab; 8];
    record.generation = 3;
    record.times = Times { intended_ns: 1, written_ns: 2, claimed_ns: 3, signed_ns: 4, verified_ns: 5 };
    record.outcome = Outcome::Verified;
    let signature = hex::encode(&record.signature);
    let expected = json!({
        "seq": 41,
        "source": "generator",
        "position": 40,
        "method": "ecdsa",
        "message_bytes": 9,
        "message_sha256": "74f2bab0f7b496db35967b365a4bedc0f6378888dea671ec307ee99e677fe21d",
        "signature": signature,
        "encoding": "hex",
        "public_key": hex::encode(signed::trusted_key().compressed()),
        "verified": true,
        "module": "abababababababab",
        "generation": 3,
        "runtime": "native",
        "times": {"intended_ns": 1, "written_ns": 2, "claimed_ns": 3, "signed_ns": 4, "verified_ns": 5},
    });
    assert_eq!(journaled(Encoding::Hex, &[batch]), [expected]);
}

#[test]
fn each_outcome_is_told_apart_and_only_the_verified_one_is_true() {
    let told = [
        (Outcome::Verified, json!(true), Value::Null),
        (Outcome::NotVerified, json!(false), Value::Null),
        (Outcome::Unchecked, Value::Null, Value::Null),
        (Outcome::Failed(9), Value::Null, json!("SigningFailed")),
        (Outcome::Failed(-5), Value::Null, json!("Deadline")),
        (Outcome::Failed(-77), Value::Null, json!("-77")),
        (Outcome::Exhausted, Value::Null, json!("Exhausted")),
    ];
    for (outcome, verified, status) in told {
        let mut batch = signed::batch(&[Method::Schnorr]);
        batch.records_mut()[0].outcome = outcome;
        let lines = journaled(Encoding::Hex, &[batch]);
        assert_eq!((&lines[0]["verified"], &lines[0]["status"]), (&verified, &status), "{outcome:?}");
        assert_eq!(lines[0].get("status").is_some(), !status.is_null(), "{outcome:?}");
    }
}

#[test]
fn a_slot_without_a_record_has_no_line() {
    let mut batch = signed::batch(&[Method::Ecdsa; 3]);
    batch.records_mut()[1].outcome = Outcome::Void;
    let sequences: Vec<_> =
        journaled(Encoding::Hex, &[batch]).iter().map(|line| line["seq"].as_u64()).collect();
    assert_eq!(sequences, [Some(0), Some(2)]);
}

#[test]
fn a_record_without_a_signature_says_null() {
    let lines = journaled(Encoding::Base64, &[signed::batch(&[Method::Null])]);
    assert_eq!((&lines[0]["signature"], &lines[0]["public_key"]), (&Value::Null, &Value::Null));
}

#[test]
fn schnorr_lines_carry_the_x_coordinate_and_never_claim_to_be_der() {
    let lines = journaled(Encoding::Der, &[signed::batch(&[Method::Ecdsa, Method::Schnorr])]);
    assert_eq!((&lines[0]["encoding"], &lines[1]["encoding"]), (&json!("der"), &json!("hex")));
    let key = signed::trusted_key();
    assert_eq!(lines[0]["public_key"], hex::encode(key.compressed()));
    assert_eq!(lines[1]["public_key"], hex::encode(key.x_only()));
}

#[test]
fn a_line_names_the_key_that_verifies_it() {
    let mut batch = signed::batch(&[Method::Ecdsa, Method::Schnorr, Method::Ecdsa]);
    for (record, key) in batch.records_mut().iter_mut().zip([1, 1, 0]) {
        record.key = key;
    }
    let lines = journaled(Encoding::Hex, &[batch]);
    let (first, second) = (signed::trusted_key(), signed::key_of(8));
    let expected = [&second.compressed()[..], second.x_only(), first.compressed()].map(hex::encode);
    assert_eq!(lines.iter().map(|line| line["public_key"].clone()).collect::<Vec<_>>(), expected);
}

#[test]
fn a_der_line_parses_back_to_the_signature() {
    let batch = signed::batch(&[Method::Ecdsa; 20]);
    let signatures: Vec<_> = batch.records().iter().map(|record| record.signature.clone()).collect();
    for (line, signature) in journaled(Encoding::Der, &[batch]).iter().zip(signatures) {
        let der = hex::decode(line["signature"].as_str().unwrap()).unwrap();
        let parsed = secp256k1::ecdsa::Signature::from_der(&der).unwrap();
        assert_eq!(parsed.serialize_compact().to_vec(), signature);
    }
}

#[test]
fn a_source_of_any_name_makes_one_line_of_json() {
    let every_scalar_below_256: String = (0..=255_u8).map(char::from).collect();
    for name in
        ["", "\"", "\\", "a\nb", "\u{0}\u{1f}\u{7f}", "{\"seq\":1}", "\u{2028}😀é", &every_scalar_below_256]
    {
        let mut batch = signed::batch(&[Method::Ecdsa]);
        batch.records_mut()[0].source = name.into();
        let lines = journaled(Encoding::Hex, &[batch]);
        assert_eq!((lines.len(), &lines[0]["source"]), (1, &json!(name)));
    }
}

#[test]
fn lines_keep_the_order_of_batches_and_records() {
    let batches: Vec<_> = (0..10)
        .map(|batch_index| {
            let mut batch = signed::batch(&[Method::Schnorr; 7]);
            for record in batch.records_mut() {
                record.sequence += 7 * batch_index;
            }
            batch
        })
        .collect();
    let lines = journaled(Encoding::Hex, &batches);
    let sequences: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..70).collect::<Vec<_>>());
}

#[test]
fn no_records_make_no_lines() {
    assert_eq!(journaled(Encoding::Hex, &[Batch::new(4, 0)]), Vec::<Value>::new());
}

#[test]
fn appended_lines_are_with_the_kernel_when_append_returns() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut journal = Journal::new(OwnedFd::from(writer).into(), Encoding::Hex, &[]);
    journal.append(signed::batch(&[Method::Ecdsa]).records()).unwrap();
    // The journal still stands: nothing is flushed by dropping it.
    let mut byte = [0];
    reader.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"{");
}

#[test]
fn a_reader_that_went_away_is_told_from_a_full_disk() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut journal = Journal::new(OwnedFd::from(writer).into(), Encoding::Hex, &[]);
    let error = journal.append(signed::batch(&[Method::Ecdsa]).records()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

    let mut journal = Journal::new(File::create("/dev/full").unwrap(), Encoding::Hex, &[]);
    let error = journal.append(signed::batch(&[Method::Ecdsa]).records()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
