//! What is swapped in: real modules that differ in a custom section, modules that stamp, and some of the hostile ones.

use std::fs;
use std::path::PathBuf;

use cli::Failure;
use sha2::{Digest, Sha256};

use crate::gallery::exhibits;
use crate::gallery::wrap::{Real, push_custom_section};
use crate::gallery::{BASE, WIDE};
use crate::support::site::Site;

const STAMP: &str = include_str!("stamp.wat");

/// Hostile modules that are refused in different ways: by their shape, in their first calls, by the known-answer test.
const HOSTILE: [&str; 6] = [
    "wasi-output",
    "no-reset",
    "another-version",
    "trap-in-init",
    "malloc-minus-1",
    "signs-with-another-key",
];

/// A module in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The file.
    pub path: PathBuf,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Whether it uses more than WebAssembly 1.0 has.
    pub is_wide: bool,
    /// What it answers, if it answers nothing else.
    pub stamp: Option<u64>,
}

/// Makes modules in the folder of a run.
pub struct Modules {
    folder: PathBuf,
    hostile: Vec<PathBuf>,
}

impl Modules {
    /// With the hostile ones made.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn new(site: &Site) -> Result<Self, Failure> {
        let mut modules = Self { folder: site.path(""), hostile: Vec::new() };
        let real = Real::new(BASE).map_err(Failure::environment)?;
        let exhibits = exhibits::all(1, 1).map_err(Failure::environment)?;
        for exhibit in exhibits.iter().filter(|exhibit| HOSTILE.contains(&exhibit.name.as_str())) {
            let bytes = real.wrap(exhibit).map_err(Failure::environment)?;
            modules.hostile.push(modules.write(&exhibit.name, &bytes)?);
        }
        Ok(modules)
    }

    /// One that must be refused.
    pub fn hostile(&self, number: u64) -> PathBuf {
        self.hostile[number as usize % self.hostile.len()].clone()
    }

    /// The real module, with `salt` in a custom section.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn salted(&self, salt: u64, is_wide: bool) -> Result<ModuleFile, Failure> {
        let mut bytes = if is_wide { WIDE } else { BASE }.to_vec();
        push_custom_section(&mut bytes, &salt.to_le_bytes());
        let path = self.write("ecdsa", &bytes)?;
        Ok(ModuleFile { path, sha256: sha256(&bytes), is_wide, stamp: None })
    }

    /// One that answers everything with `stamp`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn stamping(&self, stamp: u64) -> Result<ModuleFile, Failure> {
        let text = STAMP.replace("@STAMP@", &stamp.to_string());
        let bytes = wat::parse_str(text).map_err(Failure::environment)?;
        let path = self.write("null", &bytes)?;
        Ok(ModuleFile { path, sha256: sha256(&bytes), is_wide: false, stamp: Some(stamp) })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.folder.join(format!("{name}.wasm"));
        fs::write(&path, bytes)
            .map_err(|error| Failure::environment(format_args!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

/// Of the module that is built in for `runtime`, in hexadecimal digits; empty for native code.
pub fn built_in(runtime: &str) -> String {
    match runtime {
        "native" => String::new(),
        "wasm3" => sha256(BASE),
        _ => sha256(WIDE),
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
