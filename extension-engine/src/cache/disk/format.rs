//! A file of the cache: a head that says what it is, a code that vouches for all of it, and the runtime's bytes.
//!
//! ```text
//!   0  "RSCACHE3"       the format
//!   8  module           32 bytes, SHA-256 of the module
//!  40  settings         32 bytes, see `CacheKey`
//!  72  runtime          4 bytes, its place in `Runtime::ALL`
//!  76  version          20 bytes, of the runtime, filled up with zeros
//!  96  length           8 bytes, of what follows the head
//! 104  authentication   32 bytes, keyed BLAKE3 of the runtime's bytes and what is before this, in this order
//! 136  the runtime's bytes
//! ```
//! Numbers are little-endian. The runtime's bytes are hashed first: so they lie in BLAKE3's chunks as they are read, many of
//! which are hashed at once. (What is before the code is always as long, so that nothing can be taken for the other.)

use blake3::Hasher;
use zeroize::Zeroizing;

use crate::Runtime;
use crate::cache::CacheKey;

const FORMAT: &[u8; 8] = b"RSCACHE3";
const LENGTH: usize = 96;
const CODE: usize = 104;

/// Bytes of a file before the runtime's own.
pub(super) const HEAD_LEN: usize = 136;

/// The authentication key of a directory.
pub(super) struct Authenticator(Zeroizing<[u8; 32]>);

impl Authenticator {
    pub(super) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The head of the file that holds `payload` under `key`.
    pub(super) fn head(&self, key: &CacheKey, payload: &[u8]) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..LENGTH].copy_from_slice(&description(key));
        head[LENGTH..CODE].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let code = self.mac().update(payload).update(&head[..CODE]).finalize();
        head[CODE..].copy_from_slice(code.as_bytes());
        head
    }

    /// A check whether `head` is what [`head`](Self::head) was for `key`, and for the payload that it is to be fed with.
    pub(super) fn check(&self, key: &CacheKey, head: &[u8; HEAD_LEN]) -> Result<Check, &'static str> {
        if head[..8] != *FORMAT {
            return Err("is no file of this cache");
        }
        if head[..LENGTH] != description(key) {
            return Err("holds another module, or one for another version or other settings");
        }
        let len = u64::from_le_bytes(head[LENGTH..CODE].try_into().unwrap_or_default());
        Ok(Check { len, head: *head, mac: self.mac() })
    }

    /// BLAKE3 in its keyed mode, which is a message authentication code; HMAC-SHA256 took half the time of a load.
    fn mac(&self) -> Hasher {
        Hasher::new_keyed(&self.0)
    }
}

/// See [`Authenticator::check`].
pub(super) struct Check {
    /// Bytes of payload, as the head has it.
    pub(super) len: u64,
    head: [u8; HEAD_LEN],
    mac: Hasher,
}

impl Check {
    /// Takes the next piece of the payload.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.mac.update(piece);
    }

    /// Whether the file is one that was made here, bit by bit. To be asked when all of the payload was fed.
    pub(super) fn finish(mut self) -> Result<(), &'static str> {
        let (described, code) = self.head.split_at(CODE);
        // Digests are compared in constant time.
        if self.mac.update(described).finalize() == *code {
            Ok(())
        } else {
            Err("is not authentic: it was changed, or comes from another cache")
        }
    }
}

/// A head up to the length: what the file's name is made of, too.
pub(super) fn description(key: &CacheKey) -> [u8; LENGTH] {
    let mut head = [0; LENGTH];
    head[..8].copy_from_slice(FORMAT);
    head[8..40].copy_from_slice(&key.module_sha256);
    head[40..72].copy_from_slice(&key.settings);
    head[72..76].copy_from_slice(&(key.runtime as u32).to_le_bytes());
    let version = &key.version.as_bytes()[..key.version.len().min(LENGTH - 76)];
    head[76..76 + version.len()].copy_from_slice(version);
    head
}

