//! Modules, keys and limits are changed while records are signed: none may be lost, doubled, or attributed to what did
//! not sign it; and a change that fails leaves everything as it was.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;
#[path = "support/module.rs"]
mod wasm;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use cli::Method;
use extension_engine::{Module, Runtime, Variant};
use k256::SecretKey;
use rustix::process::Signal;
use shmem_layout::RingOptions;
use support::{
    Answered, Ended, Rig, Running, SECRET, children, consume, is_running, kill, messages, output, signer,
    until, write_private,
};

const SIGNING: [Method; 2] = [Method::Ecdsa, Method::Schnorr];

/// A signer with a control directory.
struct Controlled {
    rig: Rig,
}

impl Controlled {
    fn new() -> Self {
        Self { rig: Rig::with(&RingOptions { capacity: 64, ..RingOptions::default() }) }
    }

    fn directory(&self) -> PathBuf {
        self.rig.path("control")
    }

    /// A signer, once it serves.
    fn start(&self, arguments: &[&str]) -> Running {
        let directory = self.directory();
        let mut all = vec!["--control", directory.to_str().unwrap()];
        all.extend(arguments);
        let running = self.rig.signer(&all);
        until(|| (self.ctl(&["status"]).status.code() == Some(0)).then_some(()));
        running
    }

    fn ctl(&self, arguments: &[&str]) -> Ended {
        output(signer().args(["ctl", "--json", "--control"]).arg(self.directory()).args(arguments))
    }

    /// The answer of a call that must succeed.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> serde_json::Value {
        let ended = self.ctl(arguments);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// A call that must be refused with `words`.
    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) {
        let ended = self.ctl(arguments);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.lines().count() == 1, "{words:?}: {ended:?}");
    }

    /// A copy of a built-in module that differs by a custom section with `salt` in it.
    fn module(&self, name: &str, variant: Variant, salt: u8) -> String {
        let mut bytes = Module::built_in(name, variant).unwrap().bytes().to_vec();
        bytes.extend([0, 6, 4, b's', b'a', b'l', b't', salt]);
        let path = self.rig.path(&format!("{name}.{salt}.wasm"));
        write_private(&path, &bytes);
        path.to_str().unwrap().to_owned()
    }
}

fn origin(answered: &Answered) -> (u32, u32, String) {
    let record = &answered.record;
    (record.generation, record.runtime, format!("{:016x}", record.module_id))
}

/// What a swap's answer says that its records will say.
fn origin_of(swapped: &serde_json::Value) -> (u32, u32, String) {
    let module = &swapped["module"];
    let runtime: Runtime = module["runtime"].as_str().unwrap().parse().unwrap();
    let sha256 = module["sha256"].as_str().unwrap();
    let id = sha256.get(..16).unwrap_or("0000000000000000").to_owned();
    (module["generation"].as_u64().unwrap() as u32, runtime as u32 + 1, id)
}

#[test]
fn swaps_under_load_lose_nothing_and_each_record_says_what_signed_it() {
    let controlled = Controlled::new();
    let consumer = controlled.rig.consumer();
    let running = controlled.start(&["--workers", "2"]);
    let modules = [("ecdsa", Variant::Wide, 1), ("schnorr", Variant::Base, 2), ("ecdsa", Variant::Base, 3)]
        .map(|(name, variant, salt)| (name, controlled.module(name, variant, salt)));
    let messages = messages(4000, &SIGNING);
    controlled.rig.produce(messages.clone());
    let swaps = RefCell::new(Vec::new());
    let all = consume(&consumer, |sequence| {
        let swap = |arguments: &[&str]| {
            let mut all = vec!["swap"];
            all.extend(arguments);
            swaps.borrow_mut().push((arguments[0].to_owned(), origin_of(&controlled.ask(&all))));
        };
        match sequence {
            500 => swap(&[modules[0].0, &modules[0].1]),
            1000 => swap(&[modules[1].0, &modules[1].1]),
            1500 => swap(&[modules[2].0, &modules[2].1, "--runtime", "wasmi"]),
            2000 => swap(&["ecdsa", "--rollback"]),
            2500 => swap(&["schnorr", "--builtin", "--runtime", "native"]),
            3000 => swap(&["ecdsa", "--runtime", "wasmi"]),
            _ => {}
        }
    });
    running.wait().is_quiet(0);
    assert_eq!(all.len(), messages.len());
    let swaps = swaps.into_inner();
    let generations: Vec<_> = swaps.iter().map(|(_, origin)| origin.0).collect();
    assert_eq!(generations, [2, 3, 4, 5, 6, 7]);
    assert_eq!(swaps[3].1.2, swaps[0].1.2, "a rollback leads back");
    let mut seen = Vec::new();
    for (i, (answered, (method, message))) in all.iter().zip(&messages).enumerate() {
        assert_eq!((answered.record.method, &answered.message), (*method, message));
        assert!(answered.is_valid(), "{i}: {:?}", answered.record);
        let (generation, runtime, id) = origin(answered);
        // What served this method at that generation.
        let name = Method::from_raw(*method).unwrap().name();
        let serving = swaps.iter().rfind(|(method, origin)| method == name && origin.0 <= generation);
        match serving {
            Some((_, origin)) => assert_eq!((runtime, &id), (origin.1, &origin.2), "{i}"),
            None => assert_eq!(runtime, Runtime::Wasmtime as u32 + 1, "{i}"),
        }
        seen.push(generation);
    }
    assert!((1..=7).all(|generation| seen.contains(&generation)), "swaps that nobody noticed");
}

