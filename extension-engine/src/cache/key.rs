//! What a compiled module is found by.

#[cfg(feature = "wasmtime")]
use std::hash::{Hash, Hasher};
#[cfg(feature = "wasmtime")]
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::{Limits, Module, Runtime};

/// The version of wasmtime that is built in; `the_versions_are_those_that_are_locked` ties it to Cargo.lock.
pub(super) const WASMTIME_VERSION: &str = "48.0.8";

/// The version of wasmi that is built in, likewise.
pub(super) const WASMI_VERSION: &str = "2.0.0";

/// What a compiled module is found by: the module, the runtime, its version, and all its settings that the code depends
/// on, the processor's features among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// SHA-256 of the module's bytes.
    pub module_sha256: [u8; 32],
    /// What compiled it.
    pub runtime: Runtime,
    /// That runtime's version.
    pub version: String,
    /// A digest of the settings, in which the version counts too.
    pub settings: [u8; 32],
    /// Bytes of stack that the module's calls may take. Machine code doesn't depend on it, and files are not told apart by
    /// it; but a module that is ready to run belongs to a runtime with this limit.
    pub stack: u32,
}

/// What [`compile`](crate::compile) keeps `module` under; nothing if there is nothing to keep: native code is compiled into
/// this binary, and wasm3 translates for each instance anew.
pub fn cache_key(runtime: Runtime, module: &Module, limits: &Limits) -> Option<CacheKey> {
    let (version, settings) = match runtime {
        Runtime::Native | Runtime::Wasm3 => return None,
        Runtime::Wasmtime => (WASMTIME_VERSION, wasmtime_settings(limits)?),
        Runtime::Wasmi => (WASMI_VERSION, Sha256::digest(WASMI_VERSION).into()),
    };
    let (module_sha256, stack) = (module.sha256(), limits.stack);
    Some(CacheKey { module_sha256, runtime, version: version.to_owned(), settings, stack })
}

/// All that wasmtime would refuse a file of machine code for.
#[cfg(feature = "wasmtime")]
fn wasmtime_settings(limits: &Limits) -> Option<[u8; 32]> {
    static SETTINGS: OnceLock<[u8; 32]> = OnceLock::new();
    if let Some(known) = SETTINGS.get() {
        return Some(*known);
    }
    // Without an engine there is no compiling either, and that is where it is said.
    let engine = crate::wasmtime::engine(limits.stack).ok()?;
    let mut digest = Digesting(Sha256::new());
    WASMTIME_VERSION.hash(&mut digest);
    engine.precompile_compatibility_hash().hash(&mut digest);
    // The same for every engine of this process: they differ in their stack alone.
    Some(*SETTINGS.get_or_init(|| digest.0.finalize().into()))
}

#[cfg(not(feature = "wasmtime"))]
fn wasmtime_settings(_: &Limits) -> Option<[u8; 32]> {
    None
}

/// Lets what can be hashed for a table be hashed for good.
#[cfg(feature = "wasmtime")]
struct Digesting(Sha256);

#[cfg(feature = "wasmtime")]
impl Hasher for Digesting {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks for it.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;

    #[test]
    fn the_versions_are_those_that_are_locked() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
        let lock: toml::Table = std::fs::read_to_string(lock).unwrap().parse().unwrap();
        for (name, version) in [("wasmtime", WASMTIME_VERSION), ("wasmi", WASMI_VERSION)] {
            let packages = lock["package"].as_array().unwrap();
            let locked: Vec<_> =
                packages.iter().filter(|package| package["name"].as_str() == Some(name)).collect();
            assert_eq!(locked.len(), 1);
            assert_eq!(locked[0]["version"].as_str(), Some(version), "{name}");
        }
    }

    #[test]
    fn keys_differ_where_the_module_or_the_runtime_does() {
        let module = |name| Module::built_in(name, Variant::Base).unwrap();
        let limits = Limits::default();
        assert_eq!(cache_key(Runtime::Native, &module("ecdsa"), &limits), None);
        assert_eq!(cache_key(Runtime::Wasm3, &module("ecdsa"), &limits), None);
        let mut keys = Vec::new();
        for runtime in [Runtime::Wasmtime, Runtime::Wasmi] {
            if runtime.is_available().is_ok() {
                for name in ["ecdsa", "schnorr"] {
                    let key = cache_key(runtime, &module(name), &limits).unwrap();
                    assert_eq!(Some(&key), cache_key(runtime, &module(name), &limits).as_ref());
                    assert!(!keys.contains(&key));
                    keys.push(key);
                }
            }
        }
    }
}
