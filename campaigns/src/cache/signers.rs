//! The shipped signer over a cache that was hurt: it signs, and says in a line for each file what was wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cli::Failure;

use super::vault::files;
use crate::support::judge::judge;
use crate::support::ledger::Ledger;
use crate::support::process::{Process, manner};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

/// How long a signer may take to sign a hundred lines.
const BOUND: Duration = Duration::from_secs(60);

/// Gives the number of lines that warned.
///
/// # Errors
/// The programs failed, or the environment.
pub fn run(session: &Session) -> Result<u64, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::environment)?;
    let directory = folder.path().join("cache");
    let sign = |what: &str, lines: usize| -> Result<u64, Failure> {
        let said = sign(session, &directory)?;
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("module cache: ")).collect();
        if warnings.len() != lines || said.lines().count() != lines {
            let all = said.replace('\n', " | ");
            return Err(Failure::failed(format_args!(
                "over {what}: {lines} lines of warning expected, not: {all}"
            )));
        }
        Ok(lines as u64)
    };
    let mut warned = sign("an empty cache", 0)?;
    let modules = files(&directory)?;
    if modules.len() != 3 {
        return Err(Failure::failed(format_args!("a signer left {} modules in its cache", modules.len())));
    }
    warned += sign("a sound cache", 0)?;
    for path in &modules {
        let mut bytes = fs::read(path).map_err(Failure::environment)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(path, bytes).map_err(Failure::environment)?;
    }
    warned += sign("three changed files", 3)?;
    // They were replaced.
    warned += sign("a sound cache again", 0)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).map_err(Failure::environment)?;
    warned += sign("a directory that others may read", 1)?;
    Ok(warned)
}

/// Signs a hundred lines with the cache in `directory`, judges them, and gives what the signer said.
fn sign(session: &Session, directory: &Path) -> Result<String, Failure> {
    let site = Site::new(session)?;
    site.create_ring(&["--capacity".into(), "64".into()])?;
    let ledger = Ledger::write(&site, "alpha", 100, 10..80, &mut Rng::new(1))?;
    let mut arguments = ledger.arguments();
    arguments.push("--close".into());
    let mut consumer = site.consumer(&[])?;
    let mut signer = site.signer("wasmtime", &["--cache".into(), directory.display().to_string()])?;
    let mut producer = site.producer("alpha", &arguments)?;
    for process in [&mut producer, &mut signer, &mut consumer] {
        end_well(process)?;
    }
    let judgement = judge(&site.out(), site.public_key(), &[(&ledger, ledger.lines)])?;
    if let Some(complaint) = judgement.complaints.first() {
        return Err(Failure::failed(complaint));
    }
    Ok(signer.said())
}

fn end_well(process: &mut Process) -> Result<(), Failure> {
    match process.wait_for(BOUND)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let words = process.last_words();
            Err(Failure::failed(format_args!("{}: {}: {words}", process.name(), manner(status))))
        }
        None => Err(Failure::failed(format_args!("{} does not end", process.name()))),
    }
}
