//! A cache directory that the campaign has both ends of: as the engine's cache, and as files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cli::Failure;
use extension_engine::cache::{
    CacheKey, CacheLimits, CompiledModule, DiskCache, ModuleCache, TierCounts, WarningSink, cache_key,
};
use extension_engine::{Limits, Module, Runtime, Settings, Variant, compile};

/// A cache directory.
pub struct Vault {
    directory: PathBuf,
    cache: Arc<DiskCache>,
    warnings: Arc<AtomicU64>,
    last_warning: Arc<Mutex<String>>,
}

/// The built-in module `name`.
pub fn module(name: &str) -> Result<Module, Failure> {
    Module::built_in(name, Variant::Wide).map_err(Failure::environment)
}

/// What the engine keeps it under.
pub fn key_of(name: &str) -> Result<CacheKey, Failure> {
    let key = cache_key(Runtime::Wasmtime, &module(name)?, &Limits::default());
    key.ok_or_else(|| Failure::environment("wasmtime has no key for a module"))
}

impl Vault {
    /// The cache in `directory`.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(directory: &Path, file_bytes: u64) -> Result<Self, Failure> {
        let (warnings, last_warning) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(String::new())));
        let sink: WarningSink = {
            let (warnings, last) = (warnings.clone(), last_warning.clone());
            Arc::new(move |warning| {
                warnings.fetch_add(1, Ordering::Relaxed);
                *last.lock().unwrap_or_else(PoisonError::into_inner) = warning.to_string();
            })
        };
        let limits = CacheLimits { file_bytes, ..CacheLimits::default() };
        let cache = DiskCache::open(directory, &limits, sink).map_err(Failure::environment)?;
        Ok(Self { directory: directory.to_owned(), cache: Arc::new(cache), warnings, last_warning })
    }

    /// The cache itself.
    pub fn cache(&self) -> &DiskCache {
        &self.cache
    }

    /// How often it has warned.
    pub fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }

    /// What it warned of last.
    pub fn last_warning(&self) -> String {
        self.last_warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has done.
    pub fn counts(&self) -> TierCounts {
        self.cache.counts().pop().unwrap_or_default()
    }

    /// Has module `name` in it, by compiling it if need be.
    ///
    /// # Errors
    /// It doesn't compile.
    pub fn compile(&self, name: &str) -> Result<(), Failure> {
        let settings = Settings { cache: self.cache.clone(), ..Settings::default() };
        let compiled = compile(Runtime::Wasmtime, name, Some(&module(name)?), &settings);
        compiled.map(drop).map_err(Failure::failed)
    }

    /// What it gives for module `name`, which must be in it.
    ///
    /// # Errors
    /// It isn't.
    pub fn compiled(&self, name: &str) -> Result<CompiledModule, Failure> {
        self.cache.load(&key_of(name)?).map_err(Failure::failed)
    }

    /// The files with modules.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        files(&self.directory)
    }
}

/// The files with modules in `directory`.
///
/// # Errors
/// It can't be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cant = |error| Failure::environment(format_args!("{}: {error}", directory.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(cant)? {
        let path = entry.map_err(cant)?.path();
        if path.extension().is_some_and(|end| end == "module") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
