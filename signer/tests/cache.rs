//! The module cache as an operator meets it: `signer cache`, and signers that share a directory.
#![cfg(feature = "wasmtime")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use cli::Method;
use support::{Ended, Rig, messages, output, signer};

/// `signer cache COMMAND --cache DIR`, with more arguments.
fn cache(rig: &Rig, command: &str, arguments: &[&str]) -> Ended {
    output(signer().args(["cache", command, "--cache"]).arg(rig.path("cache")).args(arguments))
}

fn tells(ended: &Ended, words: &str) {
    ended.is_quiet(0);
    assert!(ended.stdout.contains(words), "{words:?} is not in {ended:?}");
}

fn json(ended: &Ended) -> serde_json::Value {
    ended.is_quiet(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn modules_are_compiled_once_listed_and_cleared() {
    let rig = Rig::new();
    assert_eq!(json(&cache(&rig, "list", &["--json"])), serde_json::json!([]));
    assert_eq!(json(&cache(&rig, "clear", &["--json"]))["files"], 0);
    assert!(!rig.path("cache").exists(), "who only looks makes no directory");
    for compiled in [true, false] {
        let warmed = json(&cache(&rig, "warm", &["--json"]));
        for (module, name) in
            warmed.as_array().unwrap().iter().zip(["ecdsa.wide", "schnorr.wide", "null.wide"])
        {
            assert_eq!((&module["name"], &module["compiled"]), (&name.into(), &compiled.into()));
        }
    }
    let listed = json(&cache(&rig, "list", &["--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 3);
    for entry in listed.as_array().unwrap() {
        assert_eq!((&entry["runtime"], &entry["authentic"]), (&"wasmtime".into(), &true.into()));
    }
    tells(&cache(&rig, "warm", &[]), "ecdsa.wide ");
    tells(&cache(&rig, "warm", &[]), ": was there, loaded in ");
    tells(&cache(&rig, "list", &[]), "schnorr.wide  wasmtime");
    tells(&cache(&rig, "clear", &[]), "removed 3 files, ");
    assert_eq!(json(&cache(&rig, "list", &["--json"])), serde_json::json!([]));
}

#[test]
fn a_module_of_ones_own_is_kept_and_one_that_is_none_is_refused() {
    let rig = Rig::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../bins/schnorr.base.wasm");
    tells(&cache(&rig, "warm", &["--module", &format!("schnorr={file}")]), "schnorr.base.wasm ");
    assert_eq!(json(&cache(&rig, "list", &["--json"]))[0]["name"], "schnorr.base");
    cache(&rig, "warm", &["--module", "schnorr=/no/such.wasm"]).says(2, "/no/such.wasm: no such file");
    cache(&rig, "warm", &["--module", "rsa=x"]).says(2, "NAME is ecdsa, schnorr or null");
}

#[test]
fn a_directory_that_others_may_enter_is_refused_and_signed_without() {
    let rig = Rig::new();
    fs::create_dir(rig.path("cache")).unwrap();
    fs::set_permissions(rig.path("cache"), Permissions::from_mode(0o750)).unwrap();
    for command in ["list", "clear", "warm"] {
        cache(&rig, command, &[]).says(3, "lets others in (mode 750): `chmod 700` it");
        output(signer().args(["cache", command, "--cache", "none"])).says(2, "--cache none");
    }
    let said = sign(&rig, rig.path("cache").to_str().unwrap());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("`chmod 700` it; modules are compiled at each start"), "{said}");
}

#[test]
fn a_signer_keeps_what_it_compiles_and_says_so_if_it_finds_it_changed() {
    let rig = Rig::new();
    let directory = rig.path("cache");
    assert_eq!(sign(&rig, "none"), "");
    assert!(!directory.exists());
    assert_eq!(sign(&Rig::new(), directory.to_str().unwrap()), "");
    assert_eq!(json(&cache(&rig, "list", &["--json"])).as_array().unwrap().len(), 3);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "module") {
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    tells(&cache(&rig, "list", &[]), "not authentic: it will be deleted");
    let said = sign(&Rig::new(), directory.to_str().unwrap());
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.lines().all(|line| line.contains("is not authentic") && line.contains("it is compiled anew"))
    );
    assert_eq!(sign(&Rig::new(), directory.to_str().unwrap()), "");
}

/// Has a signer with this cache sign a few messages on wasmtime, all of them well, and gives what it said on standard
/// error.
fn sign(rig: &Rig, cache: &str) -> String {
    let signer = rig.signer(&["--runtime", "wasmtime", "--cache", cache]);
    rig.produce(messages(20, &[Method::Ecdsa, Method::Schnorr]));
    let answered = support::consume(&rig.consumer(), |_| ());
    assert!(answered.len() == 20 && answered.iter().all(support::Answered::is_valid));
    let ended = signer.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stderr
}
