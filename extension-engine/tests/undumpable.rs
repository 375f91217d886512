//! A process that has made itself undumpable restores an instance's memory as any other does, if it was prepared; and
//! copies all of it if not. Alone in this file, since it changes its process.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{on_all, one_record, text_with, wat};
use extension_engine::{ExtensionKind, Limits, Module, prepare_process};

#[test]
fn an_undumpable_process_restores_too() {
    prepare_process();
    // SAFETY: it changes an attribute of the process.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }, 0);
    let run = r#"(func (export "WasmRun") (param i32 i32 i32) (result i32)
        (i64.store (i32.const 100000) (i64.const -1)) (i32.const 77))"#;
    let module = Module::from_bytes("m.wasm", wat(&text_with("WasmRun", run)), &Limits::default()).unwrap();
    for subject in on_all("any", &module) {
        let mut engine = subject.unwrap().instance();
        engine.reset().unwrap();
        let before = engine.memory().unwrap().to_vec();
        engine.run(ExtensionKind::Sign, &mut one_record()).unwrap_err();
        assert!(engine.is_usable() && engine.memory().unwrap() == before);
    }
}
