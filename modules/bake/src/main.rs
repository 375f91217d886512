//! `bake FROM TO`: writes the module in file FROM to file TO as it is after its `WasmInit`, so that no instance builds
//! tables. `build.sh` runs it.
//!
//! What `WasmInit` leaves in linear memory becomes the module's data. Everything else must be as it was: a module whose
//! `WasmInit` changes a global, grows its memory or, run again, changes the memory once more, is refused. Custom sections
//! (names, producers) are left out.

mod instance;
mod sections;

use std::process::ExitCode;
use std::{env, fs};

use instance::Instance;
use sections::Sections;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [from, to] = &arguments[..] else {
        eprintln!("bake: usage: bake FROM TO");
        return ExitCode::from(2);
    };
    let baked = fs::read(from).map_err(|error| error.to_string()).and_then(|module| bake(&module));
    let baked = baked.map_err(|reason| format!("{}: {reason}", from.display()));
    let written =
        baked.and_then(|module| fs::write(to, module).map_err(|error| format!("{}: {error}", to.display())));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bake: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The module, with the memory that its `WasmInit` leaves as its data.
fn bake(module: &[u8]) -> Result<Vec<u8>, String> {
    let sections = Sections::of(module)?;
    let mut before = Instance::new(&sections.with_globals_exported()?)?;
    let (globals, len) = (before.globals(), before.memory().len());
    before.init()?;
    if before.globals() != globals {
        return Err(format!("WasmInit changes a global: {globals}, then {}", before.globals()));
    }
    if before.memory().len() != len {
        return Err("WasmInit grows the memory".to_owned());
    }
    let baked = sections.with_data(before.memory())?;
    let mut after = Instance::new(&baked)?;
    if after.memory() != before.memory() {
        return Err("the baked module starts with another memory".to_owned());
    }
    after.init()?;
    if after.memory() != before.memory() {
        return Err("WasmInit changes the memory when it is run again".to_owned());
    }
    Ok(baked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "these are tests")]
mod tests {
    use super::*;

    /// A module with two pages of memory, whose `WasmInit` is `init`.
    fn module(init: &str) -> Vec<u8> {
        let text = format!(
            r#"(module (memory (export "memory") 2) (global $depth (mut i32) (i32.const 7))
                (global $done (mut i32) (i32.const 0))
                (func (export "WasmInit") {init}) (data (i32.const 70000) "kept"))"#
        );
        wat::parse_str(text).unwrap()
    }

    const ONCE: &str = "(if (i32.eqz (i32.load8_u (i32.const 8))) (then
        (i32.store8 (i32.const 8) (i32.const 1))
        (i64.store (i32.const 131064) (i64.const -2)) (i32.store (i32.const 70001) (i32.const 0))))";

    #[test]
    fn what_init_leaves_is_there_before_it() {
        let baked = bake(&module(ONCE)).unwrap();
        let mut instance = Instance::new(&baked).unwrap();
        let memory = instance.memory().to_vec();
        assert_eq!((memory.len(), memory[8]), (131072, 1));
        assert_eq!(memory[131064..], (-2_i64).to_le_bytes());
        assert_eq!(&memory[70000..70005], b"k\0\0\0\0");
        assert_eq!(memory.iter().filter(|byte| **byte != 0).count(), 10);
        instance.init().unwrap();
        assert_eq!(instance.memory(), memory);
    }

    #[test]
    fn baking_again_changes_nothing() {
        let baked = bake(&module(ONCE)).unwrap();
        assert_eq!(bake(&baked).unwrap(), baked);
    }

    #[test]
    fn zeros_take_no_room() {
        let baked = bake(&module(ONCE)).unwrap();
        assert!(baked.len() < 150, "{} bytes", baked.len());
    }

    #[test]
    fn what_memory_alone_does_not_hold_is_refused() {
        let refused = |init, words| {
            let error = bake(&module(init)).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused("(global.set $depth (i32.const 6))", "changes a global: I32(7), I32(0), then I32(6), I32(0)");
        refused("(drop (memory.grow (i32.const 1)))", "grows the memory");
        refused(
            "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))",
            "when it is run again",
        );
        refused("unreachable", "WasmInit: ");
    }

    #[test]
    fn a_module_that_can_not_be_run_alone_is_refused() {
        let refused = |text, words| {
            let error = bake(&wat::parse_str(text).unwrap()).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused(r#"(module (import "env" "HostGetElem" (func (param i32 i32) (result i32))))"#, "imports");
        refused(r#"(module (memory (export "memory") 1))"#, "no WasmInit");
        refused(r#"(module (func (export "WasmInit")))"#, "no memory");
        refused(
            r#"(module (memory (export "memory") 1) (data $d "abc")
                (func (export "WasmInit") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))))"#,
            "passive",
        );
        assert!(bake(b"no module").unwrap_err().contains("magic"));
    }
}
