//! What a module must be before a runtime sees it: valid for the runtime's features, and an extension by its imports
//! and exports.

use std::fmt::Write;

use ringseal_abi::{export, import};
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, Export, ExternalKind, FuncType, Import, Operator, Parser,
    Payload, ValType, Validator,
};

use crate::{Limits, Refusal, Variant};

/// Parameters and results.
type Signature = (&'static [ValType], &'static [ValType]);

const I32: ValType = ValType::I32;

/// The functions that every extension exports, besides the one that says the version.
const FUNCTIONS: [(&str, Signature); 6] = [
    (export::INIT, (&[], &[])),
    (export::FINIT, (&[], &[])),
    (export::MALLOC, (&[I32], &[I32])),
    (export::RUN, (&[I32, I32, I32], &[I32])),
    (export::RESET, (&[], &[])),
    (export::ON_READ, (&[I32, I32, I32], &[])),
];

/// The functions that an extension may import.
const IMPORTS: [(&str, Signature); 2] =
    [(import::GET_ELEM, (&[I32, I32], &[I32])), (import::READ_ELEMS, (&[I32, I32], &[I32]))];

/// The indices of the functions that the host calls.
#[cfg_attr(not(feature = "wasm3"), expect(dead_code, reason = "wasm3 alone calls by index"))]
pub(crate) struct Functions {
    pub(crate) init: u32,
    pub(crate) finit: u32,
    pub(crate) malloc: u32,
    pub(crate) run: u32,
    pub(crate) reset: u32,
}

/// The most elements that a table may start with, and have: no variant has an instruction that grows one.
const TABLE_LEN_MAX: u64 = 65536;

/// How deep blocks may be nested for wasm3. Compilers stay far below.
const NESTING_MAX: usize = 500;

/// Checks that `bytes` are an extension that uses no more than `variant` has and `limits` allow.
pub(crate) fn check(bytes: &[u8], variant: Variant, limits: &Limits) -> Result<Functions, Refusal> {
    if bytes.len() as u64 > limits.module_len {
        return Err(Refusal::TooLong { limit: limits.module_len });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm);
    }
    let language = match variant {
        Variant::Base => "WebAssembly 1.0",
        Variant::Wide => "WebAssembly",
    };
    let invalid = |error: wasmparser::BinaryReaderError| Refusal::Invalid {
        language,
        reason: one_line(&error.to_string()),
    };
    if !Parser::is_core_wasm(bytes) {
        let reason =
            "it is a component or of another version; a core module of version 1 is needed".to_owned();
        return Err(Refusal::Invalid { language, reason });
    }
    let mut validator = Validator::new_with_features(variant.features());
    let types = validator.validate_all(bytes).map_err(invalid)?;
    let types = types.as_ref();
    let Sections { imports, exports, has_start } = Sections::of(bytes).map_err(invalid)?;
    check_version(&exports)?;
    check_imports(&imports, types)?;
    check_memory(&exports, types, limits.memory_pages())?;
    check_table(types)?;
    if has_start {
        return Err(Refusal::StartFunction);
    }
    let functions = FUNCTIONS.map(|(name, signature)| function(&exports, types, name, signature));
    let [init, finit, malloc, run, reset, on_read] = functions;
    let functions = Functions { init: init?, finit: finit?, malloc: malloc?, run: run?, reset: reset? };
    on_read?;
    if variant == Variant::Base {
        check_segments(bytes, types).map_err(invalid)??;
        check_nesting(bytes).map_err(invalid)??;
    }
    Ok(functions)
}

type Parsed<T> = Result<T, wasmparser::BinaryReaderError>;

/// The sections that say what a module is to its host.
#[derive(Default)]
struct Sections<'a> {
    imports: Vec<Import<'a>>,
    exports: Vec<Export<'a>>,
    has_start: bool,
}

impl<'a> Sections<'a> {
    fn of(bytes: &'a [u8]) -> Parsed<Self> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ImportSection(section) => {
                    sections.imports = section.into_imports().collect::<Parsed<_>>()?;
                }
                Payload::ExportSection(section) => {
                    sections.exports = section.into_iter().collect::<Parsed<_>>()?;
                }
                Payload::StartSection { .. } => sections.has_start = true,
                _ => {}
            }
        }
        Ok(sections)
    }
}

fn check_version(exports: &[Export]) -> Result<(), Refusal> {
    let is_version = |e: &&Export| e.kind == ExternalKind::Func && e.name.starts_with("WasmAbiVersion_");
    if exports.iter().filter(is_version).any(|e| e.name == export::VERSION) {
        return Ok(());
    }
    match exports.iter().find(is_version) {
        Some(other) => Err(Refusal::AbiVersion(one_line(other.name))),
        None => Err(Refusal::NoAbiVersion),
    }
}

