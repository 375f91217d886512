//! Many processes at one directory: they load, save, make room for one another and clear it, and are killed at any moment.
//! None may see an error, or a file that is not sound.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};
use extension_engine::cache::{CacheKey, ModuleCache};
use rustix::process::Signal;

use super::vault::{Vault, key_of};
use crate::support::process::{Process, manner};
use crate::support::rng::Rng;
use crate::support::session::Session;

/// Processes at once.
const MEMBERS: u64 = 6;

/// Keys that they share.
const KEYS: u8 = 8;

/// Files that there is room for: fewer than keys, so that they evict.
const ROOM: u64 = 4;

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    /// Processes that were started.
    pub started: u64,
    /// Processes that were killed.
    pub killed: u64,
    /// Modules that the survivors have loaded.
    pub loads: u64,
    /// Files that were refused, or are not sound in the end.
    pub broken: u64,
}

/// What a member of the crowd is told.
#[derive(Args)]
pub struct MemberOptions {
    /// The cache
    #[arg(long)]
    directory: PathBuf,
    /// Bytes that it may hold
    #[arg(long)]
    room: u64,
    /// What it does is drawn from this
    #[arg(long)]
    seed: u64,
    /// How long it works, in ms
    #[arg(long)]
    time: u64,
}

/// Has a crowd at work, for a time that fits a campaign of `files` files.
///
/// # Errors
/// The environment.
pub fn run(session: &Session, rng: &mut Rng, files: u64) -> Result<Crowd, Failure> {
    // In memory, where they get to do a hundred times as much: a disk makes each save wait for it.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.map_err(Failure::environment)?;
    let directory = folder.path().join("cache");
    let vault = Vault::open(&directory, 64 << 20)?;
    vault.compile("null")?;
    let [file] = &vault.files()?[..] else { return Err(Failure::failed("not one module was saved")) };
    let room = ROOM * std::fs::metadata(file).map_err(Failure::environment)?.len();
    let time = Duration::from_millis((files * 4).clamp(2000, 60_000));
    let (mut crowd, started) = (Crowd::default(), Instant::now());
    let mut members = Vec::new();
    while started.elapsed() < time && session.complaints() == 0 {
        while (members.len() as u64) < MEMBERS {
            let left = time.saturating_sub(started.elapsed()) + Duration::from_millis(200);
            members.push(start(&folder, &directory, room, rng, left, crowd.started)?);
            crowd.started += 1;
        }
        thread::sleep(rng.duration(Duration::from_millis(1)..Duration::from_millis(60)));
        let mut victim = members.swap_remove(rng.within(0..MEMBERS) as usize);
        victim.signal(Signal::KILL);
        let status = victim.wait_for(Duration::from_secs(10))?;
        if status.is_some_and(|status| status.code() == Some(1)) {
            session.complain(format_args!("{}: {}", victim.name(), victim.last_words()));
        }
        crowd.killed += 1;
    }
    for member in &mut members {
        match member.wait_for(Duration::from_secs(30))? {
            Some(status) if status.success() => crowd.loads += loads(member).unwrap_or(0),
            Some(status) => {
                let (name, words) = (member.name(), member.last_words());
                session.complain(format_args!("{name}: {}: {words}", manner(status)));
            }
            None => session.complain(format_args!("{} does not end", member.name())),
        }
    }
    // Whatever is there now is sound, and nothing stays that clearing can't remove.
    let entries = vault.cache().entries().map_err(Failure::failed)?;
    crowd.broken = entries.iter().filter(|entry| !entry.is_authentic).count() as u64;
    let files = vault.files()?.len();
    if crowd.broken > 0 || entries.len() != files || files as u64 > ROOM {
        session.complain(format_args!(
            "{files} files, {} of them read, {} broken",
            entries.len(),
            crowd.broken
        ));
    }
    vault.cache().clear().map_err(Failure::failed)?;
    let left = std::fs::read_dir(&directory).map_err(Failure::environment)?;
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if left.iter().any(|name| name.starts_with('.') || name.ends_with(".module")) {
        session.complain(format_args!("left after clearing: {left:?}"));
    }
    Ok(crowd)
}

fn start(
    folder: &tempfile::TempDir,
    directory: &Path,
    room: u64,
    rng: &mut Rng,
    time: Duration,
    number: u64,
) -> Result<Process, Failure> {
    let own = std::env::current_exe().map_err(Failure::environment)?;
    let arguments = [
        "cache-member".to_owned(),
        "--directory".into(),
        directory.display().to_string(),
        "--room".into(),
        room.to_string(),
        "--seed".into(),
        rng.next().to_string(),
        "--time".into(),
        time.as_millis().to_string(),
    ];
    let said = folder.path().join(format!("{number}.said"));
    Process::start(format_args!("member {number}"), &own, arguments, said)
}

/// How many modules a member says that it has loaded.
fn loads(member: &Process) -> Option<u64> {
    member.last_words().strip_prefix("loads ")?.parse().ok()
}

/// A member of the crowd.
///
/// # Errors
/// What none may see.
pub fn run_member(options: &MemberOptions) -> Result<Exit, Failure> {
    let vault = Vault::open(&options.directory, options.room)?;
    let mut rng = Rng::new(options.seed);
    let base = key_of("null")?;
    vault.compile("null")?;
    // It may have been evicted or cleared meanwhile: then once more.
    let compiled = loop {
        vault.compile("null")?;
        if let Ok(compiled) = vault.compiled("null") {
            break compiled;
        }
    };
    let (started, time) = (Instant::now(), Duration::from_millis(options.time));
    while started.elapsed() < time {
        let key = CacheKey { settings: [rng.within(0..KEYS.into()) as u8; 32], ..base.clone() };
        let cache = vault.cache();
        let done = match rng.within(0..100) {
            0..2 => cache.clear().map(drop),
            2..30 => cache.save(&key, &compiled),
            30..33 => {
                // Waits for others, as who compiles does.
                let _reservation = cache.reserve(&key);
                cache.save(&key, &compiled)
            }
            _ => match cache.load(&key) {
                Err(error) if !error.is_miss() => Err(error),
                _ => Ok(()),
            },
        };
        done.map_err(Failure::failed)?;
        if vault.warnings() > 0 {
            return Err(Failure::failed(vault.last_warning()));
        }
    }
    // Nothing but failures is said on standard error otherwise.
    eprintln!("loads {}", vault.counts().hits);
    Ok(Exit::Done)
}
