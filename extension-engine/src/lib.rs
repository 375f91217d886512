//! The host side of Ringseal's extensions: one trait over four runtimes.
//!
//! [`compile`] turns an extension's name into a [`Program`] for a [`Runtime`]; a program makes instances, each an
//! [`ExtensionEngine`], which run [`Batch`]es of records. `modules/ABI.md` describes what a module must export and
//! what it gets to see.
//!
//! ```
//! use extension_engine::{Batch, ExtensionKind, Runtime, Settings, compile};
//!
//! let program = compile(Runtime::Native, "ecdsa", None, &Settings::default())?;
//! let mut engine = program.instantiate()?;
//! let public_key = engine.set_key(&[7; 32])?;
//! let mut batch = Batch::new(16, 256, 64)?;
//! batch.push(5, |message| message.copy_from_slice(b"hello"))?;
//! engine.run(ExtensionKind::Sign, &mut batch)?;
//! batch.status(0)?;
//! assert_eq!((public_key.len(), batch.output(0).len()), (33, 64));
//! engine.reset()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! [`Limits`] bound what a module may use, on every runtime alike: what differs is how the deadline, which is CPU time, is
//! kept.
//!
//! | runtime | a call that takes too long |
//! |---|---|
//! | wasmtime | is interrupted at its next loop or call: [`EngineError::Deadline`] |
//! | wasmi | is interrupted within about a millisecond: [`EngineError::Deadline`] |
//! | wasm3, native, and all compiling | ends the process: [`on_overdue`] |
//!
//! A thread that compiles or runs extensions gets a timer of its CPU time, whose signal (`SIGRTMIN` + 3) interrupts it
//! every 10 ms of that, and which ends with it. A process that makes itself undumpable calls [`prepare_process`] before.
//!
//! # Trust
//! The sandbox protects the host and its neighbours; a signing module is trusted with its key. WebAssembly promises
//! no constant time: whom that matters to should take [`Runtime::Native`].

mod batch;
pub mod cache;
mod deadline;
mod error;
#[cfg(any(feature = "wasmtime", feature = "wasmi", feature = "wasm3"))]
mod guest;
mod limits;
mod module;
mod native;
mod pagemap;
mod runtime;
mod stack;
mod validate;
#[cfg(feature = "wasm3")]
mod wasm3;
#[cfg(feature = "wasmi")]
mod wasmi;
#[cfg(feature = "wasmtime")]
mod wasmtime;

use std::fmt;
use std::sync::Arc;

use cache::{Lookup, ModuleCache, NoCache, cache_key};
use deadline::{Watch, ticks_in};

pub use batch::{Batch, PUBLIC_KEY_LEN_MAX};
pub use deadline::on_overdue;
pub use error::{BatchError, EngineError, RecordError, Refusal, RunError};
pub use limits::{Limits, PAGE_LEN};
pub use module::{Module, Variant};
pub use pagemap::prepare_process;
pub use ringseal_abi::{ExtensionKind, Status};
pub use runtime::Runtime;
pub use stack::wiping_stack;

/// An extension made ready for one runtime: validated, and compiled where the runtime compiles.
pub trait Program: Send + Sync {
    /// The runtime that it was made for.
    fn runtime(&self) -> Runtime;

    /// The module that it was made from; none for [`Runtime::Native`].
    fn module(&self) -> Option<&Module>;

    /// The SHA-256 of [`module`](Self::module)'s bytes.
    fn module_sha256(&self) -> Option<[u8; 32]> {
        self.module().map(Module::sha256)
    }

    /// Makes an instance: a memory of its own, tables built, no key.
    ///
    /// # Errors
    /// The runtime can't instantiate the module, or the module's own start traps or finds no memory.
    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError>;
}

/// One live instance of an extension, for one thread at a time. Dropping it wipes its key and its memory.
///
/// A backup of its memory is taken after each change of its key. When the extension refuses a batch as a whole, its
/// memory is restored from there before [`run`](Self::run) returns, and the instance is as good as before.
///
/// After [`EngineError::Trap`], [`EngineError::Deadline`] or [`EngineError::OutOfMemory`] its globals, tables and stack
/// are in no known state, or its memory is full; and a refused batch that has made the memory grow, or comes after one that
/// was too long for the first buffer, can't be undone. The instance is then not [usable](Self::is_usable): every later call
/// is refused with [`EngineError::Unusable`], and the caller makes another one.
pub trait ExtensionEngine: Send {
    /// Runs the extension over `batch`, whose statuses and outputs are then those of this run. A record that fails
    /// has its own status and doesn't fail the run.
    ///
    /// # Errors
    /// The extension refused the batch as a whole, trapped, took too long or ran out of memory; then no record counts
    /// as run.
    fn run(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), RunError>;

