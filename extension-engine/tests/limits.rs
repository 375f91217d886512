//! What modules may use: time, memory, stack, length. Whoever wants more is stopped, with a clear word, and nobody else is.
//!
//! What can't be interrupted takes its process along: it runs in a child, which is this very program.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, process, thread};

use common::{one_record, runtimes, sign, text_with, wat};
use extension_engine::cache::{CacheLimits, MemoryCache};
use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Limits, Module, PAGE_LEN, Refusal, Runtime, Settings,
    compile, on_overdue,
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
    compile(runtime, "any", Some(module), &Settings { limits: limits.clone(), ..Settings::default() })?
        .instantiate()
}

/// Starts an instance of `module`, and uses it as far as it goes.
fn live(runtime: Runtime, module: &Module, limits: &Limits) -> Result<(), EngineError> {
    let mut engine = instance(runtime, module, limits)?;
    let result = engine.run(ExtensionKind::Sign, &mut one_record()).and_then(|()| engine.reset());
    assert_eq!(engine.is_usable(), result.is_ok());
    if result.is_err() {
        let again = engine.run(ExtensionKind::Sign, &mut one_record());
        assert!(matches!(*again.unwrap_err(), EngineError::Unusable));
    }
    Ok(result?)
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
        "native" => {
            let limits = Limits { deadline: Duration::from_millis(1), ..Limits::default() };
            let program =
                compile(runtime, "schnorr", None, &Settings { limits, ..Settings::default() }).unwrap();
            let mut engine = program.instantiate().unwrap();
            engine.set_key(&[7; 32]).unwrap();
            // It hashes them twice, which takes at least 30 ms on the fastest of machines.
            let mut batch = Batch::new(1, 31 << 20, 64).unwrap();
            batch.push(31 << 20, |_| ()).unwrap();
            engine.run(ExtensionKind::Sign, &mut batch).unwrap();
        }
        "compile" => {
            let limits = Limits { compile: Duration::from_millis(1), ..Limits::default() };
            // Many times over, for a machine that takes no 20 ms for one.
            for _ in 0..20 {
                let text = text_with("WasmRun", &busy_function(300_000));
                let module = Module::from_bytes("long.wasm", wat(&text), &Limits::MAX).unwrap();
                let settings = Settings {
                    limits: Limits { module_len: u64::MAX, ..limits.clone() },
                    ..Settings::default()
                };
                compile(runtime, "any", Some(&module), &settings).unwrap().instantiate().unwrap();
            }
        }
        "hook" => {
            on_overdue(|notice| {
                assert!(notice.starts_with("module m.wasm: WasmRun on "));
                process::exit(77)
            });
            live(runtime, &doing("WasmRun", LOOP), &short()).unwrap();
        }
        "busy" => {
            // CPU time of 50 ms to 1 s, depending on the runtime.
            let rounds = if runtime == Runtime::Wasmtime { 300_000_000 } else { 20_000_000 };
            let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
            println!("running");
            live(runtime, &doing("WasmRun", &count(rounds)), &limits).unwrap();
        }
        part => live(runtime, &doing(part, LOOP), &short()).unwrap(),
    }
}

/// Counts to `rounds`.
fn count(rounds: u32) -> String {
    format!(
        "(local $i i32) (loop $next
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const {rounds}))))"
    )
}

/// A function that takes its time to compile.
fn busy_function(instructions: usize) -> String {
    let sum = "(local.set 0 (i32.add (local.get 0) (i32.mul (local.get 1) (local.get 2))))";
    format!(
        r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) {} (i32.const 0))"#,
        sum.repeat(instructions / 5)
    )
}

fn assert_overdue(output: &Output, line: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.lines().any(|l| l == line), "{stderr:?} without {line:?}");
}

fn modules_runtimes() -> impl Iterator<Item = Runtime> {
    runtimes().iter().copied().filter(|runtime| *runtime != Runtime::Native)
}

