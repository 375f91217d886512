#![doc = include_str!("../../ABI.md")]
#![no_std]

pub mod batch;
#[cfg(target_arch = "wasm32")]
pub mod guest;
pub mod scheme;

/// Names of the functions that a guest exports.
pub mod export {
    /// Presence is the version check; its result is not read.
    pub const VERSION: &str = "WasmAbiVersion_1_0";
    /// Called once per instance, before anything else.
    pub const INIT: &str = "WasmInit";
    /// Called once per instance, after everything else.
    pub const FINIT: &str = "WasmFinit";
    /// `(size: u32) -> ptr: u32`; 0 means that there is no memory.
    pub const MALLOC: &str = "WasmMalloc";
    /// `(sz_name: u32, ext_kind: u32, arg_ptr: u32) -> status: i32`.
    pub const RUN: &str = "WasmRun";
    /// Called after each batch: wipes what the batch left behind.
    pub const RESET: &str = "WasmReset";
    /// `(ctx_id: u32, key_ptr: u32, element_ptr: u32)`: called by the host during `HostReadElems`.
    pub const ON_READ: &str = "WasmOnRead";
    /// The linear memory.
    pub const MEMORY: &str = "memory";
}

/// Names of what a guest may import; any other import is refused by name.
pub mod import {
    /// The module that every import comes from.
    pub const MODULE: &str = "env";
    /// `(key_ptr: u32, elem_ptr_ptr: u32) -> i32`: see [`HostStatus`](crate::HostStatus).
    pub const GET_ELEM: &str = "HostGetElem";
    /// `(ctx_id: u32, key_ptr: u32) -> i32`: see [`HostStatus`](crate::HostStatus).
    pub const READ_ELEMS: &str = "HostReadElems";
}

/// The version of the argument block that this crate describes, in [`Header::version`].
pub const BLOCK_VERSION: u32 = 1;

/// The head of an argument block: eight words, followed by [`Header::count`] records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`BLOCK_VERSION`].
    pub version: u32,
    /// How many records follow.
    pub count: u32,
    /// Bytes from one record to the next: at least `size_of::<Record>()`, a multiple of 4.
    pub record_stride: u32,
    /// Reserved: 0.
    pub flags: u32,
    /// Which installed key to use: 0 until there can be several.
    pub key_handle: u32,
    /// Where the guest may write intents.
    pub intents_ptr: u32,
    /// Bytes of intents that the guest wrote.
    pub intents_len: u32,
    /// Bytes of room at `intents_ptr`.
    pub intents_cap: u32,
}

/// One message of a batch: eight words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// The message (for `SetKey`: the 32 bytes of the secret key).
    pub msg_ptr: u32,
    /// Bytes of message.
    pub msg_len: u32,
    /// Where the output goes (for `Verify`: where the signature stands).
    pub out_ptr: u32,
    /// Bytes of room at `out_ptr`.
    pub out_cap: u32,
    /// Bytes of output that the guest wrote (for `Verify`: bytes of signature).
    pub out_len: u32,
    /// [`Status`] of this record, written by the guest.
    pub status: i32,
    /// For `Verify`: the public key, in the length and encoding that the scheme fixes.
    pub pubkey_ptr: u32,
    /// Reserved: 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Header>() == 32 && align_of::<Header>() == 4);
const _: () = assert!(size_of::<Record>() == 32 && align_of::<Record>() == 4);

/// What a batch asks of its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExtensionKind {
    /// Install the secret key in the (single) record's message; its output is the public key.
    SetKey = 0,
    /// Sign each message.
    Sign = 1,
    /// Verify each signature.
    Verify = 2,
    /// Hash each message as the scheme does before it signs.
    Hash = 3,
    /// Reserved for validators of host state.
    Validator = 4,
    /// Reserved for projectors of host state.
    Projector = 5,
}

impl ExtensionKind {
    /// The kind with number `raw`, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::SetKey,
            1 => Self::Sign,
            2 => Self::Verify,
            3 => Self::Hash,
            4 => Self::Validator,
            5 => Self::Projector,
            _ => return None,
        })
    }
}

/// What an extension says of a record, and `WasmRun` of a whole batch. Negative numbers belong to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done: signed, or the signature is valid.
    Ok = 0,
    /// The signature is not valid for this message and key.
    InvalidSignature = 1,
    /// The module has no extension of that name.
    UnknownExtension = 2,
    /// The extension doesn't do this kind of work.
    UnsupportedKind = 3,
    /// No key was installed.
    NoKey = 4,
    /// The secret key is zero, not below the group order, or not 32 bytes long.
    InvalidKey = 5,
    /// The public key doesn't decode to a point.
    InvalidPublicKey = 6,
    /// `out_cap` is too small.
    OutputTooSmall = 7,
    /// The argument block is malformed.
    BadArgument = 8,
    /// The scheme could not sign (a nonce of zero, for instance: never seen).
    SigningFailed = 9,
}

impl Status {
    /// The status with number `raw`, if there is one.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        Some(match raw {
            0 => Self::Ok,
            1 => Self::InvalidSignature,
            2 => Self::UnknownExtension,
            3 => Self::UnsupportedKind,
            4 => Self::NoKey,
            5 => Self::InvalidKey,
            6 => Self::InvalidPublicKey,
            7 => Self::OutputTooSmall,
            8 => Self::BadArgument,
            9 => Self::SigningFailed,
            _ => return None,
        })
    }
}

/// What the host answers to `HostGetElem` and `HostReadElems`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum HostStatus {
    /// The element exists (for `HostReadElems`: all were read).
    Exists = 0,
    /// There is no such element.
    Absent = 1,
    /// The key doesn't decode.
    BadKey = 2,
    /// The host could not read its store.
    Io = 3,
    /// The guest's `WasmMalloc` gave no memory for the element.
    NoMemory = 4,
}
