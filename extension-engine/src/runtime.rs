//! The four runtimes and what each of them takes.

use std::fmt;
use std::str::FromStr;

use crate::{EngineError, Variant};

/// What runs an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// The scheme's own crate, compiled into this binary: no module, no sandbox.
    Native,
    /// wasmtime: compiles to machine code with Cranelift.
    Wasmtime,
    /// wasmi: a portable interpreter.
    Wasmi,
    /// wasm3: a small interpreter in C, for WebAssembly 1.0.
    Wasm3,
}

impl Runtime {
    /// All four, built in or not.
    pub const ALL: [Runtime; 4] = [Runtime::Native, Runtime::Wasmtime, Runtime::Wasmi, Runtime::Wasm3];

    /// The name, as [`FromStr`] takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Runtime::Native => "native",
            Runtime::Wasmtime => "wasmtime",
            Runtime::Wasmi => "wasmi",
            Runtime::Wasm3 => "wasm3",
        }
    }

    /// Whether this binary has it.
    ///
    /// # Errors
    /// [`EngineError::NotBuiltIn`], which says how to get it.
    pub const fn is_available(self) -> Result<(), EngineError> {
        let built_in = match self {
            Runtime::Native => true,
            Runtime::Wasmtime => cfg!(feature = "wasmtime"),
            Runtime::Wasmi => cfg!(feature = "wasmi"),
            Runtime::Wasm3 => cfg!(feature = "wasm3"),
        };
        if built_in { Ok(()) } else { Err(EngineError::NotBuiltIn(self)) }
    }

    /// Whether it can run modules of `variant`.
    pub const fn supports(self, variant: Variant) -> bool {
        match self {
            Runtime::Native => false,
            Runtime::Wasmtime | Runtime::Wasmi => true,
            Runtime::Wasm3 => matches!(variant, Variant::Base),
        }
    }

    /// The fastest variant that it supports; none for [`Native`](Self::Native).
    pub const fn best_variant(self) -> Option<Variant> {
        match self {
            Runtime::Native => None,
            Runtime::Wasmtime | Runtime::Wasmi => Some(Variant::Wide),
            Runtime::Wasm3 => Some(Variant::Base),
        }
    }
}

impl FromStr for Runtime {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let found = Self::ALL.into_iter().find(|runtime| runtime.name() == text);
        found.ok_or_else(|| EngineError::UnknownRuntime(text.to_owned()))
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_runtime_is_refused_with_the_legal_ones() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.name().parse::<Runtime>().unwrap(), runtime);
        }
        let error = "2".parse::<Runtime>().unwrap_err().to_string();
        assert_eq!(error, "unknown runtime \"2\"; legal values: native, wasmtime, wasmi, wasm3");
    }

    #[test]
    fn the_best_variant_is_a_supported_one() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.best_variant().is_some(), runtime != Runtime::Native);
            assert!(runtime.best_variant().is_none_or(|variant| runtime.supports(variant)));
        }
    }
}
