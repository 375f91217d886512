//! A gallery of modules that must be refused, and of ones that lie: each with its own words, none with a panic.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{PARTS, on_all, one_record, text_with, wat};
use extension_engine::{
    EngineError, ExtensionKind, Limits, Module, PAGE_LEN, RecordError, Refusal, Runtime, Settings, Status,
    Variant, compile,
};

fn with(part: &str, other: &str) -> Vec<u8> {
    wat(&text_with(part, other))
}

/// What a file with these bytes is refused with.
fn refusal(bytes: Vec<u8>) -> Refusal {
    match Module::from_bytes("m.wasm", bytes, &Limits::default()).err().unwrap() {
        EngineError::Module { module, refusal } if module == "m.wasm" => refusal,
        error => panic!("{error}"),
    }
}

fn module(part: &str, other: &str) -> Module {
    Module::from_bytes("m.wasm", with(part, other), &Limits::default()).unwrap()
}

#[test]
fn the_harmless_one_is_accepted_so_that_the_others_are_refused_for_their_fault() {
    let module = module("none", "");
    assert_eq!(module.variant(), Variant::Base);
    for subject in on_all("any", &module) {
        let mut batch = one_record();
        let mut engine = subject.unwrap().instance();
        engine.run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!(batch.status(0), Err(RecordError::NotRun));
        engine.reset().unwrap();
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let whole = with("none", "");
    for bytes in [&b""[..], b"\0as", b"MZ\x90\0", b"(module)"] {
        assert!(matches!(refusal(bytes.to_vec()), Refusal::NotWasm));
    }
    for len in 4..whole.len() {
        let refusal = refusal(whole[..len].to_vec());
        let cut_between_sections = matches!(refusal, Refusal::NoAbiVersion | Refusal::MissingExport(_));
        assert!(matches!(refusal, Refusal::Invalid { .. }) || cut_between_sections, "{len} bytes: {refusal}");
    }
    assert!(matches!(refusal(wat("(component)")), Refusal::Invalid { .. }));
    let mut version_2 = whole;
    version_2[4] = 2;
    assert!(matches!(refusal(version_2), Refusal::Invalid { .. }));
}

#[test]
fn an_invalid_function_is_refused_with_its_offset() {
    let refusal = refusal(with("WasmInit", r#"(func (export "WasmInit") (i32.add) drop)"#)).to_string();
    assert!(refusal.starts_with("is not valid WebAssembly: ") && refusal.contains("offset"), "{refusal}");
}

#[test]
fn another_abi_version_is_named() {
    let other = r#"(func (export "WasmAbiVersion_2_0"))"#;
    let refusal_2 = refusal(with("WasmAbiVersion_1_0", other));
    assert!(matches!(&refusal_2, Refusal::AbiVersion(name) if name == "WasmAbiVersion_2_0"), "{refusal_2}");
    assert!(matches!(refusal(with("WasmAbiVersion_1_0", "")), Refusal::NoAbiVersion));
    assert!(matches!(refusal(wat("(module)")), Refusal::NoAbiVersion));
    // A module that speaks both is one of ours.
    let both = r#"(func (export "WasmAbiVersion_2_0")) (func (export "WasmAbiVersion_1_0"))"#;
    module("WasmAbiVersion_1_0", both);
}

#[test]
fn each_missing_export_is_named() {
    for (name, _) in PARTS.into_iter().filter(|(name, _)| *name != "WasmAbiVersion_1_0") {
        let refusal = refusal(with(name, ""));
        assert!(matches!(refusal, Refusal::MissingExport(missing) if missing == name), "{refusal}");
    }
}

#[test]
fn an_export_of_another_type_is_named_with_both_types() {
    for (name, _) in PARTS.into_iter().filter(|(name, _)| name.starts_with("Wasm") && !name.contains("Abi")) {
        for (other, found) in [
            (format!(r#"(func (export "{name}") (param i64) (result f32) (f32.const 0))"#), "(i64) -> (f32)"),
            (format!(r#"(global (export "{name}") i32 (i32.const 0))"#), "a global"),
        ] {
            let refusal = refusal(with(name, &other));
            let named = matches!(&refusal, Refusal::WrongExport { name: n, found: f, .. } if *n == name && f == found);
            assert!(named, "{refusal}");
        }
    }
    let no_memory = refusal(with("memory", r#"(func (export "memory"))"#)).to_string();
    assert_eq!(no_memory, "exports memory as a function instead of a memory");
    let run = refusal(with("WasmRun", r#"(func (export "WasmRun") (param i32 i32))"#)).to_string();
    assert_eq!(run, "exports WasmRun as (i32, i32) -> () instead of (i32, i32, i32) -> (i32)");
}

#[test]
fn an_unknown_import_is_named() {
    for (import, name) in [
        (r#"(import "env" "HostExit" (func (param i32)))"#, "env.HostExit"),
        (r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#, "wasi_snapshot_preview1.fd_write"),
        (r#"(import "ENV" "HostGetElem" (func (param i32 i32) (result i32)))"#, "ENV.HostGetElem"),
        (r#"(import "env" "memory" (memory 1))"#, "env.memory"),
        (r#"(import "env" "g" (global i32))"#, "env.g"),
        (r#"(import "env" "t" (table 1 funcref))"#, "env.t"),
        (r#"(import "env" "two\nlines" (func))"#, "env.two; lines"),
    ] {
        let text = if name == "env.memory" { text_with("memory", "") } else { text_with("none", "") };
        let text = text.replacen("(module ", &format!("(module {import}"), 1);
        let words = refusal(wat(&text)).to_string();
        assert!(words.starts_with(&format!("imports {name}: ")) && words.lines().count() == 1, "{words}");
    }
}

#[test]
fn a_host_function_of_another_type_is_named_with_both_types() {
    for (import, found) in [
        (r#"(import "env" "HostGetElem" (func (param i32) (result i32)))"#, "(i32) -> (i32)"),
        (r#"(import "env" "HostReadElems" (func (param i32 i32)))"#, "(i32, i32) -> ()"),
        (r#"(import "env" "HostGetElem" (global i32))"#, "no function"),
    ] {
        let refusal = refusal(with("", import));
        assert!(matches!(&refusal, Refusal::WrongImport { found: f, .. } if f == found), "{refusal}");
    }
}

#[test]
fn a_memory_beyond_the_limit_is_refused() {
    let limit = Limits::default().memory / PAGE_LEN;
    let pages = limit + 1;
    let refusal = refusal(with("memory", &format!(r#"(memory (export "memory") {pages})"#)));
    assert!(
        matches!(refusal, Refusal::MemoryTooLarge { pages: p, limit: l } if (p, l) == (pages, limit)),
        "{refusal}"
    );
    // And nobody grows beyond it.
    let memory = format!(r#"(memory (export "memory") {limit})"#);
    let init = r#"(func (export "WasmInit") (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)))"#;
    let text = text_with("memory", &memory).replace(PARTS[2].1, init);
    let module = Module::from_bytes("m.wasm", wat(&text).to_vec(), &Limits::default()).unwrap();
    for subject in on_all("any", &module) {
        subject.unwrap().instance();
    }
}

#[test]
fn what_came_after_webassembly_1_is_refused_for_wasm3() {
    let proposals = [
        ("sign extension", "(drop (i32.extend8_s (i32.const 1)))"),
        ("saturating conversion", "(drop (i32.trunc_sat_f32_s (f32.const 1)))"),
        ("bulk memory", "(memory.copy (i32.const 0) (i32.const 0) (i32.const 0))"),
        ("simd", "(drop (v128.const i64x2 0 0))"),
        ("wide arithmetic", "(drop (drop (i64.mul_wide_u (i64.const 1) (i64.const 1))))"),
    ];
    for (proposal, instruction) in proposals {
        let module = module("WasmInit", &format!(r#"(func (export "WasmInit") {instruction})"#));
        assert_eq!(module.variant(), Variant::Wide, "{proposal}");
        for &runtime in common::runtimes() {
            match (runtime, compile(runtime, "any", Some(&module), &Settings::default())) {
                (Runtime::Native, _) => {}
                (Runtime::Wasm3, compiled) => {
                    let error = compiled.err().unwrap().to_string();
                    assert!(error.starts_with("module m.wasm: is not valid WebAssembly 1.0: "), "{error}");
                }
                (_, compiled) => drop(compiled.unwrap().instantiate().unwrap()),
            }
        }
    }
}

#[test]
fn what_no_extension_needs_is_refused_for_all() {
    for other in [
        r#"(memory (export "memory") 2) (memory 1)"#,
        r#"(memory (export "memory") i64 2)"#,
        r#"(memory (export "memory") 2) (func (return_call 0))"#,
        r#"(memory (export "memory") 2) (func (result v128) (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))"#,
        r#"(memory (export "memory") 2) (tag)"#,
        r#"(memory (export "memory") 2 3 shared)"#,
    ] {
        let refusal = refusal(with("memory", other));
        assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal}");
    }
}

/// wasm3 writes such segments over the host's memory; the others refuse to instantiate them.
#[test]
fn a_segment_outside_of_its_memory_or_table_is_refused() {
    for segment in [
        r#"(data (i32.const 131072) "x")"#,
        r#"(data (i32.const -1) "xx")"#,
        r#"(data (i32.const -16) "0123456789abcdef0123")"#,
        r#"(table 1 funcref) (elem (i32.const 1) $f)"#,
        r#"(table 1 funcref) (elem (i32.const -1) $f $f)"#,
        r#"(table 1 funcref) (elem (i32.const 0x7ffffff0) $f)"#,
    ] {
        let part = format!(r#"(memory (export "memory") 2) (func $f) {segment}"#);
        for result in on_all("any", &module("memory", &part)) {
            let error = result.and_then(|subject| subject.program.instantiate().map(drop)).unwrap_err();
            let outside =
                matches!(&error, EngineError::Module { refusal: Refusal::SegmentOutside { .. }, .. });
            assert!(outside || matches!(error, EngineError::Instantiate { .. }), "{error}");
        }
    }
    let fits = r#"(memory (export "memory") 2) (func $f) (table 1 funcref)
        (elem (i32.const 0) $f) (data (i32.const 131071) "x") (data (i32.const 131072) "")"#;
    for subject in on_all("any", &module("memory", fits)) {
        subject.unwrap().instance();
    }
}

#[test]
fn a_start_function_is_refused() {
    let start = refusal(with("WasmInit", r#"(func $start) (start $start) (func (export "WasmInit"))"#));
    assert!(matches!(start, Refusal::StartFunction), "{start}");
}

#[test]
fn a_trap_is_named_in_one_line_and_ends_the_instance() {
    for (fault, reason) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const -4)))", "out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divi"),
    ] {
        let run =
            format!(r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) {fault} (i32.const 0))"#);
        for subject in on_all("any", &module("WasmRun", &run)) {
            let subject = subject.unwrap();
            let mut engine = subject.instance();
            let error = engine.run(ExtensionKind::Sign, &mut one_record()).unwrap_err();
            assert!(matches!(*error, EngineError::Trap { export: "WasmRun", .. }), "{error}");
            let words = error.to_string();
            assert!(words.contains(reason) && words.lines().count() == 1, "{words}");
            for error in
                [engine.run(ExtensionKind::Sign, &mut one_record()).unwrap_err(), engine.reset().unwrap_err()]
            {
                assert!(matches!(*error, EngineError::Unusable), "{}: {error}", subject.label);
            }
        }
    }
    for export in ["WasmInit", "WasmReset", "WasmFinit"] {
        let module = module(export, &format!(r#"(func (export "{export}") unreachable)"#));
        for subject in on_all("any", &module) {
            let result = subject.unwrap().program.instantiate().and_then(|mut engine| Ok(engine.reset()?));
            match (export, result) {
                ("WasmFinit", result) => result.unwrap(),
                (_, result) => {
                    let error = result.unwrap_err();
                    assert!(matches!(error, EngineError::Trap { export: e, .. } if e == export), "{error}");
                }
            }
        }
    }
}

#[test]
fn deep_recursion_is_a_trap() {
    let run = r#"(func $run (export "WasmRun") (param i32 i32 i32) (result i32)
        (call $run (local.get 0) (local.get 1) (local.get 2)))"#;
    let least = r#"(func $deep (call $deep))
        (func (export "WasmRun") (param i32 i32 i32) (result i32) (call $deep) (i32.const 0))"#;
    for run in [run, least] {
        for subject in on_all("any", &module("WasmRun", run)) {
            let error = subject.unwrap().instance().run(ExtensionKind::Sign, &mut one_record()).unwrap_err();
            assert!(matches!(*error, EngineError::Trap { .. }), "{error}");
        }
    }
}

#[test]
fn a_number_that_is_no_status_is_an_error() {
    for (answer, expected) in
        [(1, None), (3, None), (10, Some(10)), (-1, Some(-1)), (i32::MIN, Some(i32::MIN))]
    {
        let run =
            format!(r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) (i32.const {answer}))"#);
        for subject in on_all("any", &module("WasmRun", &run)) {
            let mut batch = one_record();
            let error = subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap_err();
            match *error {
                EngineError::Refused(status) => assert_eq!((status as i32, None), (answer, expected)),
                EngineError::UnknownStatus(status) => assert_eq!(Some(status), expected),
                error => panic!("{error}"),
            }
            assert_eq!(batch.status(0), Err(RecordError::NotRun));
        }
    }
}

/// A `WasmRun` that writes `status` and `out_len` into the first record.
fn liar(status: i32, out_len: u32) -> Module {
    let run = format!(
        r#"(func (export "WasmRun") (param i32 i32 i32) (result i32)
            (i32.store offset=52 (local.get 2) (i32.const {status}))
            (i32.store offset=48 (local.get 2) (i32.const {out_len}))
            (i32.const 0))"#
    );
    module("WasmRun", &run)
}

#[test]
fn a_lie_about_the_outputs_length_is_that_records_error() {
    for out_len in [9, 64, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for subject in on_all("any", &liar(0, out_len)) {
            let mut batch = one_record();
            subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
            assert_eq!(batch.status(0), Err(RecordError::OutputTooLong { len: out_len, cap: 8 }));
            assert!(batch.output(0).is_empty());
        }
    }
    for subject in on_all("any", &liar(0, 8)) {
        let mut batch = one_record();
        subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!((batch.status(0), batch.output(0).len()), (Ok(()), 8));
    }
}

#[test]
fn an_unknown_status_is_that_records_error_and_a_failed_record_has_no_output() {
    for (status, expected) in [
        (10, RecordError::UnknownStatus(10)),
        (-2, RecordError::UnknownStatus(-2)),
        (i32::MAX, RecordError::UnknownStatus(i32::MAX)),
        (-1, RecordError::NotRun),
        (9, RecordError::Failed(Status::SigningFailed)),
    ] {
        for subject in on_all("any", &liar(status, 8)) {
            let mut batch = one_record();
            subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
            assert_eq!((batch.status(0), batch.output(0)), (Err(expected), &[][..]));
        }
    }
}

#[test]
fn what_the_host_wrote_it_reads_back_from_its_own_copy() {
    // Fills the whole block, which is 76 bytes with its output, with ones, and says that all went well.
    let run = r#"(func (export "WasmRun") (param $name i32) (param $kind i32) (param $arg i32) (result i32)
        (local $i i32)
        (loop $next
            (i32.store8 (i32.add (local.get $arg) (local.get $i)) (i32.const 1))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 76))))
        (i32.store offset=52 (local.get $arg) (i32.const 0))
        (i32.store offset=48 (local.get $arg) (i32.const 2))
        (i32.const 0))"#;
    for subject in on_all("any", &module("WasmRun", run)) {
        let mut batch = one_record();
        subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!((batch.status(0), batch.message(0), batch.output(0)), (Ok(()), &b"text"[..], &[1, 1][..]));
    }
}

#[test]
fn a_buffer_that_is_not_the_modules_to_give_is_refused() {
    for ptr in [2, 65537, 131_072, 131_068, -4, i32::MIN] {
        let malloc = format!(r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const {ptr}))"#);
        for subject in on_all("any", &module("WasmMalloc", &malloc)) {
            let error = subject.unwrap().program.instantiate().err().unwrap();
            assert!(matches!(error, EngineError::Buffer { ptr: p, .. } if p == ptr as u32), "{error}");
        }
    }
}

/// wasm3 adds the pages without looking for an overflow, so that its memory can shrink.
#[test]
fn a_memory_that_shrinks_is_no_way_out_of_it() {
    let run = r#"(func (export "WasmRun") (param i32 i32 i32) (result i32)
        (drop (memory.grow (i32.const -2))) (i32.const 0))"#;
    for subject in on_all("any", &module("WasmRun", run)) {
        let mut engine = subject.unwrap().instance();
        for _ in 0..2 {
            if let Err(error) = engine.run(ExtensionKind::Sign, &mut one_record()) {
                assert!(matches!(*error, EngineError::Buffer { .. }), "{error}");
            }
        }
    }
}

#[test]
fn the_host_state_is_empty() {
    let imports = r#"(import "env" "HostGetElem" (func $get (param i32 i32) (result i32)))
        (import "env" "HostReadElems" (func $read (param i32 i32) (result i32)))"#;
    let run = r#"(func (export "WasmRun") (param i32 i32 i32) (result i32)
        (local $out i32)
        (local.set $out (i32.load offset=40 (local.get 2)))
        (i32.store8 offset=0 (local.get $out) (call $get (i32.const 0) (i32.const 0)))
        (i32.store8 offset=1 (local.get $out) (call $read (i32.const 7) (i32.const 0)))
        (i32.store offset=48 (local.get 2) (i32.const 2))
        (i32.store offset=52 (local.get 2) (i32.const 0))
        (i32.const 0))"#;
    let on_read = r#"(func (export "WasmOnRead") (param i32 i32 i32) unreachable)"#;
    let text = text_with("", imports).replace(PARTS[5].1, run).replace(PARTS[7].1, on_read);
    for subject in on_all("any", &Module::from_bytes("m.wasm", wat(&text), &Limits::default()).unwrap()) {
        let mut batch = one_record();
        subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!((batch.status(0), batch.output(0)), (Ok(()), &[1, 0][..]), "absent, and nothing read");
    }
}

#[test]
fn the_extensions_name_is_shown_to_the_module_and_ends() {
    // Its output is the name, up to and with the NUL.
    let run = r#"(func (export "WasmRun") (param $name i32) (param i32) (param $arg i32) (result i32)
        (i64.store (i32.load offset=40 (local.get $arg)) (i64.load (local.get $name)))
        (i32.store offset=48 (local.get $arg) (i32.const 4))
        (i32.store offset=52 (local.get $arg) (i32.const 0))
        (i32.const 0))"#;
    let module = module("WasmRun", run);
    for subject in on_all("abc", &module) {
        let mut batch = one_record();
        subject.unwrap().instance().run(ExtensionKind::Sign, &mut batch).unwrap();
        assert_eq!(batch.output(0), b"abc\0");
    }
    for name in ["a\0b", &"a".repeat(64)] {
        for subject in on_all(name, &module) {
            let error = subject.err().unwrap();
            assert!(matches!(error, EngineError::UnknownExtension(_)), "{error}");
        }
    }
}
