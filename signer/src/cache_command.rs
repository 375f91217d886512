//! The module cache of a signer: where it is, and `signer cache list|clear|warm`.

mod show;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use cli::{Exit, Failure, Method};
use extension_engine::cache::{
    CacheError, CacheKey, CacheLimits, CacheWarning, CompiledModule, MemoryCache, ModuleCache, Reservation,
    TierCounts, WarningSink,
};

use crate::options::module;

/// What stands for no directory at all.
const NONE: &str = "none";

/// Where compiled modules are kept.
#[derive(Args, Clone, Debug, Default)]
pub struct CacheArguments {
    /// Keep compiled modules in this private directory, or `none` [default: ringseal in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl CacheArguments {
    /// The arguments that say the same.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        self.cache.iter().flat_map(|directory| ["--cache".into(), directory.into()]).collect()
    }

    /// The directory; none if none is wanted.
    ///
    /// # Errors
    /// It was not said, and the environment says nothing of it: bad input.
    fn directory(&self) -> Result<Option<PathBuf>, Failure> {
        if let Some(directory) = &self.cache {
            return Ok((directory.as_os_str() != NONE).then(|| directory.clone()));
        }
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let parent = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let parent = parent.ok_or_else(|| {
            Failure::bad_input(
                "no place for the module cache: XDG_CACHE_HOME and HOME are not set; give one with --cache",
            )
        })?;
        Ok(Some(parent.join("ringseal")))
    }

    /// The directory, for who can do nothing without.
    fn required(&self) -> Result<PathBuf, Failure> {
        self.directory()?.ok_or_else(|| Failure::bad_input("--cache none has nothing to show or to hold"))
    }
}

/// The cache of a signer's process: memory first, then the directory. If that is of no use, a line says why, and memory is
/// all.
pub(crate) fn open_cache(arguments: &CacheArguments) -> Arc<dyn ModuleCache> {
    let limits = CacheLimits::default();
    let memory = Arc::new(MemoryCache::new(&limits));
    match arguments
        .directory()
        .map(|directory| directory.map(|directory| with_disk(&memory, &directory, &limits)))
    {
        Ok(None) => memory,
        Ok(Some(Ok(both))) => both,
        Ok(Some(Err(reason))) => {
            say(&format!(
                "{reason}; modules are compiled at each start (--cache none: without this warning)"
            ));
            memory
        }
        Err(failure) => {
            say(&failure.message);
            memory
        }
    }
}

/// As [`open_cache`], once somebody asks for a module: native code needs none.
pub(crate) fn open_cache_when_needed(arguments: &CacheArguments) -> Arc<dyn ModuleCache> {
    Arc::new(WhenNeeded { arguments: arguments.clone(), opened: OnceLock::new() })
}

struct WhenNeeded {
    arguments: CacheArguments,
    opened: OnceLock<Arc<dyn ModuleCache>>,
}

impl WhenNeeded {
    fn cache(&self) -> &dyn ModuleCache {
        &**self.opened.get_or_init(|| open_cache(&self.arguments))
    }
}

impl ModuleCache for WhenNeeded {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        self.cache().load(key)
    }

    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        self.cache().save(key, module)
    }

    fn reserve(&self, key: &CacheKey) -> Reservation {
        self.cache().reserve(key)
    }

    fn counts(&self) -> Vec<TierCounts> {
        self.opened.get().map(|cache| cache.counts()).unwrap_or_default()
    }

    fn warn(&self, warning: &CacheWarning) {
        self.cache().warn(warning);
    }
}

#[cfg(feature = "wasmtime")]
fn with_disk(
    memory: &Arc<MemoryCache>,
    directory: &Path,
    limits: &CacheLimits,
) -> Result<Arc<dyn ModuleCache>, String> {
    use extension_engine::cache::{DiskCache, with_fallback};
    let disk =
        DiskCache::open(directory, limits, warnings()).map_err(|error| format!("module cache: {error}"))?;
    Ok(with_fallback(memory.clone(), Arc::new(disk), warnings()))
}

/// wasmtime's modules are the only ones with a form for files.
#[cfg(not(feature = "wasmtime"))]
fn with_disk(memory: &Arc<MemoryCache>, _: &Path, _: &CacheLimits) -> Result<Arc<dyn ModuleCache>, String> {
    Ok(memory.clone())
}

