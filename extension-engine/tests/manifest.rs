//! The built-in modules must be what the manifest says, built from the sources that stand beside it. Otherwise a
//! change in `modules/` would be tested natively and never run in a sandbox.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::{Path, PathBuf};

use extension_engine::{Module, Variant};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmparser::{DataKind, Operator, Parser, Payload};

#[derive(Deserialize)]
struct Manifest {
    module: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    variant: String,
    abi: String,
    file: String,
    sha256: String,
    sources_sha256: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn manifest() -> Manifest {
    toml::from_str(&fs::read_to_string(folder("bins").join("manifest.toml")).unwrap()).unwrap()
}

/// The files below `folder` that count as sources; `path` is the folder's own, relative to `modules/`.
fn sources(folder: &Path, path: &str, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if name != "target" {
                sources(&entry.path(), &path, found);
            }
        } else if name.ends_with(".rs")
            || name.ends_with(".toml")
            || name == "Cargo.lock"
            || name == "build.sh"
        {
            found.push((path, entry.path()));
        }
    }
}

/// The digest of the sources, by the recipe in `modules/build.sh`.
fn sources_sha256() -> String {
    let mut found = Vec::new();
    sources(&folder("modules"), "", &mut found);
    found.sort();
    let line = |(path, file): &(String, PathBuf)| format!("{}  {path}\n", sha256(&fs::read(file).unwrap()));
    sha256(found.iter().map(line).collect::<String>().as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn the_modules_were_built_from_these_sources() {
    let sources = sources_sha256();
    for module in manifest().module {
        assert_eq!(
            module.sources_sha256, sources,
            "bins/{} was built from other sources: run modules/build.sh",
            module.file
        );
    }
}

#[test]
fn the_manifest_lists_the_built_in_modules_with_their_digests() {
    let modules = manifest().module;
    for (name, variant) in ["ecdsa", "schnorr", "null"].map(|name| Variant::ALL.map(|v| (name, v))).concat() {
        let module = Module::built_in(name, variant).unwrap();
        let entry =
            modules.iter().find(|entry| (&entry.name[..], &entry.variant[..]) == (name, variant.name()));
        let entry = entry.unwrap_or_else(|| panic!("no {name}.{variant} in the manifest"));
        assert_eq!(entry.sha256, hex::encode(module.sha256()), "{name}.{variant}");
        assert_eq!(entry.sha256, sha256(&fs::read(folder("bins").join(&entry.file)).unwrap()));
        assert_eq!((&entry.file[..], &entry.abi[..]), (&format!("{name}.{variant}.wasm")[..], "1.0"));
    }
    assert_eq!(modules.len(), 6);
}

/// Where the modules' shadow stack ends: what lies below is of no use to an instance that starts.
const STACK_LEN: u64 = 128 * 1024;

#[test]
fn the_tables_are_in_the_modules_and_nothing_of_the_building() {
    for (name, table_len) in [("ecdsa", 25_000), ("schnorr", 25_000), ("null", 0)] {
        for variant in Variant::ALL {
            let module = Module::built_in(name, variant).unwrap();
            let (mut data_len, mut memory_len) = (0, 0);
            for payload in Parser::new(0).parse_all(module.bytes()) {
                match payload.unwrap() {
                    Payload::CustomSection(section) => panic!("{name}.{variant}: {}", section.name()),
                    Payload::MemorySection(section) => {
                        memory_len = section.into_iter().next().unwrap().unwrap().initial * 65536;
                    }
                    Payload::DataSection(section) => {
                        for data in section {
                            let data = data.unwrap();
                            let DataKind::Active { offset_expr, .. } = data.kind else { panic!("passive") };
                            let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read()
                            else {
                                panic!("{name}.{variant}: an offset that is no constant");
                            };
                            assert!(value as u64 >= STACK_LEN, "{name}.{variant}: data at {value}");
                            data_len += data.data.iter().filter(|byte| **byte != 0).count();
                        }
                    }
                    _ => {}
                }
            }
            assert!(memory_len > STACK_LEN);
            assert!(data_len >= table_len, "{name}.{variant}: {data_len} bytes of data");
        }
    }
}
