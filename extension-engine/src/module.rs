//! Modules: the built-in ones, and files that replace them.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use wasmparser::WasmFeatures;

use crate::deadline::{Watch, ticks_in};
use crate::{EngineError, Limits, Refusal, validate};

/// What a module was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// WebAssembly 1.0, with 32-bit limbs: runs everywhere.
    Base,
    /// With wide arithmetic, 64-bit limbs and SIMD: 2.4 times as fast where it is compiled.
    Wide,
}

impl Variant {
    /// Both.
    pub const ALL: [Variant; 2] = [Variant::Base, Variant::Wide];

    /// The name, as it stands in a module's file name.
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Base => "base",
            Variant::Wide => "wide",
        }
    }

    /// What a module of this variant may use.
    pub(crate) const fn features(self) -> WasmFeatures {
        match self {
            Variant::Base => WasmFeatures::WASM1,
            // LIME1 is what compilers emit by default.
            Variant::Wide => {
                WasmFeatures::LIME1.union(WasmFeatures::SIMD).union(WasmFeatures::WIDE_ARITHMETIC)
            }
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! built_in {
    ($($name:literal $file:literal $variant:ident),*) => {
        [$(($name, Variant::$variant, include_bytes!(concat!("../../bins/", $file, ".wasm")).as_slice())),*]
    };
}

const BUILT_IN: [(&str, Variant, &[u8]); 6] = built_in!(
    "ecdsa" "ecdsa.base" Base,
    "ecdsa" "ecdsa.wide" Wide,
    "schnorr" "schnorr.base" Base,
    "schnorr" "schnorr.wide" Wide,
    "null" "null.base" Base,
    "null" "null.wide" Wide
);

/// The bytes of an extension, not yet bound to a runtime.
#[derive(Clone)]
pub struct Module {
    label: String,
    variant: Variant,
    bytes: Cow<'static, [u8]>,
    sha256: [u8; 32],
}

impl Module {
    /// The built-in module of extension `name`.
    ///
    /// # Errors
    /// [`EngineError::UnknownExtension`].
    pub fn built_in(name: &str, variant: Variant) -> Result<Self, EngineError> {
        let found = BUILT_IN.into_iter().find(|module| (module.0, module.1) == (name, variant));
        let (_, _, bytes) = found.ok_or_else(|| EngineError::UnknownExtension(name.to_owned()))?;
        Ok(Self::new(format!("{name}.{variant}"), variant, bytes.into()))
    }

    /// The module in the file at `path`, if it is one that an extension may be on some runtime. No more of it is read
    /// than `limits` allow.
    ///
    /// # Errors
    /// [`EngineError::Module`], which names the file; and as [`from_bytes`](Self::from_bytes).
    pub fn from_file(path: &Path, limits: &Limits) -> Result<Self, EngineError> {
        let label = path.display().to_string();
        match read(path, limits.module_len) {
            Ok(bytes) => Self::from_bytes(label, bytes, limits),
            Err(error) => {
                let refusal = match error.kind() {
                    ErrorKind::NotFound => Refusal::NotFound,
                    _ => Refusal::Unreadable(error),
                };
                Err(EngineError::Module { module: label, refusal })
            }
        }
    }

    /// The module in `bytes`, if it is one that an extension may be on some runtime; errors call it `label`.
    ///
    /// # Errors
    /// [`EngineError::Module`] or [`EngineError::Timer`].
    pub fn from_bytes(
        label: impl Into<String>,
        bytes: Vec<u8>,
        limits: &Limits,
    ) -> Result<Self, EngineError> {
        let label = label.into();
        let notice = overdue(&label, limits);
        let _watch = Watch::start(ticks_in(limits.compile), false, &notice).map_err(EngineError::Timer)?;
        let variant = match validate::check(&bytes, Variant::Wide, limits) {
            Err(refusal) => return Err(EngineError::Module { module: label, refusal }),
            Ok(_) if validate::check(&bytes, Variant::Base, limits).is_ok() => Variant::Base,
            Ok(_) => Variant::Wide,
        };
        Ok(Self::new(label, variant, bytes.into()))
    }

    /// The module in `bytes`, whatever they are: [`compile`](crate::compile) refuses what is none by the rules of its
    /// runtime. Its [`variant`](Self::variant) is the one that may be anything.
    pub fn unvalidated(label: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(label.into(), Variant::Wide, bytes.into())
    }

    fn new(label: String, variant: Variant, bytes: Cow<'static, [u8]>) -> Self {
        let sha256 = Sha256::digest(&bytes).into();
        Self { label, variant, bytes, sha256 }
    }

    /// The same, called `label` by errors: a copy of it is known by where it came from.
    pub fn called(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// What errors call it: its path, or `name.variant` if it is built in.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it needs: [`Variant::Base`] if it is WebAssembly 1.0.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The binary.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of the binary.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// What is said of module `label` when it isn't compiled in time.
pub(crate) fn overdue(label: &str, limits: &Limits) -> String {
    let limit = limits.compile.as_secs_f64();
    format!("module {label}: compiling it is overdue: that may take {limit} s of CPU time")
}

/// The bytes of the file at `path`, but no more than one beyond `limit`.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_module_is_of_the_variant_that_its_name_says() {
        for (name, variant, bytes) in BUILT_IN {
            let module = Module::from_bytes(name, bytes.to_vec(), &Limits::default()).unwrap();
            assert_eq!(module.variant(), variant, "{name}");
            assert_eq!(module.sha256(), Module::built_in(name, variant).unwrap().sha256());
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Module::from_file(Path::new("/no/such.wasm"), &Limits::default()).err().unwrap().to_string();
        assert_eq!(error, "module /no/such.wasm: no such file");
    }
}
