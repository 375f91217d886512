//! What was signed by the wrong method, answered with a neighbour's signature, or left out: that is what these tests
//! would notice. Signatures are verified with k256, and every message is different.

mod support;

use cli::Method;
use extension_engine::{Module, Runtime};
use shmem_layout::RingOptions;
use signer::status;
use support::{Answered, Rig, consume, messages, signer};

const SIGNING: [Method; 2] = [Method::Ecdsa, Method::Schnorr];

fn available() -> impl Iterator<Item = Runtime> {
    Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok())
}

fn check_all_valid(all: &[Answered], messages: &[(u32, Vec<u8>)]) {
    assert_eq!(all.len(), messages.len());
    for (answered, (method, message)) in all.iter().zip(messages) {
        assert_eq!((answered.record.method, &answered.message), (*method, message));
        assert!(answered.is_valid(), "{:?}", answered.record);
        let record = &answered.record;
        assert!(
            record.written_ns <= record.claimed_ns && record.claimed_ns <= record.signed_ns,
            "{record:?}"
        );
    }
}

#[test]
fn every_runtime_signs_every_method_in_every_record_of_a_mixed_stream() {
    for runtime in available() {
        let rig = Rig::new();
        let consumer = rig.consumer();
        let report_path = rig.path("signer.json");
        let arguments = ["--runtime", runtime.name(), "--report", report_path.to_str().unwrap()];
        let signer = rig.signer(&arguments);
        let messages = messages(300, &Method::ALL);
        rig.produce(messages.clone());
        let all = consume(&consumer, |_| ());
        signer.wait().is_quiet(0);
        check_all_valid(&all, &messages);

        let module = |method: Method| {
            let module = Module::built_in(method.name(), runtime.best_variant()?).unwrap();
            Some((module.variant().name(), hex::encode(module.sha256())))
        };
        for Answered { record, .. } in &all {
            let method = Method::from_raw(record.method).unwrap();
            let id = module(method).map_or(0, |(_, sha256)| u64::from_str_radix(&sha256[..16], 16).unwrap());
            assert_eq!((record.runtime, record.module_id, record.generation), (runtime as u32 + 1, id, 1));
        }
        let report = rig.report();
        assert_eq!((&report["runtime"], &report["signed"]), (&runtime.name().into(), &300.into()));
        assert_eq!(
            (&report["failed"], &report["swaps"], &report["worker_deaths"]),
            (&0.into(), &0.into(), &0.into())
        );
        assert!(report["sign_busy_ns"].as_u64() > Some(0) && report["batches"].as_u64() > Some(0));
        // One instance for each method, each of which had its first call.
        assert_eq!((&report["instances"], &report["first_calls"]), (&3.into(), &3.into()));
        let first_call_ns = report["first_call_ns"].as_u64();
        assert!(first_call_ns > Some(0) && first_call_ns < report["sign_busy_ns"].as_u64());
        assert_eq!((&report["cpus"], &report["prefault"]), (&"any".into(), &false.into()));
        for (i, method) in Method::ALL.into_iter().enumerate() {
            let row = &report["methods"][i];
            assert_eq!((&row["method"], &row["signed"]), (&method.name().into(), &100.into()));
            let (variant, sha256) = module(method).unzip();
            assert_eq!((&row["variant"], &row["module_sha256"]), (&variant.into(), &sha256.into()));
        }
    }
}

#[test]
fn one_instance_is_swapped_for_every_change_of_method_and_the_records_say_so() {
    for runtime in available().filter(|runtime| *runtime != Runtime::Native) {
        let rig = Rig::new();
        let consumer = rig.consumer();
        let report_path = rig.path("signer.json");
        let arguments =
            ["--runtime", runtime.name(), "--runner", "3", "--report", report_path.to_str().unwrap()];
        let signer = rig.signer(&arguments);
        // Pairs: every second record needs no swap.
        let messages = messages(24, &[Method::Ecdsa, Method::Ecdsa, Method::Schnorr, Method::Schnorr]);
        rig.produce(messages.clone());
        let all = consume(&consumer, |_| ());
        signer.wait().is_quiet(0);
        check_all_valid(&all, &messages);
        let generations: Vec<_> = all.iter().map(|answered| answered.record.generation).collect();
        assert_eq!(generations, (0..24).map(|i| 1 + i / 2).collect::<Vec<_>>());
        assert_eq!(rig.report()["swaps"], 11);
    }
}

