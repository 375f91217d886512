//! The secret key: where it is read from, what is refused, and the one place that holds it.

mod encoding;
mod page;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cli::{Failure, Method};
use extension_engine::wiping_stack;
use k256::SecretKey;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::descriptors;
use page::Page;

/// The longest key file, in bytes. A PEM has about 250.
const FILE_LEN_MAX: usize = 4096;

/// The order of the group: keys are below it.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, //
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// The key of the `null` extension, which takes any: whoever measures with a module of his own gives no secret away.
const NO_SECRET: [u8; 32] = [1; 32];

/// A secret key of secp256k1: above zero and below the group order. It is neither copied nor printed, stays where it
/// was made, in a page of its own, and wipes itself.
pub(crate) struct Key(Page);

/// Compiles only as long as `Key` has none of these traits: with one of them there would be two functions to choose from.
const _: () = {
    trait NoneOf<Which> {
        fn choose() {}
    }
    struct Clonable;
    struct Copyable;
    struct Printable;
    impl<T> NoneOf<()> for T {}
    impl<T: Clone> NoneOf<Clonable> for T {}
    impl<T: Copy> NoneOf<Copyable> for T {}
    impl<T: fmt::Debug> NoneOf<Printable> for T {}
    let _ = <Key as NoneOf<_>>::choose;
};

impl Key {
    /// The key that this big-endian number is. It may have less than 32 bytes: some writers strip zeros.
    ///
    /// # Errors
    /// More than 32 bytes, or not the number of a key; or there is no memory for it.
    pub fn from_scalar(bytes: &[u8]) -> Result<Self, KeyError> {
        let start = 32_usize.checked_sub(bytes.len()).ok_or(KeyError::NotAKey)?;
        Self::written_by(|key| {
            key[start..].copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The key that `write` writes to where it will stay.
    ///
    /// # Errors
    /// Its own, and as for [`from_scalar`](Self::from_scalar).
    fn written_by(write: impl FnOnce(&mut [u8; 32]) -> Result<(), KeyError>) -> Result<Self, KeyError> {
        let mut key = Self(Page::new().map_err(KeyError::NoMemory)?);
        write(&mut key.0)?;
        match *key.0 {
            // Compared in place: a key of k256's would leave its copies on the stack.
            ref number if *number >= ORDER => Err(KeyError::NotBelowOrder),
            ref number if *number == [0; 32] => Err(KeyError::Zero),
            _ => Ok(key),
        }
    }

    /// The key that the supervisor sends to its worker.
    ///
    /// # Errors
    /// The supervisor is gone; or there is no memory for it.
    pub fn receive(mut from: impl Read) -> io::Result<Self> {
        let mut key = Self(Page::new()?);
        from.read_exact(&mut *key.0)?;
        Ok(key)
    }

    /// The number of the key, big-endian.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What to install into the extension of `method`: the key, in so far as it needs one.
    pub fn of(&self, method: Method) -> &[u8; 32] {
        match method {
            Method::Ecdsa | Method::Schnorr => self.bytes(),
            Method::Null => &NO_SECRET,
        }
    }

    /// Whether the page that it lies in is never swapped out.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// The key as k256 has it. It leaves copies on the stack.
    ///
    /// # Errors
    /// None for a key that was checked.
    pub fn to_secret(&self) -> Result<SecretKey, KeyError> {
        SecretKey::from_slice(self.bytes()).map_err(|_| KeyError::NotBelowOrder)
    }
}

/// Where the secret key is read from: never an argument or the environment, which others can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file: ours, of mode 0600 or narrower, and no link.
    File(PathBuf),
    /// A descriptor that whoever started us has opened: `fd:N`.
    Descriptor(RawFd),
}

impl From<OsString> for KeySource {
    fn from(text: OsString) -> Self {
        let number =
            text.to_str().and_then(|text| text.strip_prefix("fd:")).and_then(|digits| digits.parse().ok());
        number.map_or_else(|| Self::File(text.into()), Self::Descriptor)
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "key file {}", path.display()),
            Self::Descriptor(number) => write!(f, "key descriptor fd:{number}"),
        }
    }
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// Bad input that names the source and says what is wrong with it.
    pub(crate) fn read(&self) -> Result<Key, Failure> {
        let read = || self.open().and_then(read_limited).and_then(|text| encoding::decode(&text));
        let key = wiping_stack(read);
        key.map_err(|error| Failure::bad_input(format_args!("{self}: {error}")))
    }