    /// Wipes what the last batch left in the instance's memory; the key stays.
    ///
    /// # Errors
    /// The module trapped, or took too long.
    fn reset(&mut self) -> Result<(), RunError>;

    /// Installs `secret` in the place of any earlier key and returns its public key: 33 bytes (SEC1, compressed) for
    /// `ecdsa`, 32 (x-only) for `schnorr`, none for `null`.
    ///
    /// # Errors
    /// [`EngineError::Key`] if it is zero or not below the group order; the earlier key is then still installed.
    /// Otherwise as [`run`](Self::run).
    fn set_key(&mut self, secret: &[u8; 32]) -> Result<Vec<u8>, EngineError> {
        let mut batch = Batch::new(1, secret.len(), PUBLIC_KEY_LEN_MAX)?;
        batch.push(secret.len(), |message| message.copy_from_slice(secret))?;
        let run = wiping_stack(|| self.run(ExtensionKind::SetKey, &mut batch));
        batch.wipe_inputs();
        run?;
        self.reset()?;
        batch.status(0).map_err(EngineError::Key)?;
        Ok(batch.output(0).to_vec())
    }

    /// Whether it may be called again.
    fn is_usable(&self) -> bool {
        true
    }

    /// The instance's linear memory, for tests that look for what must not be there; none for [`Runtime::Native`].
    #[doc(hidden)]
    fn memory(&mut self) -> Option<&[u8]> {
        None
    }
}

/// What a module is compiled with.
#[derive(Clone)]
pub struct Settings {
    /// What it may use.
    pub limits: Limits,
    /// Where it is looked for first, and kept once it is compiled.
    pub cache: Arc<dyn ModuleCache>,
}

impl Default for Settings {
    /// The default limits, and no cache.
    fn default() -> Self {
        Self { limits: Limits::default(), cache: Arc::new(NoCache) }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Makes extension `name` ready for `runtime`: from `replacement`, or from the built-in module in the variant that
/// suits the runtime best.
///
/// # Errors
/// The runtime is not built in; there is no such extension; the module is refused (see [`Refusal`]) or doesn't
/// compile; or a replacement was given to [`Runtime::Native`], which runs no modules.
pub fn compile(
    runtime: Runtime,
    name: &str,
    replacement: Option<&Module>,
    settings: &Settings,
) -> Result<Box<dyn Program>, EngineError> {
    runtime.is_available()?;
    let limits = &settings.limits;
    let Some(variant) = runtime.best_variant() else {
        return native::program(name, replacement, limits);
    };
    let module = match replacement {
        Some(module) => module.clone(),
        None => Module::built_in(name, variant)?,
    };
    let notice = module::overdue(module.label(), limits);
    let _watch = Watch::start(ticks_in(limits.compile), false, &notice).map_err(EngineError::Timer)?;
    let lookup = Lookup::start(&*settings.cache, cache_key(runtime, &module, limits));
    // A runtime is handed what its best variant may use, and no more. What was compiled before has passed this before; an
    // instance that would be larger than it may be by now is refused when it is made.
    let functions = if lookup.is_hit() {
        None
    } else {
        let checked = validate::check(module.bytes(), variant, limits);
        Some(checked.map_err(|refusal| EngineError::Module { module: module.label().to_owned(), refusal })?)
    };
    match (runtime, functions) {
        #[cfg(feature = "wasmtime")]
        (Runtime::Wasmtime, _) => wasmtime::program(module, name, lookup, limits),
        #[cfg(feature = "wasmi")]
        (Runtime::Wasmi, _) => wasmi::program(module, name, lookup, limits),
        #[cfg(feature = "wasm3")]
        (Runtime::Wasm3, Some(functions)) => wasm3::program(module, name, functions, limits),
        _ => Err(EngineError::NotBuiltIn(runtime)),
    }
}
