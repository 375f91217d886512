//! The directory of compiled modules, which wasmtime's alone have a form for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cli::{Exit, Failure, Method};
use extension_engine::cache::{
    CacheError, CacheLimits, DiskCache, MemoryCache, ModuleCache, WarningSink, with_fallback,
};
use extension_engine::{Module, Runtime, Settings, Variant, compile};

use super::show::{self, Warmed};
use super::{CacheArguments, CacheCommand};

/// Each warning is a line on standard error.
fn warnings() -> WarningSink {
    Arc::new(|warning| tracing::warn!("{warning}"))
}

fn open(directory: &Path) -> Result<DiskCache, CacheError> {
    DiskCache::open(directory, &CacheLimits::default(), warnings())
}

/// `memory` with the cache in `directory` behind it.
pub(super) fn with_disk(
    memory: &Arc<MemoryCache>,
    directory: &Path,
) -> Result<Arc<dyn ModuleCache>, CacheError> {
    Ok(with_fallback(memory.clone(), Arc::new(open(directory)?), warnings()))
}

/// Does what the command asks for.
///
/// # Errors
/// The directory is not one that code may be loaded from, a module is no good, or it can't be kept.
pub(crate) fn run(command: &CacheCommand) -> Result<Exit, Failure> {
    let text = match command {
        CacheCommand::List { cache, json } => {
            let entries = match existing(&required(cache)?)? {
                Some(disk) => disk.entries().map_err(Failure::environment)?,
                None => Vec::new(),
            };
            show::entries(&entries, *json)
        }
        CacheCommand::Clear { cache, json } => {
            let (files, bytes) = match existing(&required(cache)?)? {
                Some(disk) => disk.clear().map_err(Failure::environment)?,
                None => (0, 0),
            };
            show::cleared(files, bytes, *json)
        }
        CacheCommand::Warm { cache, modules, json } => {
            show::warmed(&warm(&required(cache)?, modules)?, *json)
        }
    };
    cli::print(&text).map(|()| Exit::Done)
}

/// The directory, for who can do nothing without.
fn required(cache: &CacheArguments) -> Result<PathBuf, Failure> {
    cache.directory()?.ok_or_else(|| Failure::bad_input("--cache none has nothing to show or to hold"))
}

fn unusable(error: CacheError) -> Failure {
    Failure::environment(format_args!("module cache: {error}"))
}

/// The cache in `directory`, if there is one.
fn existing(directory: &Path) -> Result<Option<DiskCache>, Failure> {
    match directory.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => open(directory).map(Some).map_err(unusable),
    }
}

/// Has the given modules, or each of the built-in ones, in the cache.
fn warm(directory: &Path, modules: &[(Method, PathBuf)]) -> Result<Vec<Warmed>, Failure> {
    let disk = Arc::new(open(directory).map_err(unusable)?);
    let settings = Settings { cache: disk.clone(), ..Settings::default() };
    let wanted: Vec<(Method, Option<&PathBuf>)> = match modules {
        [] => Method::ALL.map(|method| (method, None)).to_vec(),
        given => given.iter().map(|(method, path)| (*method, Some(path))).collect(),
    };
    let mut warmed = Vec::new();
    for (method, path) in wanted {
        let module = match path {
            Some(path) => Module::from_file(path, &settings.limits),
            None => Module::built_in(method.name(), Variant::Wide),
        };
        let module = module.map_err(Failure::bad_input)?;
        let counts = || disk.counts().pop().unwrap_or_default();
        let (before, started) = (counts(), Instant::now());
        compile(Runtime::Wasmtime, method.name(), Some(&module), &settings).map_err(Failure::bad_input)?;
        let (time, after) = (started.elapsed(), counts());
        let was_there = after.hits > before.hits;
        if !was_there && after.saved == before.saved {
            let label = module.label();
            return Err(Failure::environment(format_args!("module {label} could not be kept: see above")));
        }
        warmed.push(Warmed { label: module.label().to_owned(), sha256: module.sha256(), was_there, time });
    }
    Ok(warmed)
}
