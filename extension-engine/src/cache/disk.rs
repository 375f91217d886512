//! The tier in a directory that all processes of a user share.
//!
//! A compiled module is code that is run as it stands, so whoever can write the file is whoever can run code here. The
//! directory is the user's alone, and everything is done relative to its descriptor; a file is opened without following
//! links, must be regular, the user's, and of mode 0600, is read into private memory once, and is authenticated there
//! with a key that lies in the same directory. Only then does the runtime see it. What doesn't pass is deleted and
//! compiled anew. A process of the same user can do all that too, and is not defended against.

mod folder;
mod format;
mod private;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    CacheAction, CacheError, CacheKey, CacheLimits, CacheWarning, CompiledModule, ModuleCache, Reservation,
    TierCounts, WarningSink,
};
use crate::Runtime;
use folder::{Folder, Found, UNFINISHED};
use format::{Authenticator, HEAD_LEN};

/// The file of the authentication key.
const KEY: &str = "key";

/// The file that is locked by who writes (shared) and who removes (alone).
const LOCK: &str = "lock";

const SUFFIX: &str = ".module";

/// How long one process waits for another that compiles the same module.
const COMPILE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long one process waits for others to write or to make room, which takes milliseconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Keeps compiled modules of wasmtime in files. Modules of other runtimes, which have no such form, are neither found nor
/// kept.
pub struct DiskCache {
    folder: Folder,
    authenticator: Authenticator,
    len_max: u64,
    warnings: WarningSink,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    deserialized: AtomicU64,
    saved: AtomicU64,
    evicted: AtomicU64,
}

/// A file of the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it holds: its word for it, if it is not [authentic](Self::is_authentic). The stack is 0.
    pub key: CacheKey,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
    /// Whether it would be loaded.
    pub is_authentic: bool,
}

impl DiskCache {
    /// The cache in the directory at `path`, which is made if it isn't there. It must belong to this user and let nobody
    /// else in. What goes wrong later without failing anything is told to `warnings`.
    ///
    /// # Errors
    /// The directory, or its key, is not ours alone, or can't be made or read.
    pub fn open(path: &Path, limits: &CacheLimits, warnings: WarningSink) -> Result<Self, CacheError> {
        let folder = Folder::open(path)?;
        let authenticator = Authenticator::new(authentication_key(&folder)?);
        Ok(Self { folder, authenticator, len_max: limits.file_bytes, warnings, counts: Counts::default() })
    }

    /// What the cache holds, the one used last first.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        let mut found = self.folder.list(SUFFIX)?;
        found.sort_by_key(|file| -file.used);
        Ok(found.iter().filter_map(|file| self.entry(file)).collect())
    }

    fn entry(&self, found: &Found) -> Option<Entry> {
        let (file, len) = self.folder.open_file(&found.name).ok()?;
        let head = self.folder.read(&found.name, &file).ok()?;
        let key = format::claimed(&head)?;
        let is_authentic =
            found.name == name(&key) && self.check(&key, &found.name, &file, &head, len).is_ok();
        let used = Duration::from_nanos(found.used.try_into().unwrap_or(0));
        Some(Entry { key, bytes: len, used: SystemTime::UNIX_EPOCH + used, is_authentic })
    }

    /// Removes every module, and gives how many files that were and how many bytes. The authentication key stays, for other
    /// processes use it now.
    ///
    /// # Errors
    /// Something can't be removed.
    pub fn clear(&self) -> Result<(u64, u64), CacheError> {
        let _alone = self.folder.lock(LOCK, false, LOCK_WAIT_MAX)?;
        let (mut files, mut bytes) = (0, 0);
        for found in self.folder.list(SUFFIX)? {
            self.folder.remove(&found.name)?;
            files += 1;
            bytes += found.len;
        }
        Ok((files, bytes))
    }

    /// Reads, checks and loads the module of `key`.
    fn read(&self, key: &CacheKey, name: &str) -> Result<CompiledModule, CacheError> {
        let (file, len) = self.folder.open_file(name)?;
        if len > self.len_max {
            let reason = format!("is {len} bytes long, where the cache may hold {}", self.len_max);
            return Err(self.folder.refused(Some(name), reason));
        }
        let head = self.folder.read(name, &file)?;
        let payload = self.check(key, name, &file, &head, len)?;
        count(&self.counts.deserialized);
        // SAFETY: the authentication code covers the whole file, the key's description included, and can be made by who
        // holds the directory's key alone: this user, in `save`, which wrote what `serialize` made of the module of this
        // key. What was checked is a sealed copy that nobody has a name for, and it is that copy which is mapped.
        let module = unsafe { CompiledModule::deserialize(key, payload) }?;
        Folder::touch(&file);
        Ok(module)
    }

    /// Copies the runtime's bytes out of `file`, which is `len` bytes long and was read up to the end of `head`, if they are
    /// what was saved here under `key`.
    fn check(
        &self,
        key: &CacheKey,
        name: &str,
        file: &File,
        head: &[u8; HEAD_LEN],
        len: u64,
    ) -> Result<File, CacheError> {
        let refused = |reason| self.folder.refused(Some(name), reason);
        let mut check = self.authenticator.check(key, head).map_err(refused)?;
        if len != HEAD_LEN as u64 + check.len {
            return Err(refused("is not as long as it says"));
        }
        let payload = self.folder.copy(name, file, check.len, |piece| check.feed(piece))?;
        check.finish().map_err(refused)?;
        Ok(payload)
    }

    /// Makes room, if there is more than there may be. The lock keeps out who writes, so that an unfinished file is a dead
    /// process's.
    fn evict(&self) -> Result<(), CacheError> {
        let total = |found: &[Found]| found.iter().map(|file| file.len).sum::<u64>();
        if total(&self.folder.list(SUFFIX)?) <= self.len_max {
            return Ok(());
        }
        let _alone = self.folder.lock(LOCK, false, LOCK_WAIT_MAX)?;
        let mut found = self.folder.list(SUFFIX)?;
        found.sort_by_key(|file| (!file.name.starts_with(UNFINISHED), file.used));
        let mut left = total(&found);
        for file in &found {
            if left <= self.len_max && !file.name.starts_with(UNFINISHED) {
                break;
            }
            self.folder.remove(&file.name)?;
            left -= file.len;
            count(&self.counts.evicted);
        }
        Ok(())
    }
}

