//! What an error leaves behind: nothing, if the extension returned normally; otherwise another instance takes its place.
//! Whatever came before, the next record is signed as the first one was, bit for bit.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{Subject, batch, on_all, one_record, sign, subjects, text_with, wat};
use extension_engine::{Batch, EngineError, ExtensionEngine, ExtensionKind, Limits, Module, Status};

const SECRET: [u8; 32] = [0x5e; 32];

/// A "signer": SetKey keeps the first 8 bytes of its message, Sign xors them with those of each batch's first message.
/// The kinds beyond are its vices: Verify answers an error that is no status after it has written all over its memory,
/// Hash traps, Validator makes its memory grow and then answers an error, Projector answers an error without
/// having done anything.
const VICIOUS: &str = r#"
(func $scribble (local $i i32)
    (loop $next
        (i64.store (local.get $i) (i64.const 0x5555555555555555))
        (local.set $i (i32.add (local.get $i) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536))))))
(func $done (param $arg i32) (param $len i32) (result i32)
    (i32.store offset=48 (local.get $arg) (local.get $len))
    (i32.store offset=52 (local.get $arg) (i32.const 0))
    (i32.const 0))
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $arg i32) (result i32)
    (local $key i32)
    (local.set $key (i32.const 512))
    (if (i32.eq (local.get $kind) (i32.const 0)) (then
        (i64.store (local.get $key) (i64.load (i32.load offset=32 (local.get $arg))))
        (return (call $done (local.get $arg) (i32.const 0)))))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then
        (i64.store (i32.load offset=40 (local.get $arg)) (i64.xor
            (i64.load (local.get $key))
            (i64.load (i32.load offset=32 (local.get $arg)))))
        (return (call $done (local.get $arg) (i32.const 8)))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (call $scribble) (return (i32.const 77))))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then (unreachable)))
    (if (i32.eq (local.get $kind) (i32.const 4)) (then
        (drop (memory.grow (i32.const 1))) (call $scribble) (return (i32.const 3))))
    (i32.const 3))"#;

/// Gives new pages, as the modules of this project do.
const MALLOC: &str = r#"(func (export "WasmMalloc") (param $len i32) (result i32)
    (i32.mul (i32.const 65536) (memory.grow (i32.add (i32.const 1)
        (i32.div_u (local.get $len) (i32.const 65536))))))"#;

fn vicious() -> Module {
    let text = text_with("WasmRun", VICIOUS)
        .replace(r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const 1024))"#, MALLOC);
    Module::from_bytes("vicious.wasm", wat(&text), &Limits::default()).unwrap()
}

fn xor(message: &[u8; 8]) -> Vec<u8> {
    message.iter().map(|byte| byte ^ SECRET[0]).collect()
}

fn run(engine: &mut dyn ExtensionEngine, kind: ExtensionKind) -> Result<(), EngineError> {
    Ok(engine.run(kind, &mut batch(&[b"message."]))?)
}

#[test]
fn after_an_error_status_every_byte_of_memory_is_as_before() {
    for subject in on_all("any", &vicious()) {
        let mut engine = subject.unwrap().instance();
        engine.set_key(&SECRET).unwrap();
        let before = engine.memory().unwrap().to_vec();
        for _ in 0..3 {
            let error = run(&mut *engine, ExtensionKind::Verify).unwrap_err();
            assert!(matches!(error, EngineError::UnknownStatus(77)), "{error}");
            assert!(engine.is_usable());
            assert!(engine.memory().unwrap() == before);
            assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")]);
        }
    }
}

/// Without a key, as for who only verifies, there is a backup all the same.
#[test]
fn an_instance_without_a_key_is_restored_too() {
    for subject in on_all("any", &vicious()) {
        let mut engine = subject.unwrap().instance();
        let before = engine.memory().unwrap().to_vec();
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        assert!(engine.is_usable() && engine.memory().unwrap()[..1024] == before[..1024]);
    }
}

#[test]
fn a_key_that_was_replaced_is_not_restored() {
    for subject in on_all("any", &vicious()) {
        let mut engine = subject.unwrap().instance();
        engine.set_key(&[0x11; 32]).unwrap();
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        engine.set_key(&SECRET).unwrap();
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")]);
        let old = [0x11; 8];
        assert!(!engine.memory().unwrap().windows(8).any(|window| window == old));
    }
}

