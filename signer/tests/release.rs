//! What a module may get, and what it may give: a secret that it has no use for, and a signature that is wrong, must
//! not pass.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;
#[path = "support/module.rs"]
mod wasm;

use cli::Method;
use extension_engine::Runtime;
use k256::SecretKey;
use k256::ecdsa::signature::Signer;
use signer::status;
use support::{Answered, Ended, Rig, SECRET, consume, messages, write_private};
use wasm::Module;

/// Runs `messages` through a signer on `runtime` with `module` (`NAME=…` and its bytes).
fn sign(
    runtime: Runtime,
    module: Option<(Method, &[u8])>,
    more: &[&str],
    messages: Vec<(u32, Vec<u8>)>,
) -> (Vec<Answered>, Ended) {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let mut arguments = vec!["--runtime".to_owned(), runtime.to_string()];
    if let Some((method, module)) = module {
        write_private(&rig.path("module.wasm"), module);
        arguments.extend(["--module".into(), format!("{method}={}", rig.path("module.wasm").display())]);
    }
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let signer = rig.signer(&arguments);
    rig.produce(messages);
    let all = consume(&consumer, |_| ());
    (all, signer.wait())
}

fn wasm_runtimes() -> impl Iterator<Item = Runtime> {
    let runtimes = Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok());
    runtimes.filter(|runtime| *runtime != Runtime::Native)
}

/// A module that answers all but a few records with the signature of one message: right for that one, and wrong for
/// all others.
fn replaying(message: &[u8]) -> Vec<u8> {
    let key = k256::ecdsa::SigningKey::from(SecretKey::from_slice(&SECRET).unwrap());
    let signature: k256::ecdsa::Signature = key.sign(message);
    wasm::replaying(&signature.to_bytes().into())
}

const FLAG: &str = "--verify-before-release";

#[test]
fn wrong_signatures_are_held_back_and_their_neighbours_are_not() {
    let good = b"message that it can sign";
    let module = replaying(good);
    // In one batch: its good ones among its bad ones, and another method's.
    let mut messages = messages(60, &[Method::Ecdsa, Method::Schnorr]);
    for i in [0, 14, 16, 58] {
        messages[i] = (Method::Ecdsa as u32, good.to_vec());
    }
    for runtime in wasm_runtimes() {
        let (all, ended) = sign(runtime, Some((Method::Ecdsa, &module)), &[FLAG], messages.clone());
        let mut held_back = 0;
        for (answered, (method, message)) in all.iter().zip(&messages) {
            let is_wrong = *method == Method::Ecdsa as u32 && message != good;
            let expected = if is_wrong { (status::NOT_VERIFIED, false, 0) } else { (0, true, 64) };
            let found = (answered.record.status, answered.is_valid(), answered.signature.len());
            assert_eq!(found, expected, "{runtime}: {:?}", String::from_utf8_lossy(message));
            held_back += u32::from(is_wrong);
        }
        assert_eq!((all.len(), held_back), (60, 26));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("26 of 60 records could not be signed"), "{ended:?}");
        let warnings: Vec<_> = ended.stderr.lines().filter(|line| line.contains("held back")).collect();
        assert_eq!(warnings.len(), 1, "no more than one a second: {ended:?}");
        assert!(warnings[0].starts_with("signer: worker 0: module "), "{ended:?}");

        let (all, ended) = sign(runtime, Some((Method::Ecdsa, &module)), &[], messages.clone());
        let passed = all.iter().filter(|answered| answered.record.status == 0 && !answered.is_valid());
        assert_eq!((passed.count(), ended.status.code()), (26, Some(0)), "without the flag: {ended:?}");
    }
}

#[test]
fn right_signatures_pass_on_every_runtime() {
    for runtime in Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok()) {
        let messages = messages(90, &Method::ALL);
        let (all, ended) = sign(runtime, None, &[FLAG], messages);
        ended.is_quiet(0);
        assert!(all.len() == 90 && all.iter().all(Answered::is_valid), "{runtime}");
    }
}

/// It keeps the first byte of the key that it was given, and answers with that.
#[test]
fn the_null_extension_is_given_another_key_than_the_secret_one() {
    let module = Module {
        value: "(block (result i32)
            (if (i32.eqz (local.get $kind)) (then (i32.store8 (i32.const 2048) (local.get $byte))))
            (i32.load8_u (i32.const 2048)))",
        ..Module::default()
    }
    .bytes();
    for runtime in wasm_runtimes() {
        let (all, ended) = sign(runtime, Some((Method::Null, &module)), &[], messages(3, &[Method::Null]));
        ended.is_quiet(0);
        assert!(all.len() == 3 && all.iter().all(|answered| answered.signature == [1; 64]), "{runtime}");
    }
}