/// Each warning is a line on standard error.
fn warnings() -> WarningSink {
    Arc::new(|warning| say(&warning.to_string()))
}

fn say(line: &str) {
    // Nothing is left to be done about a closed standard error.
    let _ = writeln!(io::stderr(), "signer: {line}");
}

/// What to do with the directory.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what it holds, the module used last first
    List {
        /// Which directory.
        #[command(flatten)]
        cache: CacheArguments,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Remove what it holds
    Clear {
        /// Which directory.
        #[command(flatten)]
        cache: CacheArguments,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Compile modules for wasmtime into it, unless they are there
    Warm {
        /// Which directory.
        #[command(flatten)]
        cache: CacheArguments,
        /// A wasm file in the place of a built-in module, as for signing
        #[arg(long = "module", value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(module))]
        modules: Vec<(Method, PathBuf)>,
        /// For machines
        #[arg(long)]
        json: bool,
    },
}

#[cfg(not(feature = "wasmtime"))]
pub(crate) fn run(_: &CacheCommand) -> Result<Exit, Failure> {
    Err(Failure::bad_input("this signer was built without wasmtime, whose modules alone are kept in files"))
}

/// Does it.
///
/// # Errors
/// The directory is not one that code may be loaded from, a module is no good, or it can't be kept.
#[cfg(feature = "wasmtime")]
pub(crate) fn run(command: &CacheCommand) -> Result<Exit, Failure> {
    let text = match command {
        CacheCommand::List { cache, json } => {
            let entries = match existing(&cache.required()?)? {
                Some(disk) => disk.entries().map_err(Failure::environment)?,
                None => Vec::new(),
            };
            show::entries(&entries, *json)
        }
        CacheCommand::Clear { cache, json } => {
            let (files, bytes) = match existing(&cache.required()?)? {
                Some(disk) => disk.clear().map_err(Failure::environment)?,
                None => (0, 0),
            };
            show::cleared(files, bytes, *json)
        }
        CacheCommand::Warm { cache, modules, json } => {
            show::warmed(&warm(&cache.required()?, modules)?, *json)
        }
    };
    cli::print(&text).map(|()| Exit::Done)
}

#[cfg(feature = "wasmtime")]
use on_disk::{existing, warm};

#[cfg(feature = "wasmtime")]
mod on_disk {
    use std::time::Instant;

    use extension_engine::cache::DiskCache;
    use extension_engine::{Module, Runtime, Settings, Variant, compile};

    use super::show::Warmed;
    use super::*;

    fn open(directory: &Path) -> Result<DiskCache, Failure> {
        DiskCache::open(directory, &CacheLimits::default(), warnings())
            .map_err(|error| Failure::environment(format_args!("module cache: {error}")))
    }

    /// The cache in `directory`, if there is one.
    pub(super) fn existing(directory: &Path) -> Result<Option<DiskCache>, Failure> {
        match directory.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => open(directory).map(Some),
        }
    }

    /// Has the given modules, or each of the built-in ones, in the cache.
    pub(super) fn warm(directory: &Path, modules: &[(Method, PathBuf)]) -> Result<Vec<Warmed>, Failure> {
        let disk = Arc::new(open(directory)?);
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
            compile(Runtime::Wasmtime, method.name(), Some(&module), &settings)
                .map_err(Failure::bad_input)?;
            let (time, after) = (started.elapsed(), counts());
            let was_there = after.hits > before.hits;
            if !was_there && after.saved == before.saved {
                let label = module.label();
                return Err(Failure::environment(format_args!(
                    "module {label} could not be kept: see above"
                )));
            }
            warmed.push(Warmed {
                label: module.label().to_owned(),
                sha256: module.sha256(),
                was_there,
                time,
            });
        }
        Ok(warmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_a_child_is_what_was_said() {
        let said = |cache: Option<&str>| {
            let arguments = CacheArguments { cache: cache.map(PathBuf::from) }.to_arguments();
            arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(said(None), [""; 0]);
        assert_eq!(said(Some("none")), ["--cache", "none"]);
        assert_eq!(said(Some("/a b")), ["--cache", "/a b"]);
    }

    #[test]
    fn none_is_no_directory_and_another_word_is_one() {
        let directory = |cache: &str| CacheArguments { cache: Some(cache.into()) }.directory().unwrap();
        assert_eq!(directory("none"), None);
        assert_eq!(directory("./none"), Some("./none".into()));
    }
}
