//! Files that are not what was saved. After each there is an untouched one, which is loaded: so the counter counts.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use cli::Failure;
use extension_engine::cache::{CacheKey, ModuleCache};
use rustix::fs::{CWD, FileType, mknodat};

use super::vault::{Vault, key_of};
use crate::support::rng::Rng;
use crate::support::session::Session;

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tampered {
    /// Files that were hurt.
    pub hurt: u64,
    /// How many of them the runtime got to see.
    pub deserialized: u64,
    /// Untouched files in between, all of which it got to see.
    pub controls: u64,
    /// What could not be done here.
    pub skipped: u64,
}

/// Where the parts of a file begin (see the engine's description of it), and how long all but the last one are.
const REGIONS: [(&str, usize, usize); 7] = [
    ("format", 0, 8),
    ("module", 8, 32),
    ("settings", 40, 32),
    ("runtime", 72, 4),
    ("version", 76, 20),
    ("length", 96, 8),
    ("authentication", 104, 32),
];
const HEAD_LEN: usize = 136;

/// Ways to hurt a file.
const KINDS: [&str; 15] = [
    "bit of the head",
    "bit of the code",
    "bytes",
    "cut",
    "lengthened",
    "emptied",
    "other version",
    "other settings",
    "other module",
    "other cache",
    "head of another",
    "symlink",
    "no file",
    "mode",
    "owner",
];

/// A module's sound file, and what could be taken for it.
struct Subject {
    key: CacheKey,
    file: PathBuf,
    sound: Vec<u8>,
    /// Kept for another version, for other settings, for another module; by another cache.
    others: BTreeMap<&'static str, Vec<u8>>,
}

/// Hurts `count` files.
///
/// # Errors
/// The campaign's own files can't be handled.
pub fn run(session: &Session, rng: &mut Rng, count: u64) -> Result<Tampered, Failure> {
    let folder = tempfile::tempdir().map_err(environment)?;
    let vault = Vault::open(&folder.path().join("cache"), 64 << 20)?;
    let foreign = Vault::open(&folder.path().join("foreign"), 64 << 20)?;
    let subjects = ["null", "ecdsa"].map(|name| Subject::new(&vault, &foreign, name));
    let [null, ecdsa] = subjects;
    let (null, ecdsa) = (null?, ecdsa?);
    let (mut done, mut by_kind) = (Tampered::default(), BTreeMap::new());
    for number in 0..count {
        let subject = if number % 4 == 3 { &ecdsa } else { &null };
        // Every kind in turn, so that there are enough of each.
        let kind = KINDS[(number % KINDS.len() as u64) as usize];
        remove(&subject.file)?;
        if !subject.hurt(kind, folder.path(), rng).map_err(environment)? {
            done.skipped += 1;
            continue;
        }
        *by_kind.entry(kind).or_insert(0_u64) += 1;
        done.hurt += 1;
        let (before, warnings) = (vault.counts(), vault.warnings());
        let loaded = vault.cache().load(&subject.key).is_ok();
        let after = vault.counts();
        done.deserialized += after.deserialized - before.deserialized;
        if loaded || after.deserialized != before.deserialized {
            session.complain(format_args!("file {number} ({kind}) was deserialized"));
        } else if (after.refused, vault.warnings()) != (before.refused + 1, warnings + 1) {
            let last = vault.last_warning();
            session.complain(format_args!("file {number} ({kind}) was not refused in one line: {last}"));
        } else if fs::symlink_metadata(&subject.file).is_ok() {
            session.complain(format_args!("file {number} ({kind}) is still there"));
        }
        remove(&subject.file)?;
        write(&subject.file, &subject.sound).map_err(environment)?;
        let before = vault.counts().deserialized;
        if vault.cache().load(&subject.key).is_err() || vault.counts().deserialized != before + 1 {
            let last = vault.last_warning();
            session.complain(format_args!("the untouched file after {number} ({kind}) was refused: {last}"));
        }
        done.controls += 1;
        if session.complaints() > 10 {
            break;
        }
    }
    let list = by_kind.iter().map(|(kind, count)| format!("\n    {count:6}  {kind}")).collect::<String>();
    session.say(format_args!("files hurt:{list}"));
    Ok(done)
}

