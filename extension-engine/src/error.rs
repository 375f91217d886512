//! What can go wrong, each with one line that says what and where.

use std::io;
use std::time::Duration;

use ringseal_abi::Status;
use thiserror::Error;

use crate::{PUBLIC_KEY_LEN_MAX, Runtime};

/// Why a run or a reset has failed. In a box, for those that succeed pay for the room of an error: without it an empty run
/// takes a fifth longer.
pub type RunError = Box<EngineError>;

impl From<RunError> for EngineError {
    fn from(error: RunError) -> Self {
        *error
    }
}

/// Why an extension could not be made ready, or could not run a batch.
#[derive(Debug, Error)]
pub enum EngineError {
    /// No runtime has this name.
    #[error("unknown runtime {0:?}; legal values: native, wasmtime, wasmi, wasm3")]
    UnknownRuntime(String),
    /// The runtime was left out when this binary was built.
    #[error("runtime {0} is not built in: {how}", how = how_to_get(*.0))]
    NotBuiltIn(Runtime),
    /// No built-in module, nor a native scheme, has this name.
    #[error("there is no built-in extension {0:?}; there are ecdsa, schnorr and null")]
    UnknownExtension(String),
    /// [`Runtime::Native`] was given a module.
    #[error("runtime native runs no modules: choose another one for module {0}")]
    NativeModule(String),
    /// The module may not run.
    #[error("module {module}: {refusal}")]
    Module {
        /// Its file, or the name of the built-in one.
        module: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The runtime could not compile a module that is valid.
    #[error("module {module}: {runtime} can't compile it: {reason}")]
    Compile {
        /// The runtime.
        runtime: Runtime,
        /// The module's file, or the name of the built-in one.
        module: String,
        /// The runtime's own words.
        reason: String,
    },
    /// The runtime could not make an instance of a module that it compiled.
    #[error("module {module}: {runtime} can't instantiate it: {reason}")]
    Instantiate {
        /// The runtime.
        runtime: Runtime,
        /// The module's file, or the name of the built-in one.
        module: String,
        /// The runtime's own words.
        reason: String,
    },
    /// The module trapped; the instance is of no further use.
    #[error("the module trapped in {export} on {runtime}: {reason}")]
    Trap {
        /// The runtime.
        runtime: Runtime,
        /// The export that was called.
        export: &'static str,
        /// The runtime's own words.
        reason: String,
    },
    /// The module took too long and was interrupted; the instance is of no further use.
    #[error("the module took too long in {export} on {runtime}: it may take {} ms of CPU time a record", limit.as_millis())]
    Deadline {
        /// The runtime.
        runtime: Runtime,
        /// The export that was called.
        export: &'static str,
        /// What a record may take, in CPU time.
        limit: Duration,
    },
    /// The module wanted more memory than it may have; the instance is of no further use.
    #[error("the module ran out of memory in {export} on {runtime}: it may have {} KiB", limit / 1024)]
    OutOfMemory {
        /// The runtime.
        runtime: Runtime,
        /// The export that was called.
        export: &'static str,
        /// What it may have, in bytes.
        limit: u64,
    },
    /// The instance failed before, and is of no further use.
    #[error("this instance has failed before: make another one")]
    Unusable,
    /// The thread can't have the timer that limits its modules' time.
    #[error("there is no timer of CPU time to be had: {0}")]
    Timer(io::Error),
    /// `WasmMalloc` made up a buffer for the host.
    #[error("WasmMalloc answered {ptr:#x} to a request for {len} bytes: {reason}")]
    Buffer {
        /// What it answered.
        ptr: u32,
        /// What it was asked for, in bytes.
        len: usize,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// `WasmRun` refused the batch as a whole.
    #[error("the extension refused the batch: {}", words(*.0))]
    Refused(Status),
    /// `WasmRun` returned a number that is no status.
    #[error("the extension answered {0} to the batch, which is no status")]
    UnknownStatus(i32),
    /// The secret key was not installed.
    #[error("the secret key was refused: {0}")]
    Key(RecordError),
    /// A batch could not be made or filled.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// Why a module may not run.
#[derive(Debug, Error)]
pub enum Refusal {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The file can't be read.
    #[error("can't be read: {0}")]
    Unreadable(io::Error),
    /// Another module lies there than the one that was chosen.
    #[error("has changed since it was chosen: choose it again")]
    Changed,
    /// It doesn't begin as WebAssembly does.
    #[error("is not WebAssembly: it doesn't begin with \\0asm")]
    NotWasm,
    /// It is malformed, or uses what its runtime doesn't take.
    #[error("is not valid {language}: {reason}")]
    Invalid {
        /// What it was read as.
        language: &'static str,
        /// What is wrong, and at which offset.
        reason: String,
    },
    /// It has no export that says which ABI it speaks.
    #[error("exports no WasmAbiVersion_1_0: it is not an extension")]
    NoAbiVersion,
    /// It speaks another version of the ABI.
    #[error("exports {0}: it was built for another ABI than this host's 1.0")]
    AbiVersion(String),
    /// It imports what no extension may.
    #[error("imports {module}.{name}: an extension may only import env.HostGetElem and env.HostReadElems")]
    ForbiddenImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
    /// It imports a host function with another type.
    #[error("imports env.{name} as {found}, which is {expected}")]
    WrongImport {
        /// The import's name.
        name: &'static str,
        /// The type that the module says.
        found: String,
        /// The type that the ABI says.
        expected: String,
    },
    /// It lacks an export.
    #[error("doesn't export {0}")]
    MissingExport(&'static str),
    /// It has an export of another type.
    #[error("exports {name} as {found} instead of {expected}")]
    WrongExport {
        /// The export's name.
        name: &'static str,
        /// The type that the module says.
        found: String,
        /// The type that the ABI says.
        expected: String,
    },
    /// It would run before the host says so.
    #[error("has a start function, which an extension may not have: its place is WasmInit")]
    StartFunction,
    /// Its file is longer than it may be.
    #[error("is longer than the {} KiB that a module may have", limit / 1024)]
    TooLong {
        /// The most that a module may have, in bytes.
        limit: u64,
    },
    /// It starts with more memory than it may have.
    #[error("asks for {pages} pages of memory; at most {limit} are given")]
    MemoryTooLarge {
        /// Pages of 64 KiB.
        pages: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// It starts with a larger table than any module needs.
    #[error("asks for a table of {elements} elements; at most {limit} are given")]
    TableTooLarge {
        /// Elements.
        elements: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// Its blocks are nested deeper than wasm3 can compile.
    #[error("has blocks nested deeper than the {limit} that wasm3 takes")]
    NestedTooDeep {
        /// The most that there may be.
        limit: usize,
    },
    /// One of its segments doesn't fit into its memory or table.
    #[error("{kind} segment {index} lies outside of its {target}")]
    SegmentOutside {
        /// `data` or `element`.
        kind: &'static str,
        /// Which one, from 0.
        index: u32,
        /// `memory` or `table`.
        target: &'static str,
    },
}

/// Why a record of a batch has no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// No run has reached it.
    #[error("the extension didn't run this record")]
    NotRun,
    /// The extension failed it.
    #[error("{}", words(*.0))]
    Failed(Status),
    /// The extension gave it a number that is no status.
    #[error("the extension answered {0}, which is no status")]
    UnknownStatus(i32),
    /// The extension claims more output than there was room for.
    #[error("the extension claims {len} bytes of output where there is room for {cap}")]
    OutputTooLong {
        /// Bytes that it claims.
        len: u32,
        /// Bytes of room.
        cap: usize,
    },
}

/// Why a batch could not be made, or didn't take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// It would not fit into a module's memory.
    #[error("a batch of this size needs {0} bytes of the module's memory, more than {max}", max = crate::Batch::LEN_MAX)]
    TooLarge(u64),
    /// It has as many records as it can.
    #[error("the batch is full")]
    Full,
    /// The message is longer than the batch was made for.
    #[error("a message of {len} bytes in a batch for messages of at most {max}")]
    MessageTooLong {
        /// Bytes of message.
        len: usize,
        /// The most that a message may have.
        max: usize,
    },
    /// The signature is longer than the batch was made for.
    #[error("a signature of {len} bytes in a batch for outputs of at most {max}")]
    SignatureTooLong {
        /// Bytes of signature.
        len: usize,
        /// The most that an output may have.
        max: usize,
    },
    /// The public key is longer than any.
    #[error("a public key of {0} bytes; none is longer than {PUBLIC_KEY_LEN_MAX}")]
    PublicKeyTooLong(usize),
}

/// A status of the extension in words.
const fn words(status: Status) -> &'static str {
    match status {
        Status::Ok => "done",
        Status::InvalidSignature => "the signature is not valid for this message and key",
        Status::UnknownExtension => "the module has no extension of this name",
        Status::UnsupportedKind => "the extension doesn't do this kind of work",
        Status::NoKey => "no key is installed",
        Status::InvalidKey => "the secret key is zero or not below the group order",
        Status::InvalidPublicKey => "the public key is not a point of the curve",
        Status::OutputTooSmall => "there is not enough room for the output",
        Status::BadArgument => "the argument block is malformed",
        Status::SigningFailed => "there is no signature for this key and message",
    }
}

const fn how_to_get(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Native => "it always is",
        Runtime::Wasmtime => "build with `--features wasmtime`",
        Runtime::Wasmi => "build with `--features wasmi`",
        Runtime::Wasm3 => "build with `--features wasm3`, which needs libclang 14",
    }
}
