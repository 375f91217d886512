//! Core files: where they would be, and whether there are any.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The folders where this machine leaves cores of processes that were started here.
pub struct Cores {
    folders: Vec<PathBuf>,
    before: BTreeSet<PathBuf>,
    /// Whether a crash was seen to leave one.
    pub can_be_seen: bool,
}

impl Cores {
    /// Allows cores to this process and its children, and lets one crash, to see where they go.
    ///
    /// # Errors
    /// The current folder is gone.
    pub fn allow() -> Result<Self, Failure> {
        // As far as we may.
        let most = getrlimit(Resource::Core).maximum;
        let _ = setrlimit(Resource::Core, Rlimit { current: None, maximum: None })
            .or_else(|_| setrlimit(Resource::Core, Rlimit { current: most, maximum: most }));
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        let mut folders = vec![std::env::current_dir().map_err(Failure::environment)?];
        folders.extend(
            Path::new(pattern.trim()).parent().filter(|folder| folder.is_absolute()).map(Path::to_owned),
        );
        let mut cores = Self { folders, before: BTreeSet::new(), can_be_seen: false };
        cores.before = cores.list();
        let crash = Command::new("sh").args(["-c", "kill -SEGV $$"]).status();
        let has_crashed = crash.is_ok_and(|status| status.signal() == Some(11));
        let left = cores.left();
        cores.can_be_seen = has_crashed && !left.is_empty();
        for core in left {
            fs::remove_file(core).map_err(Failure::environment)?;
        }
        Ok(cores)
    }

    /// Those that were left since.
    pub fn left(&self) -> Vec<PathBuf> {
        self.list().difference(&self.before).cloned().collect()
    }

    fn list(&self) -> BTreeSet<PathBuf> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let is_core = |path: &PathBuf| {
            path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().contains("core"))
        };
        entries.map(|entry| entry.path()).filter(is_core).collect()
    }
}