impl ModuleCache for DiskCache {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        let name = name(key);
        let loaded =
            if key.runtime == Runtime::Wasmtime { self.read(key, &name) } else { Err(CacheError::Missing) };
        match loaded {
            Ok(module) => {
                count(&self.counts.hits);
                Ok(module)
            }
            Err(error @ (CacheError::Refused { .. } | CacheError::Runtime { .. })) => {
                count(&self.counts.misses);
                count(&self.counts.refused);
                let removed = self.folder.remove(&name);
                self.warn(&CacheWarning::new(CacheAction::Load, error));
                match removed {
                    Ok(()) => Err(CacheError::Missing),
                    Err(error) => Err(error),
                }
            }
            Err(error) => {
                count(&self.counts.misses);
                Err(error)
            }
        }
    }

    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        let Some(payload) = module.serialize()? else { return Ok(()) };
        let bytes = (HEAD_LEN + payload.len()) as u64;
        if bytes > self.len_max {
            return Err(CacheError::TooLarge { bytes, limit: self.len_max });
        }
        let head = self.authenticator.head(key, &payload);
        let writing = self.folder.lock(LOCK, true, LOCK_WAIT_MAX)?;
        self.folder.write(&name(key), &[&head, &payload], false)?;
        drop(writing);
        count(&self.counts.saved);
        if let Err(error) = self.evict() {
            self.warn(&CacheWarning::new(CacheAction::Evict, error));
        }
        Ok(())
    }

    /// Other processes are waited for, too. Modules share 256 locks.
    fn reserve(&self, key: &CacheKey) -> Reservation {
        if key.runtime != Runtime::Wasmtime {
            return Reservation::default();
        }
        let lock = format!("{LOCK}.{}", &name(key)[..2]);
        match self.folder.lock(&lock, false, COMPILE_WAIT_MAX) {
            Ok((held, waited)) => Reservation::new(waited, held),
            Err(error) => {
                self.warn(&CacheWarning::new(CacheAction::Wait, error));
                Reservation::default()
            }
        }
    }

    fn counts(&self) -> Vec<TierCounts> {
        let counts = &self.counts;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![TierCounts {
            tier: "disk",
            hits: value(&counts.hits),
            misses: value(&counts.misses),
            refused: value(&counts.refused),
            deserialized: value(&counts.deserialized),
            saved: value(&counts.saved),
            evicted: value(&counts.evicted),
        }]
    }

    fn warn(&self, warning: &CacheWarning) {
        (self.warnings)(warning);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The file of `key`.
fn name(key: &CacheKey) -> String {
    let digest = Sha256::digest(format::description(key));
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + SUFFIX
}

/// The authentication key of `folder`, which is made if it isn't there.
fn authentication_key(folder: &Folder) -> Result<Zeroizing<[u8; 32]>, CacheError> {
    let opened = match folder.open_file(KEY) {
        Err(CacheError::Missing) => {
            let mut key = Zeroizing::new([0; 32]);
            folder::draw(&mut key[..]).map_err(|error| CacheError::Io {
                action: "draw",
                path: folder.path_of(KEY),
                error,
            })?;
            // Of many processes that do this at once one wins, and all read what it has written.
            folder.write(KEY, &[&key[..]], true)?;
            folder.open_file(KEY)
        }
        other => other,
    };
    let (file, len) = opened?;
    if len != 32 {
        return Err(folder.refused(Some(KEY), "is not 32 bytes long: remove it"));
    }
    folder.read(KEY, &file).map(Zeroizing::new)
}
