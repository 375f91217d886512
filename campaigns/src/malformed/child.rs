//! The process in which mutants meet a runtime: what kills it, kills nobody else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use clap::Args;
use cli::{Exit, Failure};
use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Module, Runtime, Settings, Variant, compile,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::corpus::{Corpus, Verdict};
use super::{is_refused_as_invalid, mutant};
use crate::support::rng::Rng;

/// What it is told.
#[derive(Args)]
pub struct ChildOptions {
    #[arg(long)]
    runtime: Runtime,
    #[arg(long)]
    seed: u64,
    /// The first mutant, and the one behind the last
    #[arg(long)]
    from: u64,
    #[arg(long)]
    to: u64,
    /// Where it notes how far it is
    #[arg(long)]
    notes: PathBuf,
}

/// What became of mutants. It is in a file while they are tried, so that it outlives the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The one that is tried now.
    pub at: u64,
    /// Not valid.
    pub invalid: u64,
    /// Valid, and no extension.
    pub no_extension: u64,
    /// Compiled.
    pub compiled: u64,
    /// Signed, or said why not.
    pub ran: u64,
}

impl Notes {
    const LEN: usize = 40;

    /// Reads what a child has noted; nothing if it has not come that far.
    pub fn read(file: &File) -> Self {
        let mut bytes = [0; Self::LEN];
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return Self::default();
        }
        let (words, _) = bytes.as_chunks::<8>();
        let [at, invalid, no_extension, compiled, ran] =
            std::array::from_fn(|i| u64::from_le_bytes(words[i]));
        Self { at, invalid, no_extension, compiled, ran }
    }

    fn write(&self, file: &File) -> io::Result<()> {
        let words = [self.at, self.invalid, self.no_extension, self.compiled, self.ran];
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&bytes, 0)
    }
}

/// The modules that mutants are made of: all built-in ones, again and again, so that half of the mutants are theirs, and
/// the valid ones of the tests as extensions.
fn parents() -> Result<Vec<Vec<u8>>, EngineError> {
    let cases = Corpus::read().cases.into_iter().filter(|case| case.verdict == Verdict::Valid);
    let mut parents: Vec<_> = cases.filter_map(|case| case.as_extension).collect();
    let others = parents.len();
    for name in ["ecdsa", "schnorr", "null"].into_iter().cycle() {
        if parents.len() >= 2 * others {
            break;
        }
        for variant in Variant::ALL {
            parents.push(Module::built_in(name, variant)?.bytes().to_vec());
        }
    }
    Ok(parents)
}

/// Tries its mutants.
///
/// # Errors
/// The notes can't be written.
pub fn run(options: &ChildOptions) -> Result<Exit, Failure> {
    // Crashes are expected, and their cores of no use.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(Failure::environment)?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&options.notes);
    let file = file.map_err(Failure::environment)?;
    let parents = parents().map_err(Failure::environment)?;
    let mut notes = Notes::default();
    for at in options.from..options.to {
        notes.at = at;
        notes.write(&file).map_err(Failure::environment)?;
        // Of its own seed, so that it can be tried again alone.
        let mutant = mutant::draw(&parents, &mut Rng::new(options.seed.wrapping_add(at << 20)));
        try_mutant(options.runtime, mutant, &mut notes);
    }
    notes.at = options.to;
    notes.write(&file).map_err(Failure::environment)?;
    Ok(Exit::Done)
}

fn try_mutant(runtime: Runtime, bytes: Vec<u8>, notes: &mut Notes) {
    // Its name decides nothing but what WasmRun is told.
    match compile(runtime, "ecdsa", Some(&Module::unvalidated("mutant", bytes)), &Settings::default()) {
        Err(error) if is_refused_as_invalid(&error) => notes.invalid += 1,
        Err(EngineError::Module { .. }) => notes.no_extension += 1,
        // A runtime may refuse what is valid, in words.
        Err(_) => notes.compiled += 1,
        Ok(program) => {
            notes.compiled += 1;
            if let Ok(mut instance) = program.instantiate() {
                // What it answers is of no matter here.
                let _ = use_instance(&mut *instance);
                notes.ran += 1;
            }
        }
    }
}

fn use_instance(instance: &mut dyn ExtensionEngine) -> Result<(), EngineError> {
    instance.set_key(&[1; 32])?;
    let mut batch = Batch::new(2, 32, 64)?;
    for message in [b"one", b"two"] {
        batch.push(message.len(), |to| to.copy_from_slice(message))?;
    }
    instance.run(ExtensionKind::Sign, &mut batch)?;
    instance.reset()?;
    Ok(instance.run(ExtensionKind::Hash, &mut batch)?)
}