#[test]
fn a_swap_that_fails_leaves_the_old_module_serving_and_says_why() {
    let controlled = Controlled::new();
    let consumer = controlled.rig.consumer();
    let running = controlled.start(&[]);
    let path = |name: &str, bytes: &[u8]| {
        let path = controlled.rig.path(name);
        write_private(&path, bytes);
        path.to_str().unwrap().to_owned()
    };
    let stranger = path("stranger", &wasm::Module::default().bytes());
    let looping = "(loop $forever (br $forever))";
    let looping = path("looping", &wasm::Module { before: looping, ..Default::default() }.bytes());
    let cut = path("cut", &Module::built_in("ecdsa", Variant::Base).unwrap().bytes()[..5000]);
    controlled.refused(&["swap", "ecdsa", &stranger], "known-answer test");
    controlled.refused(&["swap", "schnorr", &looping], "looping");
    controlled.refused(&["swap", "ecdsa", &cut], "is not valid");
    controlled.refused(&["swap", "ecdsa", "--rollback"], "no other module");
    controlled.refused(&["swap", "ecdsa", &stranger, "--runtime", "native"], "native runs no modules");
    assert_eq!(controlled.ask(&["status"])["generation"], 1);
    let messages = messages(200, &SIGNING);
    controlled.rig.produce(messages);
    let all = consume(&consumer, |_| ());
    running.wait().is_quiet(0);
    assert!(all.len() == 200 && all.iter().all(|a| a.is_valid() && a.record.generation == 1));
}

#[test]
fn what_was_committed_serves_again_after_a_kill() {
    let controlled = Controlled::new();
    let consumer = controlled.rig.consumer();
    let first = controlled.start(&[]);
    let module = controlled.module("schnorr", Variant::Wide, 9);
    let swapped = origin_of(&controlled.ask(&["swap", "schnorr", &module]));
    std::fs::remove_file(&module).unwrap();
    kill(first.id(), Signal::KILL);
    drop(first);
    let second = controlled.start(&[]);
    let status = controlled.ask(&["status"]);
    assert_eq!(status["generation"], 2);
    controlled.rig.produce(messages(100, &SIGNING));
    let all = consume(&consumer, |_| ());
    let ended = second.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("generation 2, as committed in"), "{ended:?}");
    for answered in &all {
        assert!(answered.is_valid());
        if answered.record.method == Method::Schnorr as u32 {
            assert_eq!(origin(answered), swapped);
        }
    }
}

#[test]
fn a_new_key_comes_with_new_workers_and_no_record_is_signed_with_the_old_one_after_it() {
    let controlled = Controlled::new();
    let consumer = controlled.rig.consumer();
    let running = controlled.start(&["--runtime", "native", "--workers", "2"]);
    let old = children(running.id());
    write_private(&controlled.rig.path("next"), hex::encode([9; 32]).as_bytes());
    write_private(&controlled.rig.path("zero"), hex::encode([0; 32]).as_bytes());
    let next = controlled.rig.path("next");
    controlled.rig.produce(messages(3000, &[Method::Ecdsa]));
    let rotated_at = RefCell::new(None);
    let all = consume(&consumer, |sequence| match sequence {
        700 => controlled.refused(&["rotate", "--key", path_of(&controlled.rig.path("zero"))], "zero"),
        1000 => {
            let answer = controlled.ask(&["rotate", "--key", path_of(&next)]);
            let public_key = SecretKey::from_slice(&[9; 32]).unwrap().public_key();
            let expected = hex::encode(public_key.to_sec1_bytes());
            assert_eq!(answer["public_key"], expected.as_str());
            assert!(old.iter().all(|pid| !is_running(*pid)), "old workers outlive their key");
            *rotated_at.borrow_mut() = Some(sequence);
        }
        _ => {}
    });
    running.wait().is_quiet(0);
    let by = |secret: &[u8; 32], answered: &Answered| answered.is_valid_for(secret);
    let first_new = all.iter().position(|answered| by(&[9; 32], answered)).unwrap();
    assert!(all[..first_new].iter().all(|answered| by(&SECRET, answered)));
    // Two workers: what the old ones had in hand is signed by nobody else.
    assert!(all[first_new + 128..].iter().all(|answered| by(&[9; 32], answered)));
    assert!(all.iter().all(|answered| by(&SECRET, answered) || by(&[9; 32], answered)));
    assert!(all.len() == 3000 && rotated_at.into_inner() == Some(1000));
}

fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn limits_come_with_new_workers_and_draining_ends_in_order() {
    let controlled = Controlled::new();
    let _consumer = controlled.rig.consumer();
    let running = controlled.start(&["--runtime", "native"]);
    let old = children(running.id());
    controlled.ask(&["limits", "--deadline", "250"]);
    assert_eq!(controlled.ask(&["status"])["limits"]["deadline_ms"], 250);
    assert!(old.iter().all(|pid| !is_running(*pid)));
    let refused = controlled.ctl(&["limits", "--memory-limit", "0"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    controlled.ask(&["drain"]);
    running.wait().is_quiet(0);
    assert_eq!(controlled.ctl(&["status"]).status.code(), Some(3));
}