impl Subject {
    fn new(vault: &Vault, foreign: &Vault, name: &'static str) -> Result<Self, Failure> {
        let key = key_of(name)?;
        // The one file that saving adds.
        let saved = |by: &Vault, key: &CacheKey, what: &str| -> Result<(PathBuf, Vec<u8>), Failure> {
            let before = by.files()?;
            by.cache().save(key, &vault.compiled(what)?).map_err(Failure::environment)?;
            let new = by.files()?.into_iter().find(|file| !before.contains(file));
            let file = new.ok_or_else(|| Failure::failed("a module was saved, and there is no file"))?;
            let bytes = fs::read(&file).map_err(environment)?;
            Ok((file, bytes))
        };
        let before = vault.files()?;
        vault.compile(name)?;
        let file = vault.files()?.into_iter().find(|file| !before.contains(file));
        let file = file.ok_or_else(|| Failure::failed("a module was compiled, and there is no file"))?;
        let sound = fs::read(&file).map_err(environment)?;
        let others = [
            ("other version", CacheKey { version: "48.0.7".to_owned(), ..key.clone() }),
            ("other settings", CacheKey { settings: [7; 32], ..key.clone() }),
            ("other module", CacheKey { module_sha256: [7; 32], ..key.clone() }),
        ];
        let mut kept = BTreeMap::new();
        for (kind, other) in others {
            let (file, bytes) = saved(vault, &other, name)?;
            remove(&file)?;
            kept.insert(kind, bytes);
        }
        kept.insert("other cache", saved(foreign, &key, name)?.1);
        Ok(Self { key, file, sound, others: kept })
    }

    /// Puts a file of this `kind` in the place of the sound one; false if that can't be done here.
    fn hurt(&self, kind: &str, folder: &Path, rng: &mut Rng) -> io::Result<bool> {
        let mut bytes = self.sound.clone();
        let len = bytes.len() as u64;
        match kind {
            "bit of the head" => {
                let (_, start, len) = rng.choose(&REGIONS);
                flip(&mut bytes, start as u64 + rng.within(0..len as u64), rng);
            }
            "bit of the code" => flip(&mut bytes, rng.within(HEAD_LEN as u64..len), rng),
            "bytes" => {
                for _ in 0..rng.within(1..64) {
                    bytes[rng.within(0..len) as usize] ^= rng.within(1..256) as u8;
                }
                if bytes == self.sound {
                    bytes[0] ^= 1;
                }
            }
            "cut" => bytes.truncate(rng.within(1..len) as usize),
            "lengthened" => bytes.extend((0..rng.within(1..5000)).map(|_| rng.next() as u8)),
            // Of no length, or all zeros: what a machine that stops may leave.
            "emptied" => bytes = vec![0; if rng.percent(50) { 0 } else { bytes.len() }],
            "head of another" => {
                bytes[..HEAD_LEN].copy_from_slice(&self.others["other cache"][..HEAD_LEN]);
            }
            "symlink" => {
                let target = folder.join("elsewhere");
                remove_it(&target)?;
                write(&target, &self.sound)?;
                return symlink(target, &self.file).map(|()| true);
            }
            "no file" => {
                return match rng.within(0..3) {
                    0 => fs::create_dir(&self.file),
                    1 => Ok(mknodat(CWD, &self.file, FileType::Fifo, 0o600.into(), 0)?),
                    _ => Ok(mknodat(CWD, &self.file, FileType::Socket, 0o600.into(), 0)?),
                }
                .map(|()| true);
            }
            "mode" => {
                write(&self.file, &self.sound)?;
                // Any bit more than what the owner may read and write.
                let mode = 0o600 | 1 << rng.choose(&[0, 1, 2, 3, 4, 5, 6, 9, 10, 11]);
                return fs::set_permissions(&self.file, Permissions::from_mode(mode)).map(|()| true);
            }
            "owner" => {
                if !rustix::process::geteuid().is_root() {
                    return Ok(false);
                }
                write(&self.file, &self.sound)?;
                return chown(&self.file, Some(rng.within(1..60_000) as u32), None).map(|()| true);
            }
            other => bytes.clone_from(&self.others[other]),
        }
        write(&self.file, &bytes)?;
        Ok(true)
    }
}

fn flip(bytes: &mut [u8], at: u64, rng: &mut Rng) {
    bytes[at as usize] ^= 1 << rng.within(0..8);
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

fn remove(path: &Path) -> Result<(), Failure> {
    remove_it(path).map_err(environment)
}

fn remove_it(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn environment(error: io::Error) -> Failure {
    Failure::environment(format_args!("the campaign's own files: {error}"))
}