fn check_imports(imports: &[Import], types: TypesRef) -> Result<(), Refusal> {
    for import in imports {
        let known = IMPORTS.iter().find(|(name, _)| (import.module, import.name) == (import::MODULE, name));
        let Some(&(name, signature)) = known else {
            let (module, name) = (one_line(import.module), one_line(import.name));
            return Err(Refusal::ForbiddenImport { module, name });
        };
        let found = match types.entity_type_from_import(import) {
            Some(EntityType::Func(id)) => shown(types[id].unwrap_func()),
            _ => "no function".to_owned(),
        };
        let expected = show(signature.0, signature.1);
        if found != expected {
            return Err(Refusal::WrongImport { name, found, expected });
        }
    }
    Ok(())
}

fn check_memory(exports: &[Export], types: TypesRef, limit: u64) -> Result<(), Refusal> {
    let name = export::MEMORY;
    let export = exports.iter().find(|e| e.name == name).ok_or(Refusal::MissingExport(name))?;
    match types.entity_type_from_export(export) {
        Some(EntityType::Memory(memory)) if memory.initial > limit => {
            Err(Refusal::MemoryTooLarge { pages: memory.initial, limit })
        }
        Some(EntityType::Memory(_)) => Ok(()),
        _ => Err(Refusal::WrongExport {
            name,
            found: format!("a {}", kind(export.kind)),
            expected: "a memory".to_owned(),
        }),
    }
}

fn check_table(types: TypesRef) -> Result<(), Refusal> {
    for index in 0..types.table_count() {
        let elements = types.table_at(index).initial;
        if elements > TABLE_LEN_MAX {
            return Err(Refusal::TableTooLarge { elements, limit: TABLE_LEN_MAX });
        }
    }
    Ok(())
}

fn function(
    exports: &[Export],
    types: TypesRef,
    name: &'static str,
    expected: Signature,
) -> Result<u32, Refusal> {
    let export = exports.iter().find(|e| e.name == name).ok_or(Refusal::MissingExport(name))?;
    let found = match types.entity_type_from_export(export) {
        Some(EntityType::Func(id)) => shown(types[id].unwrap_func()),
        _ => format!("a {}", kind(export.kind)),
    };
    let expected = show(expected.0, expected.1);
    if found == expected { Ok(export.index) } else { Err(Refusal::WrongExport { name, found, expected }) }
}

/// wasm3 adds a segment's signed offset to a pointer before it checks the sum, and sizes its table by its segments:
/// a module that is valid, and that any other runtime would refuse to instantiate, overwrites the host's memory.
fn check_segments(bytes: &[u8], types: TypesRef) -> Parsed<Result<(), Refusal>> {
    let memory_len = types.memory_at(0).initial * 65536;
    let table_len = if types.table_count() > 0 { types.table_at(0).initial } else { 0 };
    let outside = |kind, index, target| Ok(Err(Refusal::SegmentOutside { kind, index, target }));
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::DataSection(section) => {
                for (index, data) in (0..).zip(section) {
                    let data = data?;
                    let DataKind::Active { offset_expr, .. } = data.kind else { continue };
                    if offset(&offset_expr)? + data.data.len() as u64 > memory_len {
                        return outside("data", index, "memory");
                    }
                }
            }
            Payload::ElementSection(section) => {
                for (index, element) in (0..).zip(section) {
                    let element = element?;
                    let ElementKind::Active { offset_expr, .. } = element.kind else { continue };
                    let ElementItems::Functions(items) = element.items else { continue };
                    if offset(&offset_expr)? + u64::from(items.count()) > table_len {
                        return outside("element", index, "table");
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Ok(()))
}

/// wasm3 recurses on the native stack for each block that it compiles and each loop that it runs.
fn check_nesting(bytes: &[u8]) -> Parsed<Result<(), Refusal>> {
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::CodeSectionEntry(body) = payload? else { continue };
        let mut depth = 0_usize;
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > NESTING_MAX {
                return Ok(Err(Refusal::NestedTooDeep { limit: NESTING_MAX }));
            }
        }
    }
    Ok(Ok(()))
}

/// The value of an offset. In WebAssembly 1.0 it is a constant, since only an imported global could take its place.
fn offset(expression: &ConstExpr) -> Parsed<u64> {
    match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(u64::from(value as u32)),
        _ => Ok(u64::from(u32::MAX)),
    }
}

fn shown(ty: &FuncType) -> String {
    show(ty.params(), ty.results())
}

/// A function's type in words: `(i32, i32) -> (i32)`.
fn show(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(params), list(results))
}

const fn kind(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "function",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}

/// What a module or a runtime says, fit for one line: names may hold any character, and be of any length.
pub(crate) fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut line = String::new();
    for c in text.trim().chars().take(CHARS_MAX) {
        match c {
            '\n' => line.push_str("; "),
            c if c.is_control() => write!(line, "{}", c.escape_default()).unwrap_or_default(),
            c => line.push(c),
        }
    }
    line
}
