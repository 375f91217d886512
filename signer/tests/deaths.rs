//! Workers die: by kill -9, with a supervisor that was killed, by Ctrl-C. No record may be lost or signed wrongly by
//! it, and no process may be left behind.

mod support;
#[path = "support/module.rs"]
mod wasm;

use std::cell::{Cell, RefCell};
use std::process::Command;

use cli::Method;
use rustix::process::Signal;
use shmem_layout::{RingOptions, Stage};
use support::{
    Answered, Rig, children, consume, is_running, kill, live_signers, messages, slots_in, until,
    write_private,
};

const SIGNING: [Method; 2] = [Method::Ecdsa, Method::Schnorr];

/// Never returns from a message that begins with m, as all of [`messages`] do.
const ENDLESS: &str = "(if (i32.eq (local.get $byte) (i32.const 109)) (then (loop $forever (br $forever))))";

#[test]
fn a_worker_killed_under_load_is_replaced_and_every_record_is_signed_once() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let report_path = rig.path("signer.json");
    let arguments = ["--runtime", "native", "--workers", "2", "--report", report_path.to_str().unwrap()];
    let signer = rig.signer(&arguments);
    let messages = messages(4000, &SIGNING);
    rig.produce(messages.clone());
    let killed = RefCell::new(Vec::new());
    let all = consume(&consumer, |sequence| {
        if sequence % 1000 == 500 {
            // A lock outlives its holder by some milliseconds.
            let is_new = |pid: &u32| !killed.borrow().contains(pid);
            let victim = until(|| live_signers(&consumer).into_iter().find(is_new));
            kill(victim, Signal::KILL);
            killed.borrow_mut().push(victim);
        }
    });
    let killed = killed.into_inner().len();
    let ended = signer.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), killed, "{ended:?}");
    assert!(
        ended
            .stderr
            .lines()
            .all(|line| line.contains("was killed by signal 9") && line.contains("starting another"))
    );
    assert_eq!(all.len(), messages.len());
    for (answered, (method, message)) in all.iter().zip(&messages) {
        assert_eq!((answered.record.method, &answered.message), (*method, message));
        assert!(answered.is_valid(), "{:?}", answered.record);
    }
    let report = rig.report();
    assert_eq!(report["worker_deaths"], killed);
    assert!(report["signed"].as_u64() >= Some(3900), "counts go on in the page of the dead: {report}");
}

#[test]
fn a_worker_that_gets_somewhere_is_replaced_however_often_it_dies() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let signer = rig.signer(&["--runtime", "native"]);
    rig.produce(messages(1300, &SIGNING));
    let killed = RefCell::new(Vec::new());
    let all = consume(&consumer, |sequence| {
        // Not in the last 64, a ring full of answers: with these written the signer is done.
        if sequence % 100 == 50 && sequence < 1200 {
            // A lock outlives its holder by some milliseconds.
            let is_new = |pid: &u32| !killed.borrow().contains(pid);
            let victim = until(|| live_signers(&consumer).into_iter().find(is_new));
            kill(victim, Signal::KILL);
            killed.borrow_mut().push(victim);
        }
    });
    let ended = signer.wait();
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(0), 12), "{ended:?}");
    assert!(all.len() == 1300 && all.iter().all(Answered::is_valid));
}

#[test]
fn a_worker_that_gets_nowhere_ten_times_is_given_up() {
    let rig = Rig::new();
    let running = rig.signer(&["--runtime", "native"]);
    let mut killed = Vec::new();
    while killed.len() < 10 {
        let victim = until(|| children(running.id()).into_iter().find(|pid| !killed.contains(pid)));
        kill(victim, Signal::KILL);
        killed.push(victim);
    }
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 10, "{ended:?}");
    assert!(ended.stderr.lines().last().unwrap().contains("10 in a row got nowhere"), "{ended:?}");
}

#[test]
fn workers_die_with_a_supervisor_that_is_killed_and_their_records_are_not_lost() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let first = rig.signer(&["--runtime", "native", "--workers", "2"]);
    let messages = messages(2000, &SIGNING);
    rig.produce(messages.clone());
    let second = Cell::new(None);
    let all = consume(&consumer, |sequence| {
        if sequence == 700 {
            let workers = children(first.id());
            assert_eq!(workers.len(), 2);
            kill(first.id(), Signal::KILL);
            until(|| workers.iter().all(|pid| !is_running(*pid)).then_some(()));
            second.set(Some(rig.signer(&["--runtime", "native"])));
        }
    });
    second.take().unwrap().wait().is_quiet(0);
    assert!(all.len() == messages.len() && all.iter().all(Answered::is_valid));
}

