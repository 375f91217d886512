//! The private folder of a control plane, and the lock by which one signer at a time has it. Metrics that are served on a
//! socket take theirs the same way.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cli::Failure;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// The name of the control plane's socket in its folder, and of the lock beside it.
const CONTROL: (&str, &str) = ("control.sock", "lock");

/// The longest path of a socket, in bytes: the kernel's 108, one of them for a zero.
const PATH_LEN_MAX: usize = 107;

/// How often the lock is tried for, 10 ms apart: a killed signer's lock is let go of some ms after it is gone.
const TRIES: u32 = 20;

/// A folder that is ours alone: nobody else can reach what is in it, and no other signer has the socket in it. It stays
/// ours until the last clone is dropped, or the process ends in whatever way.
pub(crate) struct Directory {
    /// What messages call it.
    shown: String,
    path: PathBuf,
    /// The socket's name.
    socket: OsString,
    descriptor: OwnedFd,
    lock: File,
}

impl Directory {
    /// Takes the folder at `path` for a control plane, and makes it if it is missing.
    ///
    /// # Errors
    /// It can't be made, it is not ours, others may enter it, another signer has it, or its path is too long for a
    /// socket's.
    pub fn claim(path: &Path) -> Result<Self, Failure> {
        let (socket, lock) = CONTROL;
        Self::take(shown(path), path, OsStr::new(socket), OsStr::new(lock))
    }

    /// As [`claim`](Self::claim), for another socket: the one at `socket`.
    ///
    /// # Errors
    /// As there, or it has no name.
    pub fn claim_for(socket: &Path) -> Result<Self, Failure> {
        let name = socket.file_name().ok_or_else(|| {
            Failure::bad_input(format_args!("socket {}: it needs a name in a folder", socket.display()))
        })?;
        let folder = match socket.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut lock = name.to_owned();
        lock.push(".lock");
        Self::take(format!("socket folder {}", folder.display()), folder, name, &lock)
    }

    fn take(shown: String, path: &Path, socket: &OsStr, lock_name: &OsStr) -> Result<Self, Failure> {
        bound_path(&shown, &path.join(socket))?;
        let refused = |reason: String| Failure::environment(format_args!("{shown}: {reason}"));
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(refused(format!("can't make it: {}", io::Error::from(error)))),
        }
        let descriptor = open_private(path).map_err(refused)?;
        let lock = lock(descriptor.as_fd(), lock_name).map_err(refused)?;
        Ok(Self { shown, path: path.into(), socket: socket.to_owned(), descriptor, lock })
    }

    /// Another holder of the same folder and the same lock.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let Self { shown, path, socket, descriptor, lock } = self;
        let (shown, path, socket) = (shown.clone(), path.clone(), socket.clone());
        Ok(Self { shown, path, socket, descriptor: descriptor.try_clone()?, lock: lock.try_clone()? })
    }

    /// Makes the socket, in the place of one that a killed signer has left.
    ///
    /// # Errors
    /// Something else is in its place, or the kernel says no.
    pub fn listen(&self) -> Result<UnixListener, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::environment(format_args!("{}: {}: {error}", self.shown, self.socket.display()))
        };
        if let Ok(there) = self.stat_socket() {
            if FileType::from_raw_mode(there.st_mode) != FileType::Socket {
                return Err(refused(&"it is no socket, and in the place of ours; remove it"));
            }
            self.remove_socket();
        }
        let listener = UnixListener::bind(self.path.join(&self.socket)).map_err(|error| refused(&error))?;
        // There is no bind in a folder that one holds open: see that nobody has put another in its place meanwhile.
        if self.stat_socket().is_err() {
            return Err(refused(&"the folder was replaced while the signer started; start it again"));
        }
        // Nobody else can enter the folder; this is for who moves the socket elsewhere.
        rustix::fs::chmodat(&self.descriptor, &*self.socket, Mode::RUSR | Mode::WUSR, AtFlags::empty())
            .map_err(|error| refused(&io::Error::from(error)))?;
        Ok(listener)
    }

    /// Removes the socket, if it is there.
    pub fn remove_socket(&self) {
        // What can't be removed is stale to the next signer.
        let _ = rustix::fs::unlinkat(&self.descriptor, &*self.socket, AtFlags::empty());
    }

    fn stat_socket(&self) -> rustix::io::Result<rustix::fs::Stat> {
        rustix::fs::statat(&self.descriptor, &*self.socket, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Where the socket of the control plane in the folder at `path` is.
///
/// # Errors
/// The kernel takes no path that long.
pub(crate) fn socket_path(path: &Path) -> Result<PathBuf, Failure> {
    let socket = path.join(CONTROL.0);
    bound_path(&shown(path), &socket)?;
    Ok(socket)
}

fn bound_path(shown: &str, socket: &Path) -> Result<(), Failure> {
    let len = socket.as_os_str().as_bytes().len();
    if len > PATH_LEN_MAX {
        return Err(Failure::bad_input(format_args!(
            "{shown}: its socket's path would have {len} bytes, and may have {PATH_LEN_MAX}: choose a shorter one"
        )));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    format!("control directory {}", path.display())
}

/// Opens the folder, and sees on the descriptor that it is private.
fn open_private(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
        // The kernel says the same of a link as of a file.
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.is_symlink() => "it is a symbolic link; name the folder itself".into(),
            Ok(there) if !there.is_dir() => "it is no folder; choose another name".into(),
            Ok(there) => private(&there).err().unwrap_or_else(|| io::Error::from(error).to_string()),
            Err(_) => io::Error::from(error).to_string(),
        }
    })?;
    let folder = File::from(opened);
    private(&folder.metadata().map_err(|error| error.to_string())?)?;
    Ok(folder.into())
}

fn private(folder: &std::fs::Metadata) -> Result<(), String> {
    let (owner, uid) = (folder.uid(), rustix::process::geteuid().as_raw());
    if owner != uid {
        return Err(format!("it belongs to user {owner}, and the signer runs as user {uid}; choose another"));
    }
    let mode = folder.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("its mode {mode:03o} lets others in; `chmod 700` it"));
    }
    Ok(())
}

/// Takes the lock, and leaves our process id in it.
fn lock(folder: BorrowedFd<'_>, name: &OsStr) -> Result<File, String> {
    let said = |error: io::Error| format!("lock: {error}");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(opened.map_err(|error| said(error.into()))?);
    let mut tries = 0;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if tries == TRIES => {
                let mut holder = String::new();
                // Whatever is in it, it is no more than a help.
                let _ = (&file).take(20).read_to_string(&mut holder);
                let holder =
                    holder.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (pid {pid})"));
                return Err(format!(
                    "another signer{holder} has it; stop that one, or choose another folder"
                ));
            }
            Err(Errno::WOULDBLOCK) => {
                tries += 1;
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(said(error.into())),
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(said)?;
    Ok(file)
}