#[test]
fn an_endless_loop_is_interrupted_or_takes_its_process_along() {
    for part in ["WasmInit", "WasmMalloc", "WasmRun", "WasmReset"] {
        for runtime in modules_runtimes() {
            if can_be_interrupted(runtime) {
                let error = live(runtime, &doing(part, LOOP), &short()).unwrap_err();
                let named = matches!(error, EngineError::Deadline { export, .. } if export == part);
                assert!(named, "{part} on {runtime}: {error}");
            } else {
                let line = format!(
                    "module m.wasm: {part} on {runtime} is overdue: it may take 20 ms of CPU time a record"
                );
                assert_overdue(&child(part, runtime).output().unwrap(), &line);
            }
        }
    }
}

/// An instance that loops when it is dropped is not waited for longer than any other.
#[test]
fn an_endless_loop_at_the_end_ends() {
    for runtime in modules_runtimes().filter(|runtime| can_be_interrupted(*runtime)) {
        live(runtime, &doing("WasmFinit", LOOP), &short()).unwrap();
    }
}

#[test]
fn native_code_that_takes_too_long_takes_its_process_along() {
    let line = "extension schnorr on native is overdue: it may take 1 ms of CPU time a record";
    assert_overdue(&child("native", Runtime::Native).output().unwrap(), line);
}

#[test]
fn compiling_for_too_long_takes_the_process_along() {
    for runtime in modules_runtimes() {
        let line = "module long.wasm: compiling it is overdue: that may take 0.001 s of CPU time";
        assert_overdue(&child("compile", runtime).output().unwrap(), line);
    }
}