#[test]
fn an_interrupt_ends_the_workers_in_their_work_and_leaves_no_record_claimed() {
    for signal in [Signal::INT, Signal::TERM] {
        let rig = Rig::with(&RingOptions { capacity: 1 << 16, ..RingOptions::default() });
        let consumer = rig.consumer();
        rig.produce(messages(60_000, &SIGNING));
        until(|| (slots_in(&consumer, Stage::Closed) == 1).then_some(()));
        let running = rig.signer(&["--runtime", "native", "--workers", "2"]);
        until(|| (slots_in(&consumer, Stage::Signed) > 500).then_some(()));
        let workers = children(running.id());
        assert_eq!(workers.len(), 2);
        if signal == Signal::INT {
            // As from a terminal, which tells everybody.
            workers.iter().for_each(|pid| kill(*pid, signal));
        }
        kill(running.id(), signal);
        running.wait().says(1, "interrupted");
        assert!(workers.iter().all(|pid| !is_running(*pid)));
        assert!(slots_in(&consumer, Stage::Written) > 0, "they had finished before");
        assert_eq!(slots_in(&consumer, Stage::Signing), 0);
    }
}

#[test]
fn an_extension_that_never_returns_does_not_outlive_an_interrupt() {
    let rig = Rig::new();
    let endless = wasm::Module { before: ENDLESS, ..Default::default() };
    write_private(&rig.path("endless.wasm"), &endless.bytes());
    let module = format!("null={}", rig.path("endless.wasm").display());
    let consumer = rig.consumer();
    let running = rig.signer(&["--module", &module, "--deadline", "3600000"]);
    rig.produce(messages(1, &[Method::Null]));
    until(|| (slots_in(&consumer, Stage::Signing) == 1).then_some(()));
    let workers = children(running.id());
    kill(running.id(), Signal::TERM);
    running.wait().says(1, "interrupted");
    assert!(workers.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn an_extension_that_never_returns_does_not_outlive_its_supervisor() {
    let rig = Rig::new();
    let endless = wasm::Module { before: ENDLESS, ..Default::default() };
    write_private(&rig.path("endless.wasm"), &endless.bytes());
    let module = format!("null={}", rig.path("endless.wasm").display());
    let consumer = rig.consumer();
    let running = rig.signer(&["--module", &module, "--deadline", "3600000"]);
    rig.produce(messages(1, &[Method::Null]));
    until(|| (slots_in(&consumer, Stage::Signing) == 1).then_some(()));
    let workers = children(running.id());
    kill(running.id(), Signal::KILL);
    until(|| workers.iter().all(|pid| !is_running(*pid)).then_some(()));
}

#[test]
fn a_record_that_traps_its_extension_takes_no_neighbour_along() {
    let rig = Rig::new();
    let trapping = wasm::Module {
        before: "(if (i32.eq (local.get $byte) (i32.const 88)) (then unreachable))",
        ..Default::default()
    };
    write_private(&rig.path("trapping.wasm"), &trapping.bytes());
    let module = format!("null={}", rig.path("trapping.wasm").display());
    for runtime in ["wasmtime", "wasmi"] {
        let rig = Rig::new();
        let consumer = rig.consumer();
        // All is there before the signer comes, so that it claims whole batches.
        let texts: Vec<_> =
            (0..60).map(|i| if i % 20 == 10 { "X".to_owned() } else { format!("{i}") }).collect();
        rig.produce(texts.iter().map(|text| (Method::Null as u32, text.clone().into_bytes())).collect());
        until(|| (slots_in(&consumer, Stage::Closed) == 1).then_some(()));
        let running = rig.signer(&["--runtime", runtime, "--module", &module]);
        let all = consume(&consumer, |_| ());
        let ended = running.wait();
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!((ended.status.code(), lines.len()), (Some(1), 2), "one warning for all: {ended:?}");
        assert!(lines[0].contains("trapping.wasm") && lines[0].contains("the module trapped"), "{ended:?}");
        assert!(lines[1].contains("3 of 60 records could not be signed"), "{ended:?}");
        for (answered, text) in all.iter().zip(&texts) {
            let (status, signature) = match text.as_str() {
                "X" => (signer::status::ENGINE_FAILED, Vec::new()),
                text => (0, vec![text.as_bytes()[0]; 64]),
            };
            assert_eq!((answered.record.status, &answered.signature), (status, &signature), "{text}");
        }
    }
}

#[test]
fn a_worker_is_not_for_starting_by_hand() {
    // Descriptors that are closed, and one descriptor for two.
    for numbers in [["8", "9"], ["9", "9"]] {
        let shell = "exec \"$0\" worker --supervisor $PPID --ring /nowhere --control \"$1\" --stats \"$2\" 9</dev/null 8<&-";
        let mut command = Command::new("sh");
        command.args(["-c", shell, env!("CARGO_BIN_EXE_signer")]).args(numbers);
        support::output(&mut command).says(3, "a worker is started by `signer` alone");
    }
}

#[test]
fn a_worker_whose_supervisor_was_gone_before_it_could_ask_does_not_begin() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let mut orphan = rig.worker_of(1);
    assert_eq!(orphan.wait().unwrap().code(), Some(3));
    assert_eq!(live_signers(&consumer), [0; 0]);
    let mut child = rig.worker_of(std::process::id());
    until(|| (live_signers(&consumer) == [child.id()]).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
}
