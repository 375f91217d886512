//! What a signing scheme is, and what is done with one record of a batch.
//!
//! The guests' glue and the host's native runtime both go through [`sign_records`] and [`run_record`], so that they can't drift
//! apart.

use crate::{ExtensionKind, Status};

/// Bytes of a secret key: the one length that all schemes share.
pub const SECRET_KEY_LEN: usize = 32;

/// Bytes of a digest.
pub const DIGEST_LEN: usize = 32;

/// A signing scheme. A value of it is an installed secret key in expanded form: it wipes itself when dropped, and
/// is neither copied nor printed.
pub trait Scheme: Sized {
    /// The name of the extension.
    const NAME: &'static str;
    /// Bytes of a public key.
    const PUBLIC_KEY_LEN: usize;
    /// Bytes of a signature.
    const SIGNATURE_LEN: usize;

    /// Builds the tables that would otherwise be built by the first signature.
    fn warm() {}

    /// Expands a secret key.
    ///
    /// # Errors
    /// [`Status::InvalidKey`] if it is zero or not below the group order.
    fn from_secret(secret: &[u8; SECRET_KEY_LEN]) -> Result<Self, Status>;

    /// Writes the public key.
    ///
    /// # Panics
    /// If `out` is not [`PUBLIC_KEY_LEN`](Self::PUBLIC_KEY_LEN) bytes long.
    fn public_key(&self, out: &mut [u8]);

    /// Signs `message`.
    ///
    /// # Errors
    /// [`Status::SigningFailed`] if there is no signature for this key and message.
    ///
    /// # Panics
    /// If `signature` is not [`SIGNATURE_LEN`](Self::SIGNATURE_LEN) bytes long.
    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), Status>;

    /// Signs all `records`, each with the same bytes as [`sign`](Self::sign): for a scheme whose signatures cost less together.
    fn sign_all(&self, records: &mut impl Records) {
        for i in 0..records.count() {
            records.answer(i, |message, signature| self.sign(message, signature));
        }
    }

    /// Verifies `signature`, whatever the lengths of its arguments.
    ///
    /// # Errors
    /// [`Status::InvalidPublicKey`] or [`Status::InvalidSignature`].
    fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status>;

    /// Hashes `message` as signing does.
    ///
    /// # Errors
    /// [`Status::UnsupportedKind`] if the scheme signs messages, not digests.
    fn hash(message: &[u8], digest: &mut [u8; DIGEST_LEN]) -> Result<(), Status>;
}

/// The records of a batch to sign, as a scheme sees them.
pub trait Records {
    /// How many there are.
    fn count(&self) -> usize;

    /// The message of record `i`; none if the record is refused, whatever it is answered.
    ///
    /// Answers may lie in memory where the messages of other records are: what is read after an answer may be another
    /// message than before.
    fn message(&self, i: usize) -> Option<&[u8]>;

    /// Answers record `i`: `sign` gets its message and the room for its signature, of just the length that the scheme fixes. It
    /// isn't called for a record that is refused.
    fn answer(&mut self, i: usize, sign: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Status>);
}

/// Signs `records` with the installed key, if there is one.
pub fn sign_records<S: Scheme>(key: Option<&S>, records: &mut impl Records) {
    match key {
        Some(key) => key.sign_all(records),
        None => (0..records.count()).for_each(|i| records.answer(i, |_, _| Err(Status::NoKey))),
    }
}

/// Signs one record, of which `out` is the room for the output, by `sign`, and returns the length of the signature.
///
/// # Errors
/// [`Status::OutputTooSmall`], or what `sign` says.
pub fn sign_record<S: Scheme>(
    message: &[u8],
    out: &mut [u8],
    sign: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Status>,
) -> Result<usize, Status> {
    sign(message, room(out, S::SIGNATURE_LEN)?)?;
    Ok(S::SIGNATURE_LEN)
}

/// Does one record's work, by itself, and returns the number of bytes of `out` that it accounts for: the record's `out_len`.
///
/// `out` is the room for the output; for [`ExtensionKind::Verify`] it is the signature, and is only read.
/// `public_key` matters to `Verify` alone. `key` is the slot that [`ExtensionKind::SetKey`] fills; a refused key
/// leaves it as it was.
///
/// # Errors
/// The [`Status`] that the record gets; `out` may then hold anything.
pub fn run_record<S: Scheme>(
    key: &mut Option<S>,
    kind: ExtensionKind,
    message: &[u8],
    out: &mut [u8],
    public_key: &[u8],
) -> Result<usize, Status> {
    match kind {
        ExtensionKind::SetKey => {
            let secret = message.try_into().map_err(|_| Status::InvalidKey)?;
            let out = room(out, S::PUBLIC_KEY_LEN)?;
            let new = S::from_secret(secret)?;
            new.public_key(out);
            *key = Some(new);
            Ok(S::PUBLIC_KEY_LEN)
        }
        ExtensionKind::Sign => {
            let key = key.as_ref().ok_or(Status::NoKey)?;
            sign_record::<S>(message, out, |message, signature| key.sign(message, signature))
        }
        ExtensionKind::Verify => {
            S::verify(public_key, message, out)?;
            Ok(out.len())
        }
        ExtensionKind::Hash => {
            let digest = out.first_chunk_mut().ok_or(Status::OutputTooSmall)?;
            S::hash(message, digest)?;
            Ok(DIGEST_LEN)
        }
        ExtensionKind::Validator | ExtensionKind::Projector => Err(Status::UnsupportedKind),
    }
}

/// The first `len` bytes of `out`.
fn room(out: &mut [u8], len: usize) -> Result<&mut [u8], Status> {
    out.get_mut(..len).ok_or(Status::OutputTooSmall)
}
