//! What the control directory remembers: which module serves which method, and the modules themselves. A signer that
//! starts there again goes on with what was committed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::assignment::Assignments;

/// The committed assignments.
const COMMITTED: &str = "generation.json";
const MODULES: &str = "modules";

/// An open control directory, which is ours alone (see [`crate::control`]).
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in `directory`, which is there.
    ///
    /// # Errors
    /// The folder for modules can't be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(directory.join(MODULES)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self { directory: std::path::absolute(directory)? }),
        }
    }

    /// What was committed last, if anything was.
    ///
    /// # Errors
    /// The file can't be read, or is none of ours.
    pub fn load(&self) -> io::Result<Option<Assignments>> {
        match fs::read(self.directory.join(COMMITTED)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits `assignments`: all of it or nothing, whatever dies when, the machine included.
    ///
    /// # Errors
    /// It could not be written; what was committed before still is.
    pub fn commit(&self, assignments: &Assignments) -> io::Result<()> {
        self.write(Path::new(COMMITTED), &serde_json::to_vec_pretty(assignments)?)
    }

    /// Keeps a module, under the name of its digest, and returns its path.
    ///
    /// # Errors
    /// It could not be written.
    pub fn keep(&self, sha256: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let name = Path::new(MODULES).join(format!("{sha256}.wasm"));
        self.write(&name, bytes)?;
        Ok(self.directory.join(name))
    }

    /// Removes the modules that neither serve nor did before.
    pub fn sweep(&self, assignments: &Assignments) {
        let kept = assignments.present.iter().chain(assignments.previous.iter().flatten());
        let kept: Vec<_> = kept.filter_map(|assignment| assignment.path.as_deref()).collect();
        let Ok(entries) = fs::read_dir(self.directory.join(MODULES)) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if !kept.contains(&path.as_os_str()) {
                // It costs a few kilobytes until the next time.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn write(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.directory.join(name);
        let temporary = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use cli::Method;
    use extension_engine::{Limits, Runtime};

    use super::*;
    use crate::assignment::Assignment;

    #[test]
    fn what_was_committed_is_found_again_and_modules_that_nobody_needs_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let paths = ["aa", "bb", "cc"].map(|name| store.keep(name, name.as_bytes()).unwrap());
        let mut all = Assignments::from_arguments(Runtime::Native, &[], &Limits::default()).unwrap();
        for (generation, path) in (2..).zip(&paths) {
            let path = Some(path.clone().into_os_string());
            all = all.with(Assignment { generation, path, ..all.of(Method::Null).clone() });
        }
        store.commit(&all).unwrap();
        store.sweep(&all);
        assert_eq!(Store::open(folder.path()).unwrap().load().unwrap(), Some(all));
        assert_eq!(paths.map(|path| path.exists()), [false, true, true]);
        fs::write(folder.path().join(COMMITTED), "{").unwrap();
        store.load().unwrap_err();
    }
}