/// What a head says that its file is, be it true or not.
pub(super) fn claimed(head: &[u8; HEAD_LEN]) -> Option<CacheKey> {
    if !head.starts_with(FORMAT) {
        return None;
    }
    let runtime = u32::from_le_bytes(head[72..76].try_into().ok()?);
    let version = head[76..LENGTH].split(|byte| *byte == 0).next()?;
    Some(CacheKey {
        module_sha256: head[8..40].try_into().ok()?,
        runtime: Runtime::ALL.into_iter().find(|known| *known as u32 == runtime)?,
        version: std::str::from_utf8(version).ok()?.to_owned(),
        settings: head[40..72].try_into().ok()?,
        stack: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CacheKey {
        CacheKey {
            module_sha256: [1; 32],
            runtime: Runtime::Wasmtime,
            version: "48.0.8".to_owned(),
            settings: [2; 32],
            stack: 77,
        }
    }

    const PAYLOAD: &[u8] = b"machine code";

    fn check(
        authenticator: &Authenticator,
        key: &CacheKey,
        head: &[u8; HEAD_LEN],
        payload: &[u8],
    ) -> Result<(), &'static str> {
        let mut check = authenticator.check(key, head)?;
        if check.len != payload.len() as u64 {
            return Err("length");
        }
        payload.chunks(5).for_each(|piece| check.feed(piece));
        check.finish()
    }

    #[test]
    fn every_bit_counts() {
        let authenticator = Authenticator::new([9; 32].into());
        let (mut head, mut payload) = (authenticator.head(&key(), PAYLOAD), PAYLOAD.to_vec());
        check(&authenticator, &key(), &head, &payload).unwrap();
        for bit in 0..HEAD_LEN * 8 {
            head[bit / 8] ^= 1 << (bit % 8);
            check(&authenticator, &key(), &head, &payload).unwrap_err();
            head[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 1 << (bit % 8);
            check(&authenticator, &key(), &head, &payload).unwrap_err();
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        // A length that was changed along with the payload is no better.
        payload.push(0);
        head[LENGTH] += 1;
        assert_ne!(check(&authenticator, &key(), &head, &payload), Err("length"));
        check(&authenticator, &key(), &head, &payload).unwrap_err();
    }

    #[test]
    fn a_file_is_of_one_key_and_of_one_directory() {
        let authenticator = Authenticator::new([9; 32].into());
        let head = authenticator.head(&key(), PAYLOAD);
        check(&Authenticator::new([8; 32].into()), &key(), &head, PAYLOAD).unwrap_err();
        for other in [
            CacheKey { module_sha256: [3; 32], ..key() },
            CacheKey { runtime: Runtime::Wasmi, ..key() },
            CacheKey { version: "48.0.9".to_owned(), ..key() },
            CacheKey { settings: [3; 32], ..key() },
        ] {
            check(&authenticator, &other, &head, PAYLOAD).unwrap_err();
        }
        // The stack is none of the file's concern.
        check(&authenticator, &CacheKey { stack: 78, ..key() }, &head, PAYLOAD).unwrap();
    }

    #[test]
    fn the_code_is_keyed_blake3() {
        // The first two of BLAKE3's own test vectors.
        let key = *b"whats the Elvish word for friend";
        for (message, code) in [
            (&[][..], "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"),
            (&[0], "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b"),
        ] {
            let mut mac = Authenticator::new(key.into()).mac();
            assert_eq!(mac.update(message).finalize().to_hex().as_str(), code);
        }
    }

    #[test]
    fn a_head_says_what_it_is_of() {
        let mut head = Authenticator::new([9; 32].into()).head(&key(), PAYLOAD);
        assert_eq!(claimed(&head), Some(CacheKey { stack: 0, ..key() }));
        head[72] = 99;
        assert_eq!(claimed(&head), None);
        assert_eq!(claimed(&[0; HEAD_LEN]), None);
    }
}
