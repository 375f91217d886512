//! A compiled module, whoever has compiled it.

use crate::Runtime;
#[cfg(feature = "wasmtime")]
use crate::cache::{CacheError, CacheKey};

/// A compiled module of one of the runtimes that compile. Cloning it clones a reference.
#[derive(Clone)]
pub struct CompiledModule(Compiled);

#[derive(Clone)]
enum Compiled {
    #[cfg(feature = "wasmtime")]
    Wasmtime(wasmtime::Module),
    #[cfg(feature = "wasmi")]
    Wasmi(wasmi::Module),
}

#[cfg(feature = "wasmtime")]
impl From<wasmtime::Module> for CompiledModule {
    fn from(module: wasmtime::Module) -> Self {
        Self(Compiled::Wasmtime(module))
    }
}

#[cfg(feature = "wasmi")]
impl From<wasmi::Module> for CompiledModule {
    fn from(module: wasmi::Module) -> Self {
        Self(Compiled::Wasmi(module))
    }
}

impl CompiledModule {
    /// What compiled it.
    pub fn runtime(&self) -> Runtime {
        match self.0 {
            #[cfg(feature = "wasmtime")]
            Compiled::Wasmtime(_) => Runtime::Wasmtime,
            #[cfg(feature = "wasmi")]
            Compiled::Wasmi(_) => Runtime::Wasmi,
        }
    }

    /// wasmtime's module, if it is one.
    #[cfg(feature = "wasmtime")]
    pub(crate) fn wasmtime(&self) -> Option<&wasmtime::Module> {
        match &self.0 {
            Compiled::Wasmtime(module) => Some(module),
            #[cfg(feature = "wasmi")]
            Compiled::Wasmi(_) => None,
        }
    }

    /// wasmi's module, if it is one.
    #[cfg(feature = "wasmi")]
    pub(crate) fn wasmi(&self) -> Option<&wasmi::Module> {
        match &self.0 {
            Compiled::Wasmi(module) => Some(module),
            #[cfg(feature = "wasmtime")]
            Compiled::Wasmtime(_) => None,
        }
    }

    /// Its bytes, for a file; nothing if the runtime has no such form.
    #[cfg(feature = "wasmtime")]
    pub(super) fn serialize(&self) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(module) = self.wasmtime() else { return Ok(None) };
        module.serialize().map(Some).map_err(|error| runtime_error("write", &error))
    }

    /// The module of `key` in `file`, which is mapped, so that nothing is copied.
    ///
    /// # Safety
    /// `file` holds what [`serialize`](Self::serialize) made of a module that was compiled under `key`, and keeps holding it
    /// as long as the module lives: it is machine code, which is run as it stands.
    #[cfg(feature = "wasmtime")]
    pub(super) unsafe fn deserialize(key: &CacheKey, file: std::fs::File) -> Result<Self, CacheError> {
        let read = crate::wasmtime::engine(key.stack).and_then(|engine| {
            // SAFETY: the caller's promise.
            unsafe { wasmtime::Module::deserialize_open_file(engine, file) }
        });
        read.map(Self::from).map_err(|error| runtime_error("read", &error))
    }
}

#[cfg(feature = "wasmtime")]
fn runtime_error(action: &'static str, error: &wasmtime::Error) -> CacheError {
    let reason = crate::validate::one_line(&error.root_cause().to_string());
    CacheError::Runtime { runtime: Runtime::Wasmtime, action, reason }
}
