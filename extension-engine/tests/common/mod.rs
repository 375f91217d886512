//! What the suites share: every runtime with every variant that it supports, and reproducible data.
#![allow(dead_code, reason = "no suite uses all of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Limits, Module, Program, RecordError, Runtime,
    Settings, Variant, compile,
};

/// One cell of the matrix.
pub struct Subject {
    /// `wasmtime.wide`, say.
    pub label: String,
    pub runtime: Runtime,
    pub program: Box<dyn Program>,
}

impl Subject {
    pub fn instance(&self) -> Box<dyn ExtensionEngine> {
        self.program.instantiate().unwrap_or_else(|error| panic!("{}: {error}", self.label))
    }
}

/// Prints a line that is seen without `--nocapture` too.
pub fn say(line: &str) {
    io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The runtimes that are built in; of the others it is said once that they are skipped.
pub fn runtimes() -> &'static [Runtime] {
    static BUILT_IN: LazyLock<Vec<Runtime>> = LazyLock::new(|| {
        let is_built_in = |runtime: &Runtime| runtime.is_available().is_ok();
        let (there, missing): (Vec<_>, Vec<_>) = Runtime::ALL.into_iter().partition(is_built_in);
        for runtime in missing {
            say(&format!("skipped: {runtime} not built in"));
        }
        there
    });
    &BUILT_IN
}

/// Extension `name` on every runtime that is built in, in every variant. The modules are the built-in ones, or those
/// in the folder RINGSEAL_MODULES.
pub fn subjects(name: &str) -> &'static [Subject] {
    static SUBJECTS: LazyLock<[(&str, Vec<Subject>); 3]> =
        LazyLock::new(|| ["ecdsa", "schnorr", "null"].map(|name| (name, make_subjects(name))));
    &SUBJECTS.iter().find(|subjects| subjects.0 == name).unwrap().1
}

fn make_subjects(name: &str) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for &runtime in runtimes() {
        if runtime == Runtime::Native {
            let program = compile(runtime, name, None, &Settings::default()).unwrap();
            subjects.push(Subject { label: runtime.to_string(), runtime, program });
        }
        for variant in Variant::ALL.into_iter().filter(|variant| runtime.supports(*variant)) {
            let program = compile(runtime, name, Some(&module(name, variant)), &Settings::default()).unwrap();
            subjects.push(Subject { label: format!("{runtime}.{variant}"), runtime, program });
        }
    }
    subjects
}

pub fn module(name: &str, variant: Variant) -> Module {
    match env::var_os("RINGSEAL_MODULES") {
        Some(folder) => {
            Module::from_file(&Path::new(&folder).join(format!("{name}.{variant}.wasm")), &Limits::default())
        }
        None => Module::built_in(name, variant),
    }
    .unwrap()
}

/// Extension `module` as `name` on every runtime that runs modules and is built in.
pub fn on_all(name: &str, module: &Module) -> Vec<Result<Subject, EngineError>> {
    let subject = |&runtime: &Runtime| {
        let program = compile(runtime, name, Some(module), &Settings::default())?;
        Ok(Subject { label: runtime.to_string(), runtime, program })
    };
    runtimes().iter().filter(|runtime| **runtime != Runtime::Native).map(subject).collect()
}

/// A text module.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The parts of a harmless extension, in text, one of which a test replaces. It says to every record what its
/// untouched status says: nothing.
pub const PARTS: [(&str, &str); 8] = [
    ("memory", r#"(memory (export "memory") 2)"#),
    ("WasmAbiVersion_1_0", r#"(func (export "WasmAbiVersion_1_0"))"#),
    ("WasmInit", r#"(func (export "WasmInit"))"#),
    ("WasmFinit", r#"(func (export "WasmFinit"))"#),
    ("WasmMalloc", r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const 1024))"#),
    ("WasmRun", r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) (i32.const 0))"#),
    ("WasmReset", r#"(func (export "WasmReset"))"#),
    ("WasmOnRead", r#"(func (export "WasmOnRead") (param i32 i32 i32))"#),
];

/// The harmless extension with another text in the place of `part`; `""` is in front of all parts.
pub fn text_with(part: &str, other: &str) -> String {
    let mut text = format!("(module {}", if part.is_empty() { other } else { "" });
    for (name, original) in PARTS {
        text += if name == part { other } else { original };
    }
    text + ")"
}

/// A batch of one record with 8 bytes of room for output.
pub fn one_record() -> Batch {
    let mut batch = Batch::new(1, 4, 8).unwrap();
    batch.push(4, |message| message.copy_from_slice(b"text")).unwrap();
    batch
}

/// A batch of `messages`, not yet run, with 64 bytes of room for each output.
pub fn batch<M: AsRef<[u8]>>(messages: &[M]) -> Batch {
    let longest = messages.iter().map(|message| message.as_ref().len()).max().unwrap_or(0);
    let mut batch = Batch::new(messages.len(), longest, 64).unwrap();
    for message in messages {
        let message = message.as_ref();
        batch.push(message.len(), |to| to.copy_from_slice(message)).unwrap();
    }
    batch
}

/// The signatures of `messages`.
pub fn sign<M: AsRef<[u8]>>(engine: &mut dyn ExtensionEngine, messages: &[M]) -> Vec<Vec<u8>> {
    let mut batch = batch(messages);
    engine.run(ExtensionKind::Sign, &mut batch).unwrap();
    engine.reset().unwrap();
    (0..batch.len()).map(|i| batch.status(i).map(|()| batch.output(i).to_vec()).unwrap()).collect()
}

/// Whether `signature` is valid.
pub fn verify(
    engine: &mut dyn ExtensionEngine,
    message: &[u8],
    signature: &[u8],
    public_key: &[u8],
) -> Result<(), RecordError> {
    let mut batch = Batch::new(1, message.len(), signature.len()).unwrap();
    batch.push_verify(message, signature, public_key).unwrap();
    engine.run(ExtensionKind::Verify, &mut batch).unwrap();
    engine.reset().unwrap();
    batch.status(0)
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }

    /// A secret key: it is below the group order because its first bit is 0.
    pub fn secret(&mut self) -> [u8; 32] {
        let mut secret: [u8; 32] = self.bytes(32).try_into().unwrap();
        secret[0] &= 0x7f;
        secret
    }
}

/// The folder of published test vectors, if it is there: RINGSEAL_VECTORS, or `shared/vectors` beside the checkout.
pub fn vectors() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = env::var_os("RINGSEAL_VECTORS").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}