#[test]
fn the_hosts_own_hook_is_called_instead() {
    for runtime in modules_runtimes().filter(|runtime| !can_be_interrupted(*runtime)) {
        let output = child("hook", runtime).output().unwrap();
        assert_eq!(output.status.code(), Some(77), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn who_is_stopped_is_not_taken_for_one_that_loops() {
    let mut children: Vec<_> = modules_runtimes()
        .map(|runtime| {
            let mut child = child("busy", runtime).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "running"));
            (child, lines, runtime)
        })
        .collect();
    let signal = |child: &Child, signal: i32| {
        // SAFETY: the child was not waited for, so that the id is still its.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    };
    thread::sleep(Duration::from_millis(10));
    children.iter().for_each(|(child, ..)| signal(child, libc::SIGSTOP));
    // Longer than the deadline of 2 s.
    thread::sleep(Duration::from_millis(2500));
    children.iter().for_each(|(child, ..)| signal(child, libc::SIGCONT));
    for (child, _, runtime) in &mut children {
        assert!(child.wait().unwrap().success(), "{runtime}");
    }
}

/// Time is counted by thread, although all of wasmtime's instances have one epoch.
#[test]
fn a_busy_neighbour_uses_nobody_elses_time_up() {
    for runtime in modules_runtimes().filter(|runtime| can_be_interrupted(*runtime)) {
        let looping = doing("WasmRun", LOOP);
        // Of CPU time: less than the neighbour is going to use up.
        let brief = doing("WasmRun", &count(100_000));
        thread::scope(|scope| {
            let neighbour = scope.spawn(|| {
                let limits = Limits { deadline: Duration::from_secs(1), ..Limits::default() };
                live(runtime, &looping, &limits).unwrap_err()
            });
            // Not less: a virtual machine counts what its host takes away from it as used.
            let limits = Limits { deadline: Duration::from_millis(250), ..Limits::default() };
            let mut engine = instance(runtime, &brief, &limits).unwrap();
            while !neighbour.is_finished() {
                engine.run(ExtensionKind::Sign, &mut one_record()).unwrap();
            }
            let error = neighbour.join().unwrap();
            assert!(matches!(error, EngineError::Deadline { .. }), "{error}");
        });
    }
}

/// A batch has a record's time for each of its records.
#[test]
fn a_batch_has_more_time_than_a_record() {
    for runtime in modules_runtimes().filter(|runtime| can_be_interrupted(*runtime)) {
        let mut engine = instance(runtime, &doing("WasmRun", LOOP), &short()).unwrap();
        let mut batch = Batch::new(10, 1, 1).unwrap();
        for _ in 0..10 {
            batch.push(1, |_| ()).unwrap();
        }
        let before = cpu_time();
        let error = engine.run(ExtensionKind::Sign, &mut batch).unwrap_err();
        assert!(matches!(*error, EngineError::Deadline { .. }), "{error}");
        // Not a time that a machine could be too slow for: it can't have been interrupted before.
        assert!(cpu_time() - before >= Duration::from_millis(200));
    }
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it lives.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_memory_bomb_is_told_from_other_traps() {
    let bomb = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    for part in ["WasmInit", "WasmMalloc", "WasmRun", "WasmReset"] {
        for runtime in modules_runtimes() {
            let error = live(runtime, &doing(part, bomb), &Limits::default()).unwrap_err();
            let named = matches!(error, EngineError::OutOfMemory { export, limit, .. }
                if export == part && limit == Limits::default().memory);
            assert!(named, "{part} on {runtime}: {error}");
        }
    }
    for runtime in modules_runtimes() {
        let error = live(runtime, &doing("WasmRun", "unreachable"), &Limits::default()).unwrap_err();
        assert!(matches!(error, EngineError::Trap { .. }), "{error}");
    }
}

#[test]
fn no_module_gets_more_memory_than_its_limit() {
    // Answers how many pages it has got.
    let run = r#"(func (export "WasmRun") (param i32 i32 i32) (result i32)
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (memory.size))"#;
    let module = Module::from_bytes("m.wasm", wat(&text_with("WasmRun", run)), &Limits::default()).unwrap();
    for runtime in modules_runtimes() {
        for pages in [2, 16, 100] {
            let limits = Limits { memory: pages * PAGE_LEN + PAGE_LEN / 2, ..Limits::default() };
            let mut engine = instance(runtime, &module, &limits).unwrap();
            engine.run(ExtensionKind::Sign, &mut one_record()).unwrap_err();
            assert_eq!(engine.memory().unwrap().len() as u64, pages * PAGE_LEN, "{runtime}");
        }
        let limits = Limits { memory: PAGE_LEN, ..Limits::default() };
        let error = instance(runtime, &module, &limits).err().unwrap();
        let refused = matches!(
            error,
            EngineError::Module { refusal: Refusal::MemoryTooLarge { pages: 2, limit: 1 }, .. }
        );
        assert!(refused, "{error}");
    }
}

#[test]
fn a_module_that_was_compiled_before_is_held_to_the_memory_of_now() {
    let module = doing("WasmReset", "");
    let cache = Arc::new(MemoryCache::new(&CacheLimits::default()));
    let settings = |memory| Settings { limits: Limits { memory, ..Limits::default() }, cache: cache.clone() };
    for runtime in modules_runtimes() {
        let instance = |memory| compile(runtime, "any", Some(&module), &settings(memory))?.instantiate();
        instance(2 * PAGE_LEN).unwrap();
        // As soon as the module is looked at, or where it was not because it is known, when its instance is made.
        let error = instance(PAGE_LEN).err().unwrap();
        assert!(
            matches!(
                error,
                EngineError::Instantiate { .. }
                    | EngineError::Module { refusal: Refusal::MemoryTooLarge { pages: 2, limit: 1 }, .. }
            ),
            "{runtime}: {error}"
        );
        println!("{runtime}: {error}");
    }
}

#[test]
fn a_batch_that_the_memory_has_no_room_for_fails_and_the_next_instance_signs() {
    for runtime in modules_runtimes() {
        let settings =
            Settings { limits: Limits { memory: 1 << 20, ..Limits::default() }, ..Settings::default() };
        let program = compile(runtime, "ecdsa", None, &settings).unwrap();
        let mut engine = program.instantiate().unwrap();
        engine.set_key(&[7; 32]).unwrap();
        let first = sign(&mut *engine, &[b"short"]);
        let mut long = Batch::new(1, 1 << 20, 64).unwrap();
        long.push(1 << 20, |_| ()).unwrap();
        let error = engine.run(ExtensionKind::Sign, &mut long).unwrap_err();
        assert!(matches!(*error, EngineError::OutOfMemory { export: "WasmMalloc", .. }), "{error}");
        assert!(!engine.is_usable());
        let mut engine = program.instantiate().unwrap();
        engine.set_key(&[7; 32]).unwrap();
        assert_eq!(sign(&mut *engine, &[b"short"]), first);
    }
}

#[test]
fn a_larger_limit_of_stack_is_a_deeper_one_and_the_greatest_fits_into_a_thread() {
    // Counts its calls at address 512.
    let run = r#"(func $deeper (param i32) (result i32)
            (i32.store (i32.const 512) (local.get 0))
            (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
        (func (export "WasmRun") (param i32 i32 i32) (result i32) (call $deeper (i32.const 0)))"#;
    let module = Module::from_bytes("m.wasm", wat(&text_with("WasmRun", run)), &Limits::default()).unwrap();
    for runtime in modules_runtimes() {
        let depth = |stack: u32| {
            let mut engine = instance(runtime, &module, &Limits { stack, ..Limits::default() }).unwrap();
            let error = engine.run(ExtensionKind::Sign, &mut one_record()).unwrap_err();
            assert!(matches!(*error, EngineError::Trap { .. }), "{runtime}: {error}");
            u32::from_le_bytes(engine.memory().unwrap()[512..516].try_into().unwrap())
        };
        let depths = [16 << 10, Limits::default().stack, Limits::MAX.stack].map(depth);
        println!("{runtime}: {depths:?} calls");
        assert!(depths[0] * 8 < depths[1] && depths[1] * 3 < depths[2] * 2, "{runtime}: {depths:?}");
    }
}

/// wasm3 takes native stack for each loop besides.
#[test]
fn recursion_through_loops_is_a_trap_and_too_many_of_them_are_refused() {
    let nested = |loops: usize| {
        let run = format!(
            r#"(func $run (export "WasmRun") (param i32 i32 i32) (result i32)
                {} (drop (call $run (i32.const 0) (i32.const 0) (i32.const 0))) {} (i32.const 0))"#,
            "(loop ".repeat(loops),
            ")".repeat(loops)
        );
        Module::from_bytes("m.wasm", wat(&text_with("WasmRun", &run)), &Limits::default()).unwrap()
    };
    for runtime in modules_runtimes() {
        for stack in [Limits::default().stack, Limits::MAX.stack] {
            for loops in [0, 5, 50, 500] {
                let error =
                    live(runtime, &nested(loops), &Limits { stack, ..Limits::default() }).unwrap_err();
                assert!(matches!(error, EngineError::Trap { .. }), "{loops} on {runtime}: {error}");
            }
        }
        let error = live(runtime, &nested(501), &Limits::default()).unwrap_err();
        let is_refused =
            matches!(error, EngineError::Module { refusal: Refusal::NestedTooDeep { limit: 500 }, .. });
        assert_eq!(is_refused, runtime == Runtime::Wasm3, "{error}");
    }
}

#[test]
fn a_table_bomb_is_refused() {
    for len in [65_536, 65_537, u32::MAX] {
        let text = text_with("", &format!("(table {len} funcref)"));
        match Module::from_bytes("m.wasm", wat(&text), &Limits::default()) {
            Ok(_) => assert_eq!(len, 65_536),
            Err(EngineError::Module { refusal: Refusal::TableTooLarge { elements, .. }, .. }) => {
                assert!(len > 65_536 && elements == u64::from(len));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn no_file_is_read_beyond_the_limit() {
    let limits = Limits { module_len: 1000, ..Limits::default() };
    // The second would never end.
    let too_long = [env::current_exe().unwrap(), "/dev/zero".into()];
    for path in too_long {
        let error = Module::from_file(&path, &limits).err().unwrap();
        assert!(
            matches!(error, EngineError::Module { refusal: Refusal::TooLong { limit: 1000 }, .. }),
            "{error}"
        );
    }
    let module = doing("WasmRun", &" nop".repeat(1000));
    let bytes = module.bytes().to_vec();
    let len = bytes.len() as u64;
    for (module_len, fits) in [(len, true), (len - 1, false)] {
        let limits = Limits { module_len, ..Limits::default() };
        assert_eq!(Module::from_bytes("m.wasm", bytes.clone(), &limits).is_ok(), fits);
        for runtime in modules_runtimes() {
            let settings = Settings { limits: limits.clone(), ..Settings::default() };
            assert_eq!(compile(runtime, "any", Some(&module), &settings).is_ok(), fits);
        }
    }
}
