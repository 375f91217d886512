//! The folder that a run writes its files to.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use cli::Failure;
use shmem_layout::failpoint;

use crate::histograms::Stage;

/// The journal's file name.
pub const JOURNAL: &str = "signatures.ndjson";
/// The interval log's file name.
pub const INTERVAL_LOG: &str = "latency.hlog";
/// The checkpoint's file name.
pub const CHECKPOINT: &str = "checkpoint.json";
/// The summary's file name.
pub const SUMMARY: &str = "summary.json";
/// The file name of the signer's own summary, which it leaves in the same folder.
pub const SIGNER: &str = "signer.json";
/// The file name of the producer's own summary, likewise.
pub const PRODUCER: &str = "producer.json";
/// The file name of the page about a run.
pub const REPORT: &str = "report.html";

/// The file name of a stage's percentile distribution.
pub fn distribution(stage: Stage) -> String {
    format!("{}.hgrm", stage.name())
}

/// A folder that no other consumer writes to.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    /// Holds a lock for as long as we live, and is what makes a rename lasting.
    folder: File,
}

impl OutputFolder {
    /// The folder at `path`, made with its parents if it isn't there.
    ///
    /// # Errors
    /// Another consumer writes to it: bad input. It can't be made or opened: environment.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let open = || {
            fs::create_dir_all(path)?;
            File::open(path)
        };
        let folder = open().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::bad_input(format_args!(
                "output {}: there is a file in the way; choose another folder with --out",
                path.display()
            )),
            _ => unusable(path, &error),
        })?;
        // Not every file system has such locks; without them, the user's care must do.
        if let Err(TryLockError::WouldBlock) = folder.try_lock() {
            return Err(Failure::bad_input(format_args!(
                "output folder {} is in use by another consumer; choose another with --out",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), folder })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file called `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes sure that no file is here that a run would write. Unfinished ones of [`OutputFolder::replace`] don't
    /// count: nobody reads them.
    ///
    /// # Errors
    /// There is one: bad input that names it and says `why` its run can't go on. Nobody can tell: environment.
    pub fn refuse_earlier_run(&self, why: &str) -> Result<(), Failure> {
        let stages = Stage::ALL.map(distribution);
        let names = [CHECKPOINT, JOURNAL, INTERVAL_LOG, SUMMARY].into_iter();
        for name in names.chain(stages.iter().map(String::as_str)) {
            let file = self.path_of(name);
            if file.try_exists().map_err(|error| unusable(&file, &error))? {
                return Err(Failure::bad_input(format_args!(
                    "output {} is of an earlier run, and {why}; choose another folder with --out, or remove it",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// The file called `name`, for reading and writing, of which the first `bytes` bytes count. It is made if none
    /// do.
    ///
    /// # Errors
    /// It is shorter: bad input that names file and byte. It can't be opened: environment.
    pub fn open_from(&self, name: &str, bytes: u64) -> Result<File, Failure> {
        let path = self.path_of(name);
        let opened = OpenOptions::new().read(true).write(true).create(bytes == 0).truncate(false).open(&path);
        let (len, file) = match opened.and_then(|file| Ok((file.metadata()?.len(), Some(file)))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, None),
            opened => opened.map_err(|error| unusable(&path, &error))?,
        };
        file.filter(|_| len >= bytes).ok_or_else(|| {
            Failure::bad_input(format_args!(
                "output {} ends at byte {len}, but {CHECKPOINT} counts it up to byte {bytes}; put the file back as it was, or choose another folder with --out",
                path.display()
            ))
        })
    }

    /// Writes the file called `name` in one go: readers see all of it or none, and so does whoever comes after a
    /// kill. What a kill left unfinished is written over.
    ///
    /// # Errors
    /// It can't be written: environment.
    pub fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let partial = self.path_of(&format!(".{name}.partial"));
        let write_and_rename = || {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
            let mut out = BufWriter::new(file);
            write(&mut out)?;
            // The bytes before the name: else a crash of the machine may leave the name with nothing behind it.
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            failpoint("replace: written");
            fs::rename(&partial, self.path_of(name))?;
            failpoint("replace: renamed");
            self.folder.sync_all()
        };
        write_and_rename().map_err(|error| self.cannot_write(name, &error))
    }

    /// The failure to write the file called `name`.
    pub fn cannot_write(&self, name: &str, error: &dyn Display) -> Failure {
        Failure::environment(format_args!(
            "output {}: {error}; mend that and start again with the same --ring and --out to go on, or choose another folder with --out",
            self.path_of(name).display()
        ))
    }
}

fn unusable(path: &Path, error: &dyn Display) -> Failure {
    Failure::environment(format_args!("output {}: {error}; choose another folder with --out", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cli::Exit;

    use super::*;

    fn open(folder: &tempfile::TempDir) -> OutputFolder {
        OutputFolder::open(folder.path()).unwrap()
    }

    #[test]
    fn an_earlier_runs_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in [CHECKPOINT, JOURNAL, "sign.hgrm"] {
            let path = folder.path().join(name);
            fs::write(&path, "precious").unwrap();
            let failure = open(&folder).refuse_earlier_run("it is over").unwrap_err();
            assert!(failure.exit == Exit::BadInput && failure.message.contains(name), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
            fs::remove_file(path).unwrap();
        }
        open(&folder).refuse_earlier_run("it is over").unwrap();
    }

    #[test]
    fn neither_the_signers_file_nor_an_unfinished_one_makes_a_folder_an_earlier_run() {
        let folder = tempfile::tempdir().unwrap();
        for name in [SIGNER, ".checkpoint.json.partial"] {
            fs::write(folder.path().join(name), "{").unwrap();
        }
        open(&folder).refuse_earlier_run("it is over").unwrap();
        open(&folder).replace(CHECKPOINT, |out| out.write_all(b"whole")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(CHECKPOINT)).unwrap(), "whole");
    }

    #[test]
    fn two_runs_cannot_write_to_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(&folder);
        let failure = OutputFolder::open(folder.path()).unwrap_err();
        assert!(failure.exit == Exit::BadInput && failure.message.contains("in use"), "{failure}");
        drop(first);
        open(&folder);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_environment_error() {
        let failure = OutputFolder::open(Path::new("/dev/null/run")).unwrap_err();
        assert!(failure.exit == Exit::Environment && failure.message.contains("/dev/null/run"), "{failure}");
    }

    #[test]
    fn a_file_that_lost_what_counts_is_named_with_its_bytes_and_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let output = open(&folder);
        let failure = output.open_from(JOURNAL, 7).unwrap_err();
        assert!(!output.path_of(JOURNAL).exists() && failure.exit == Exit::BadInput, "{failure}");
        output.open_from(JOURNAL, 0).unwrap().write_all(b"123456").unwrap();
        output.open_from(JOURNAL, 6).unwrap();
        let failure = output.open_from(JOURNAL, 7).unwrap_err();
        for part in [JOURNAL, "byte 6,", "byte 7;"] {
            assert!(failure.exit == Exit::BadInput && failure.message.contains(part), "{failure}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let output = open(&folder);
        output.replace(SUMMARY, |out| out.write_all(b"whole")).unwrap();
        let failure = output.replace(SUMMARY, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("disk on fire"))
        });
        assert!(failure.is_err_and(|failure| failure.message.contains("disk on fire")));
        assert_eq!(fs::read_to_string(output.path_of(SUMMARY)).unwrap(), "whole");
    }
}
