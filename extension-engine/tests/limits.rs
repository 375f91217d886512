//! What modules may use: time, memory, stack, length. Whoever wants more is stopped, with a clear word, and nobody else is.
//!
//! What can't be interrupted takes its process along: it runs in a child, which is this very program.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::env;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{one_record, runtimes, text_with, wat};
use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Limits, Module, Runtime, Settings, compile,
};

const LOOP: &str = "(loop $again (br $again))";

/// The harmless extension, in which `part` does `what`.
fn doing(part: &str, what: &str) -> Module {
    let other = match part {
        "WasmMalloc" => {
            format!(r#"(func (export "WasmMalloc") (param i32) (result i32) {what} (i32.const 1024))"#)
        }
        "WasmRun" => {
            format!(r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) {what} (i32.const 0))"#)
        }
        _ => format!(r#"(func (export "{part}") {what})"#),
    };
    Module::from_bytes("m.wasm", wat(&text_with(part, &other)), &Limits::default()).unwrap()
}

fn instance(
    runtime: Runtime,
    module: &Module,
    limits: &Limits,
) -> Result<Box<dyn ExtensionEngine>, EngineError> {
    compile(runtime, "any", Some(module), &Settings { limits: limits.clone() })?.instantiate()
}

/// Starts an instance of `module`, and uses it as far as it goes.
fn live(runtime: Runtime, module: &Module, limits: &Limits) -> Result<(), EngineError> {
    let mut engine = instance(runtime, module, limits)?;
    let result = engine.run(ExtensionKind::Sign, &mut one_record()).and_then(|()| engine.reset());
    assert_eq!(engine.is_usable(), result.is_ok());
    if result.is_err() {
        let again = engine.run(ExtensionKind::Sign, &mut one_record());
        assert!(matches!(again, Err(EngineError::Unusable)));
    }
    result
}

fn can_be_interrupted(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Wasmtime | Runtime::Wasmi)
}

fn short() -> Limits {
    Limits { deadline: Duration::from_millis(20), ..Limits::default() }
}

/// Runs the test `a_child` as `case` on `runtime`, in a process of its own.
fn child(case: &str, runtime: Runtime) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["a_child", "--exact", "--nocapture"]).env("CHILD", format!("{case} {runtime}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_child() {
    let Ok(child) = env::var("CHILD") else { return };
    let (case, runtime) = child.split_once(' ').unwrap();
    let runtime = runtime.parse().unwrap();
    match case {
        "hash" => {
            let mut engine = compile(runtime, "ecdsa", None, &Settings { limits: short() })
                .unwrap()
                .instantiate()
                .unwrap();
            let mut batch = Batch::new(1, 30 << 20, 64).unwrap();
            for _ in 0..100 {
                batch.clear();
                batch.push(30 << 20, |_| ()).unwrap();
                engine.run(ExtensionKind::Hash, &mut batch).unwrap();
            }
        }
        part => live(runtime, &doing(part, LOOP), &short()).unwrap(),
    }
}

fn assert_overdue(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let line = format!("{words} is overdue: it may take 20 ms of CPU time a record");
    assert!(stderr.lines().any(|l| l == line), "{stderr:?} without {line:?}");
}

#[test]
fn an_endless_loop_is_interrupted_or_takes_its_process_along() {
    for part in ["WasmInit", "WasmMalloc", "WasmRun", "WasmReset"] {
        for &runtime in runtimes().iter().filter(|runtime| **runtime != Runtime::Native) {
            if can_be_interrupted(runtime) {
                let error = live(runtime, &doing(part, LOOP), &short()).unwrap_err();
                let named = matches!(error, EngineError::Deadline { export, .. } if export == part);
                assert!(named, "{part} on {runtime}: {error}");
            } else {
                let output = child(part, runtime).output().unwrap();
                assert_overdue(&output, &format!("module m.wasm: {part} on {runtime}"));
            }
        }
    }
}

/// An instance that loops when it is dropped is not waited for longer than any other.
#[test]
fn an_endless_loop_at_the_end_ends() {
    for &runtime in runtimes().iter().filter(|runtime| can_be_interrupted(**runtime)) {
        live(runtime, &doing("WasmFinit", LOOP), &short()).unwrap();
    }
}

#[test]
fn native_code_that_takes_too_long_takes_its_process_along() {
    let output = child("hash", Runtime::Native).output().unwrap();
    assert_overdue(&output, "extension ecdsa on native");
}
