//! The module cache of a signer: where it is, and `signer cache list|clear|warm`.

#[cfg(feature = "wasmtime")]
mod directory;
#[cfg(feature = "wasmtime")]
mod show;
mod when_needed;

use std::env;
use std::ffi::OsString;
#[cfg(not(feature = "wasmtime"))]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use cli::{Failure, Method};
#[cfg(not(feature = "wasmtime"))]
use extension_engine::cache::CacheError;
use extension_engine::cache::{MemoryCache, ModuleCache};

use crate::options::module;
pub(crate) use when_needed::open_cache_when_needed;

/// What stands for no directory at all.
const NONE: &str = "none";

/// Where compiled modules are kept.
#[derive(Args, Clone, Debug, Default)]
pub struct CacheArguments {
    /// Private folder for compiled modules, or none [default: ringseal in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", help_heading = "Modules")]
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
}

/// `memory`, and behind it the directory. If that is of no use, a line says why, and memory is all.
fn open_cache(memory: Arc<MemoryCache>, arguments: &CacheArguments) -> Arc<dyn ModuleCache> {
    let refused = match arguments.directory() {
        Ok(None) => return memory,
        Ok(Some(directory)) => match with_disk(&memory, &directory) {
            Ok(both) => return both,
            Err(error) => format!("module cache: {error}"),
        },
        Err(failure) => failure.message,
    };
    tracing::warn!("{refused}; modules are compiled at each start (--cache none: without this warning)");
    memory
}

#[cfg(feature = "wasmtime")]
use directory::with_disk;

/// See [`run`].
#[cfg(not(feature = "wasmtime"))]
fn with_disk(memory: &Arc<MemoryCache>, _: &Path) -> Result<Arc<dyn ModuleCache>, CacheError> {
    Ok(memory.clone())
}

/// What to do with the directory.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what it holds, the module used last first
    List {
        /// Which directory.
        #[command(flatten)]
        cache: CacheArguments,
        /// Answer with one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove what it holds
    Clear {
        /// Which directory.
        #[command(flatten)]
        cache: CacheArguments,
        /// Answer with one JSON object
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
        /// Answer with one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[cfg(feature = "wasmtime")]
pub(crate) use directory::run;

/// wasmtime's modules are the only ones with a form for files.
#[cfg(not(feature = "wasmtime"))]
pub(crate) fn run(_: &CacheCommand) -> Result<cli::Exit, Failure> {
    Err(Failure::bad_input("this signer was built without wasmtime, whose modules alone are kept in files"))
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
