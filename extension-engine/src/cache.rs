//! Compiled modules, kept so that none is compiled twice: a chain of tiers behind one trait.
//!
//! [`MemoryCache`] serves one process, [`DiskCache`] all processes of one user; [`with_fallback`] chains any two, and
//! chains can be chained. [`compile`](crate::compile) asks the cache of its [`Settings`](crate::Settings) first. What a
//! tier can't do is a [`CacheWarning`] and never fails a compilation.

mod artifact;
#[cfg(feature = "wasmtime")]
mod disk;
mod error;
mod fallback;
mod key;
#[cfg_attr(
    not(any(feature = "wasmtime", feature = "wasmi")),
    expect(dead_code, reason = "no runtime compiles, so none asks")
)]
mod lookup;
mod memory;

use std::any::Any;
use std::sync::Arc;

pub use artifact::CompiledModule;
#[cfg(feature = "wasmtime")]
pub use disk::{DiskCache, Entry};
pub use error::{CacheAction, CacheError, CacheWarning};
pub use fallback::with_fallback;
pub use key::{CacheKey, cache_key};
pub(crate) use lookup::Lookup;
pub use memory::MemoryCache;

/// A place for compiled modules.
pub trait ModuleCache: Send + Sync {
    /// The module of `key`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] if it isn't here; anything else says why the tier is of no use now.
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError>;

    /// Keeps `module` as that of `key`. A tier that can't hold modules of this runtime does nothing.
    ///
    /// # Errors
    /// The tier can't keep it.
    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError>;

    /// Called by who has missed `key`, before it compiles: waits, for a bounded time, as long as somebody else compiles the
    /// same, and makes others wait until the reservation is dropped.
    fn reserve(&self, _key: &CacheKey) -> Reservation {
        Reservation::default()
    }

    /// What the tiers have done until now, the first one first.
    fn counts(&self) -> Vec<TierCounts> {
        Vec::new()
    }

    /// Tells whoever wants to know what an error of this cache, which fails nothing, was.
    fn warn(&self, _warning: &CacheWarning) {}
}

/// Who hears warnings. It is called by whatever thread compiles.
pub type WarningSink = Arc<dyn Fn(&CacheWarning) + Send + Sync>;

/// The right to compile one module, until it is dropped.
#[derive(Default)]
pub struct Reservation {
    waited: bool,
    held: Vec<Box<dyn Any + Send>>,
}

impl Reservation {
    /// A reservation that ends when `held` is dropped. `waited`: somebody else has held it meanwhile, so that the module
    /// may be there by now.
    pub fn new(waited: bool, held: impl Any + Send) -> Self {
        Self { waited, held: vec![Box::new(held)] }
    }

    /// Both reservations.
    fn and(mut self, other: Self) -> Self {
        self.waited |= other.waited;
        self.held.extend(other.held);
        self
    }
}

/// What a tier has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierCounts {
    /// `memory` or `disk`.
    pub tier: &'static str,
    /// Modules that it gave.
    pub hits: u64,
    /// Modules that it didn't have, the refused ones included.
    pub misses: u64,
    /// Files that it refused and deleted.
    pub refused: u64,
    /// Files that were handed to the runtime after they had passed every check.
    pub deserialized: u64,
    /// Modules that it was given.
    pub saved: u64,
    /// Modules that it gave up for others.
    pub evicted: u64,
}

/// How much the tiers may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Modules in memory.
    pub modules: usize,
    /// Bytes of all files on disk.
    pub file_bytes: u64,
}

impl Default for CacheLimits {
    /// 16 modules in memory, 64 MiB on disk: the built-in ones take 0.2 MB each.
    fn default() -> Self {
        Self { modules: 16, file_bytes: 64 << 20 }
    }
}

/// No cache: everything is compiled each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl ModuleCache for NoCache {
    fn load(&self, _: &CacheKey) -> Result<CompiledModule, CacheError> {
        Err(CacheError::Missing)
    }

    fn save(&self, _: &CacheKey, _: &CompiledModule) -> Result<(), CacheError> {
        Ok(())
    }
}