/// Between SetKey and the reset there is no backup of the new key, and the old one's is gone.
#[test]
fn an_error_before_the_new_key_is_backed_up_does_not_bring_back_the_old_one() {
    for subject in on_all("any", &vicious()) {
        let mut engine = subject.unwrap().instance();
        engine.set_key(&[0x11; 32]).unwrap();
        engine.run(ExtensionKind::SetKey, &mut batch(&[SECRET])).unwrap();
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")]);
    }
}

/// Its module may have lied about the larger buffer's place: then a restore would bring back what the host has overwritten.
#[test]
fn after_a_larger_buffer_an_error_costs_the_instance() {
    for subject in on_all("any", &vicious()) {
        let subject = subject.unwrap();
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        for len in [8, 100_000, 8, 1_000_000, 70_000] {
            let mut batch = Batch::new(1, len, 64).unwrap();
            batch.push(len, |message| message.fill(0xa7)).unwrap();
            engine.run(ExtensionKind::Sign, &mut batch).unwrap();
            assert_eq!(batch.output(0), xor(&[0xa7; 8]));
            engine.reset().unwrap();
            assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")]);
        }
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        assert!(!engine.is_usable(), "{}", subject.label);
    }
}

#[test]
fn a_memory_that_has_grown_in_an_error_is_not_used_again() {
    for subject in on_all("any", &vicious()) {
        let mut engine = subject.unwrap().instance();
        engine.set_key(&SECRET).unwrap();
        let error = run(&mut *engine, ExtensionKind::Validator).unwrap_err();
        assert!(matches!(error, EngineError::Refused(Status::UnsupportedKind)), "{error}");
        assert!(!engine.is_usable());
        let again = engine.run(ExtensionKind::Sign, &mut one_record());
        assert!(matches!(*again.unwrap_err(), EngineError::Unusable));
    }
}

/// As the signer does it: after a trap another instance, with the same key.
#[test]
fn a_hundred_thousand_traps_later_the_next_record_is_signed_alike() {
    on_all_at_once(|subject| {
        for i in 0..100_000_u64 {
            let mut engine = subject.instance();
            engine.set_key(&SECRET).unwrap();
            if i % 100 == 0 {
                assert_eq!(sign(&mut *engine, &[&i.to_le_bytes()]), [xor(&i.to_le_bytes())]);
            }
            let error = run(&mut *engine, ExtensionKind::Hash).unwrap_err();
            assert!(matches!(error, EngineError::Trap { .. }), "{error}");
            assert!(!engine.is_usable());
        }
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")], "{}", subject.label);
    });
}

/// Each runtime in a thread, for these take a while.
fn on_all_at_once(test: impl Fn(&Subject) + Sync) {
    let subjects: Vec<_> = on_all("any", &vicious()).into_iter().map(|subject| subject.unwrap()).collect();
    std::thread::scope(|scope| {
        for subject in &subjects {
            scope.spawn(|| test(subject));
        }
    });
}

/// The same instance, which is restored every time.
#[test]
fn a_hundred_thousand_errors_later_the_next_record_is_signed_alike() {
    on_all_at_once(|subject| {
        let mut engine = subject.instance();
        engine.set_key(&SECRET).unwrap();
        for _ in 0..100_000 {
            run(&mut *engine, ExtensionKind::Projector).unwrap_err();
        }
        run(&mut *engine, ExtensionKind::Verify).unwrap_err();
        assert_eq!(sign(&mut *engine, &[b"12345678"]), [xor(b"12345678")], "{}", subject.label);
    });
}

/// The modules of this project refuse two keys at once as a whole.
#[test]
fn real_signatures_are_the_same_after_errors_and_replacements() {
    for name in ["ecdsa", "schnorr"] {
        for subject in subjects(name) {
            let mut engine = subject.instance();
            engine.set_key(&SECRET).unwrap();
            let first = sign(&mut *engine, &[b"the same"]);
            for round in 0..20 {
                for _ in 0..50 {
                    engine.run(ExtensionKind::SetKey, &mut batch(&[SECRET, SECRET])).unwrap_err();
                }
                assert_eq!(sign(&mut *engine, &[b"the same"]), first, "{name} on {}", subject.label);
                if round % 5 == 0 {
                    engine = subject.instance();
                    engine.set_key(&SECRET).unwrap();
                }
            }
        }
    }
}