#[test]
fn several_workers_share_one_stream() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let signer = rig.signer(&["--runtime", "native", "--workers", "3", "--batch", "2"]);
    support::until(|| (support::live_signers(&consumer).len() == 3).then_some(()));
    let messages = messages(3000, &SIGNING);
    rig.produce(messages.clone());
    let all = consume(&consumer, |_| ());
    signer.wait().is_quiet(0);
    check_all_valid(&all, &messages);
}

#[test]
fn an_unknown_method_fails_its_own_record_and_no_other() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let signer = rig.signer(&["--runtime", "native"]);
    let mut messages = messages(60, &SIGNING);
    messages[20].0 = 0;
    messages[40].0 = 99;
    rig.produce(messages);
    let all = consume(&consumer, |_| ());
    signer.wait().says(1, "2 of 60 records could not be signed");
    for (i, answered) in all.iter().enumerate() {
        match i {
            20 | 40 => assert_eq!((answered.record.status, answered.signature.len()), (status::NO_ENGINE, 0)),
            _ => assert!(answered.is_valid(), "{i}"),
        }
    }
}

#[test]
fn a_ring_with_no_room_for_signatures_fails_its_records_and_not_the_worker() {
    let options = RingOptions { capacity: 16, signature_capacity: 63, ..RingOptions::default() };
    for runtime in available() {
        let rig = Rig::with(&options);
        let consumer = rig.consumer();
        let signer = rig.signer(&["--runtime", runtime.name()]);
        rig.produce(messages(30, &SIGNING));
        let all = consume(&consumer, |_| ());
        signer.wait().says(1, "30 of 30 records could not be signed");
        let too_small = extension_engine::Status::OutputTooSmall as i32;
        assert!(
            all.iter().all(|answered| answered.record.status == too_small && answered.signature.is_empty())
        );
    }
}

#[test]
fn messages_of_every_length_up_to_the_largest_capacity_are_signed() {
    let options = RingOptions { capacity: 8, message_capacity: 1 << 20, ..RingOptions::default() };
    for runtime in [Runtime::Native, Runtime::Wasmtime] {
        let rig = Rig::with(&options);
        let consumer = rig.consumer();
        let signer = rig.signer(&["--runtime", runtime.name()]);
        let lengths = [0, 1, 55, 56, 63, 64, 65, 4096, 1 << 20, 3, 1 << 20];
        let messages: Vec<_> = (0_u8..)
            .zip(lengths)
            .map(|(i, len)| (SIGNING[usize::from(i) % 2] as u32, vec![i; len]))
            .collect();
        rig.produce(messages.clone());
        let all = consume(&consumer, |_| ());
        signer.wait().is_quiet(0);
        check_all_valid(&all, &messages);
    }
}

#[test]
fn a_stream_that_is_closed_empty_is_done_at_once() {
    let rig = Rig::new();
    rig.produce(Vec::new());
    rig.signer(&["--runtime", "native", "--workers", "2"]).wait().is_quiet(0);
}

#[test]
fn help_names_the_flags_and_hides_the_worker() {
    let help = support::output(signer().arg("--help"));
    help.is_quiet(0);
    for words in ["--ring", "--key", "--runner", "keygen", "public-key", "Exit codes"] {
        assert!(help.stdout.contains(words), "{words}");
    }
    assert!(!help.stdout.contains("\n  worker"), "{}", help.stdout);
}
