//! What a user can get wrong, each with its exit code and one line that names it, whatever the number of workers.

mod support;
#[path = "support/module.rs"]
mod wasm;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Rig, output, signer, write_private};
use wasm::Module;

#[test]
fn each_bad_module_is_refused_once_and_named() {
    let rig = Rig::new();
    let good = Module::default().bytes();
    let cases: [(&str, Option<Vec<u8>>, &str); 6] = [
        ("missing", None, "no such file"),
        ("text", Some(b"(module)".to_vec()), "is not WebAssembly"),
        ("cut", Some(good[..good.len() / 2].to_vec()), "is not valid"),
        (
            "version",
            Some(Module { version: "WasmAbiVersion_2_0", ..Module::default() }.bytes()),
            "WasmAbiVersion_2_0",
        ),
        ("export", Some(Module { reset: "WasmRest", ..Module::default() }.bytes()), "WasmReset"),
        (
            "import",
            Some(
                Module {
                    imports: r#"(import "env" "system" (func (param i32)))"#.to_owned(),
                    ..Module::default()
                }
                .bytes(),
            ),
            "env.system",
        ),
    ];
    for (name, bytes, words) in cases {
        let path = rig.path(name);
        if let Some(bytes) = bytes {
            write_private(&path, &bytes);
        }
        let module = format!("schnorr={}", path.display());
        for workers in ["1", "3"] {
            let refused = rig.signer(&["--workers", workers, "--module", &module]).wait();
            refused.says(2, words);
            refused.says(2, path.to_str().unwrap());
        }
    }
    write_private(&rig.path("good"), &good);
    let module = format!("null={}", rig.path("good").display());
    rig.signer(&["--runtime", "native", "--module", &module]).wait().says(2, "native runs no modules");
}

#[test]
fn a_ring_that_is_not_there_or_not_ours_is_the_environments_fault() {
    let rig = Rig::new();
    let key = rig.path("key");
    let with_ring = |name: &str| {
        let ring = rig.path(name);
        output(signer().arg("--ring").arg(&ring).arg("--key").arg(&key).args(["--workers", "2"]))
    };
    with_ring("absent").says(3, "no such ring");
    with_ring("absent").says(3, rig.path("absent").to_str().unwrap());
    write_private(&rig.path("short"), b"RINGSEAL");
    with_ring("short").says(3, "too few for a ring");
    write_private(&rig.path("other"), &[0x20; 65536]);
    with_ring("other").says(3, "no ring");
    fs::set_permissions(rig.path("ring"), fs::Permissions::from_mode(0o640)).unwrap();
    with_ring("ring").says(3, "640");
}

#[test]
fn each_bad_argument_is_named_with_the_legal_ones() {
    let rig = Rig::new();
    let mut cases: Vec<(&[&str], &str)> = vec![
        (&["--runtime", "wasmer"], "native, wasmtime, wasmi, wasm3"),
        (&["--runner", "4"], "0..=3"),
        (&["--runner", "2", "--runtime", "wasmi"], "give one of the two"),
        (&["--runner", "3", "--runtime", "native"], "runs none"),
        (&["--module", "ecdsa"], "NAME=PATH"),
        (&["--module", "rsa=x.wasm"], "ecdsa, schnorr or null"),
        (&["--module", "null=a", "--module", "null=b"], "twice"),
        (&["--workers", "0"], "1..=64"),
        (&["--workers", "65"], "1..=64"),
        (&["--batch", "0"], "1..=4096"),
        (&["--wait", "sleep"], "spin, yield, block, adaptive"),
        (&["--worker", "2"], "--workers"),
        (&["--runer", "2"], "'--runner'"),
        (&["--frob"], "the flags are --"),
        (&["--report", "/no/such/folder/signer.json"], "/no/such/folder/signer.json"),
    ];
    if cfg!(not(feature = "wasm3")) {
        cases.push((&["--runtime", "wasm3"], "wasm3 is not built in"));
        cases.push((&["--runner", "1"], "wasm3 is not built in"));
    }
    for (arguments, words) in cases {
        let code = if arguments[0] == "--report" { 3 } else { 2 };
        rig.signer(arguments).wait().says(code, words);
    }
    output(&mut signer()).says(2, "--ring");
    output(signer().arg("keygen")).says(2, "<FILE>");
}
