//! The folder that a run writes its files to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cli::Failure;

use crate::histograms::Stage;

/// The journal's file name.
pub const JOURNAL: &str = "signatures.ndjson";
/// The interval log's file name.
pub const INTERVAL_LOG: &str = "latency.hlog";
/// The summary's file name.
pub const SUMMARY: &str = "summary.json";
/// The file name of the signer's own summary, which it leaves in the same folder.
pub const SIGNER: &str = "signer.json";

/// The file name of a stage's percentile distribution.
pub fn distribution(stage: Stage) -> String {
    format!("{}.hgrm", stage.name())
}

/// A folder that held none of the consumer's files when the run began.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
}

impl OutputFolder {
    /// The folder at `path`, made with its parents if it isn't there.
    ///
    /// # Errors
    /// It holds a file of an earlier run: bad input that names the file. It can't be made or looked at:
    /// environment.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| at(path, &error))?;
        let stages = Stage::ALL.map(distribution);
        for name in [JOURNAL, INTERVAL_LOG, SUMMARY].into_iter().chain(stages.iter().map(String::as_str)) {
            let file = path.join(name);
            if file.try_exists().map_err(|error| at(&file, &error))? {
                return Err(earlier_run(&file));
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The path of the file called `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new, empty file, for what is written while the run goes on.
    ///
    /// # Errors
    /// Somebody made one of that name meanwhile: bad input. It can't be made: environment.
    pub fn open_new(&self, name: &str) -> Result<File, Failure> {
        let path = self.path_of(name);
        File::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => earlier_run(&path),
            _ => at(&path, &error),
        })
    }

    /// Writes the file called `name` in one go: readers see all of it or none.
    ///
    /// # Errors
    /// It can't be written: environment.
    pub fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let path = self.path_of(name);
        let partial = self.path_of(&format!(".{name}.partial"));
        let write_and_rename = || {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
            let mut out = BufWriter::new(file);
            write(&mut out)?;
            out.flush()?;
            fs::rename(&partial, &path)
        };
        write_and_rename().map_err(|error| at(&path, &error))
    }
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format_args!("output {}: {error}; choose another folder with --out", path.display()))
}

fn earlier_run(file: &Path) -> Failure {
    Failure::bad_input(format_args!(
        "output {} is of an earlier run; choose another folder with --out, or remove it",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use cli::Exit;

    use super::*;

    #[test]
    fn an_earlier_runs_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in [JOURNAL, "sign.hgrm"] {
            let path = folder.path().join(name);
            fs::write(&path, "precious").unwrap();
            let failure = OutputFolder::create(folder.path()).unwrap_err();
            assert!(failure.exit == Exit::BadInput && failure.message.contains(name), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
            fs::remove_file(path).unwrap();
        }
        OutputFolder::create(folder.path()).unwrap();
    }

    #[test]
    fn the_signers_file_does_not_make_a_folder_an_earlier_run() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SIGNER), "{}").unwrap();
        OutputFolder::create(folder.path()).unwrap();
    }

    #[test]
    fn two_runs_cannot_open_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| OutputFolder::create(folder.path()).unwrap());
        first.open_new(JOURNAL).unwrap();
        assert_eq!(second.open_new(JOURNAL).unwrap_err().exit, Exit::BadInput);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_environment_error() {
        let failure = OutputFolder::create(Path::new("/dev/null/run")).unwrap_err();
        assert!(failure.exit == Exit::Environment && failure.message.contains("/dev/null/run"), "{failure}");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let output = OutputFolder::create(folder.path()).unwrap();
        output.replace(SUMMARY, |out| out.write_all(b"whole")).unwrap();
        let failure = output.replace(SUMMARY, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("disk on fire"))
        });
        assert!(failure.is_err_and(|failure| failure.message.contains("disk on fire")));
        assert_eq!(fs::read_to_string(output.path_of(SUMMARY)).unwrap(), "whole");
    }
}
