//! The directory of the disk tier, by its descriptor: what is done here can't be led elsewhere by renaming what is above.

use std::ffi::{CStr, CString};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::private;
use crate::cache::CacheError;

/// How often a lock that is taken is tried again.
const TRY_EVERY: Duration = Duration::from_millis(1);

/// What the names of unfinished files begin with.
pub(super) const UNFINISHED: &str = ".new.";

pub(super) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// A file of the directory.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) len: u64,
    /// Nanoseconds since 1970.
    pub(super) used: i128,
}

impl Folder {
    /// Opens the directory at `path`, and makes it if it isn't there. It must be ours alone.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let failed = |action, error: io::Error| CacheError::Io { action, path: path.to_owned(), error };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| failed("make directory", e))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let reason = "is no directory, or a symbolic link to one: give another place".to_owned();
                return Err(CacheError::Refused { path: path.to_owned(), reason });
            }
            Err(error) => return Err(failed("open directory", error.into())),
        };
        let stat = rustix::fs::fstat(&descriptor).map_err(|error| failed("look at", error.into()))?;
        let folder = Self { descriptor, path: path.to_owned() };
        check_owner(&stat).map_err(|reason| folder.refused(None, reason))?;
        if stat.st_mode & 0o077 != 0 {
            let reason = format!("lets others in (mode {:03o}): `chmod 700` it", stat.st_mode & 0o7777);
            return Err(folder.refused(None, reason));
        }
        Ok(folder)
    }

    /// The path of a file, for words.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn refused(&self, name: Option<&str>, reason: impl Into<String>) -> CacheError {
        let path = name.map_or_else(|| self.path.clone(), |name| self.path_of(name));
        CacheError::Refused { path, reason: reason.into() }
    }

    fn failed(&self, action: &'static str, name: &str) -> impl Fn(io::Error) -> CacheError {
        move |error| CacheError::Io { action, path: self.path_of(name), error }
    }

    /// Opens file `name` for reading, without following a link or waiting for a FIFO's other end. It must be a regular
    /// file of ours that nobody else may read.
    pub(super) fn open_file(&self, name: &str) -> Result<(File, u64), CacheError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty());
        let stat = match &opened {
            Ok(file) => rustix::fs::fstat(file),
            Err(Errno::NOENT) => return Err(CacheError::Missing),
            // What can't be opened may be none of our making: say so.
            Err(_) => rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW),
        };
        let stat = stat.map_err(io::Error::from).map_err(self.failed("look at", name))?;
        check_file(&stat).map_err(|reason| self.refused(Some(name), reason))?;
        let file = opened.map_err(io::Error::from).map_err(self.failed("open", name))?;
        Ok((file.into(), stat.st_size.try_into().unwrap_or(0)))
    }

    /// Reads a small file that `open_file` has opened.
    pub(super) fn read<const LEN: usize>(
        &self,
        name: &str,
        mut file: &File,
    ) -> Result<[u8; LEN], CacheError> {
        let mut bytes = [0; LEN];
        file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.refused(Some(name), "is too short"),
            _ => self.failed("read", name)(error),
        })?;
        Ok(bytes)
    }

    /// Copies the rest of `file`, which is to be `len` bytes, to a file that nobody can write, and shows it to `look`.
    pub(super) fn copy(
        &self,
        name: &str,
        file: &File,
        len: u64,
        look: impl FnMut(&[u8]),
    ) -> Result<File, CacheError> {
        let copied = private::copy(file, len, look).map_err(self.failed("copy", name))?;
        copied.ok_or_else(|| self.refused(Some(name), "is not as long as it says"))
    }

    /// Makes file `name` of `parts`, all or nothing, also if the machine stops. Whoever is first wins if `is_first` is
    /// asked for; else a file of that name is replaced.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]], is_first: bool) -> Result<(), CacheError> {
        let mut number = [0; 8];
        draw(&mut number).map_err(self.failed("name", name))?;
        let unfinished = format!("{UNFINISHED}{:016x}", u64::from_ne_bytes(number));
        let written = self.write_as(&unfinished, name, parts, is_first);
        if written.is_err() || is_first {
            // If it can't be removed, it is at the next eviction.
            let _ = rustix::fs::unlinkat(&self.descriptor, &unfinished, AtFlags::empty());
        }
        written.map_err(self.failed("write", name))
    }

    fn write_as(&self, unfinished: &str, name: &str, parts: &[&[u8]], is_first: bool) -> io::Result<()> {
        let dir = &self.descriptor;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(dir, unfinished, flags, Mode::RUSR | Mode::WUSR)?);
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        if is_first {
            match rustix::fs::linkat(dir, unfinished, dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            rustix::fs::renameat(dir, unfinished, dir, name)?;
        }
        Ok(rustix::fs::fsync(dir)?)
    }

    /// Notes that a file is used now.
    pub(super) fn touch(file: &File) {
        // Where nothing may be written nothing is evicted either.
        let _ = file.set_modified(SystemTime::now());
    }

    /// Removes `name`, be it a file, a link or an empty directory.
    pub(super) fn remove(&self, name: &str) -> Result<(), CacheError> {
        let removed = match rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.descriptor, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", name)(error.into())),
        }
    }

    /// Every entry whose name ends in `suffix`, and every unfinished one.
    pub(super) fn list(&self, suffix: &str) -> Result<Vec<Found>, CacheError> {
        let failed =
            |error: Errno| CacheError::Io { action: "list", path: self.path.clone(), error: error.into() };
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.descriptor).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = wanted(entry.file_name(), suffix) else { continue };
            match rustix::fs::statat(&self.descriptor, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push(Found {
                    name,
                    len: stat.st_size.try_into().unwrap_or(0),
                    used: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
                }),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    /// Locks file `name`, together with others if `is_shared`, until the result is dropped or the process ends; says also
    /// whether somebody else had it.
    pub(super) fn lock(
        &self,
        name: &str,
        is_shared: bool,
        wait: Duration,
    ) -> Result<(File, bool), CacheError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(opened.map_err(io::Error::from).map_err(self.failed("open", name))?);
        let started = Instant::now();
        let mut waited = false;
        loop {
            match if is_shared { file.try_lock_shared() } else { file.try_lock() } {
                Ok(()) => return Ok((file, waited)),
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => {
                    waited = true;
                    thread::sleep(TRY_EVERY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(CacheError::Locked { path: self.path_of(name), seconds: wait.as_secs() });
                }
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(self.failed("lock", name)(error)),
            }
        }
    }
}

/// Fills `bytes` with what nobody can guess.
pub(super) fn draw(bytes: &mut [u8]) -> io::Result<()> {
    // Up to 256 bytes come in one piece.
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()).map(drop).map_err(io::Error::from)
}

/// The name of an entry that `Folder::list` gives.
fn wanted(name: &CStr, suffix: &str) -> Option<String> {
    let name = CString::from(name).into_string().ok()?;
    (name.ends_with(suffix) || name.starts_with(UNFINISHED)).then_some(name)
}

fn check_file(stat: &Stat) -> Result<(), String> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is no regular file".to_owned());
    }
    check_owner(stat)?;
    if stat.st_mode & 0o7177 != 0 {
        return Err(format!("has mode {:03o} instead of 600", stat.st_mode & 0o7777));
    }
    Ok(())
}

fn check_owner(stat: &Stat) -> Result<(), String> {
    let uid = rustix::process::geteuid().as_raw();
    if stat.st_uid == uid {
        Ok(())
    } else {
        Err(format!("belongs to uid {}, and this process runs as uid {uid}", stat.st_uid))
    }
}