    fn open(&self) -> Result<File, KeyError> {
        match self {
            Self::File(path) => open_private(path),
            Self::Descriptor(number) => Ok(descriptors::take(*number).map_err(KeyError::Read)?.into()),
        }
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing is there.
    #[error("no such file; `signer keygen FILE` makes one")]
    Missing,
    /// A link could be pointed elsewhere.
    #[error("it is a symbolic link; give the key's own path")]
    Symlink,
    /// A directory, FIFO, socket or device.
    #[error("it is no regular file")]
    NotRegular,
    /// Another user's.
    #[error("it belongs to uid {owner}, and this process runs as uid {uid}")]
    ForeignOwner {
        /// Whose it is.
        owner: u32,
        /// Who asks.
        uid: u32,
    },
    /// Group or others may do something with it.
    #[error("its mode {mode:03o} lets others in; `chmod 600` it")]
    TooOpen {
        /// Permission bits.
        mode: u32,
    },
    /// The kernel said no.
    #[error("can't read it: {0}")]
    Read(io::Error),
    /// Something else.
    #[error("it holds no key: neither a PKCS#8 or SEC1 PEM nor 64 hexadecimal digits")]
    NotAKey,
    /// A PEM under a passphrase.
    #[error("it is encrypted; decrypt it first, and pass it on with --key fd:N")]
    Encrypted,
    /// A PEM with a key of another kind.
    #[error("it holds a key of another kind; a secp256k1 key is needed")]
    OtherCurve,
    /// The number 0.
    #[error("it holds the number zero, which is no key")]
    Zero,
    /// A number beyond the keys.
    #[error("it holds a number that is not below the order of secp256k1, which is no key")]
    NotBelowOrder,
    /// No page to keep it in.
    #[error("there is no memory to keep it in: {0}")]
    NoMemory(io::Error),
    /// A PEM whose two halves disagree.
    #[error("its public key is not that of its secret key")]
    Mismatched,
}

/// Opens a key file without following a link or waiting for a FIFO's other end.
fn open_private(path: &Path) -> Result<File, KeyError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT) => return Err(KeyError::Missing),
        Err(rustix::io::Errno::LOOP) => return Err(KeyError::Symlink),
        // Another user's key can't be opened at all: say whose it is.
        Err(error) => {
            let refused = std::fs::symlink_metadata(path).ok().and_then(|file| check_private(&file).err());
            return Err(refused.unwrap_or(KeyError::Read(error.into())));
        }
    };
    check_private(&file.metadata().map_err(KeyError::Read)?)?;
    Ok(file)
}

fn check_private(file: &std::fs::Metadata) -> Result<(), KeyError> {
    let uid = rustix::process::geteuid().as_raw();
    if !file.is_file() {
        return Err(KeyError::NotRegular);
    }
    if file.uid() != uid {
        return Err(KeyError::ForeignOwner { owner: file.uid(), uid });
    }
    if file.mode() & 0o077 != 0 {
        return Err(KeyError::TooOpen { mode: file.mode() & 0o7777 });
    }
    Ok(())
}

/// All that `file` holds. The buffer is made at its full size, for a growing one leaves copies behind.
fn read_limited(mut file: File) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut text = Zeroizing::new(vec![0; FILE_LEN_MAX]);
    let mut len = 0;
    loop {
        match file.read(&mut text[len..]) {
            Ok(0) if len == FILE_LEN_MAX => return Err(KeyError::NotAKey),
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KeyError::Read(error)),
        }
    }
    text.truncate(len);
    Ok(text)
}
