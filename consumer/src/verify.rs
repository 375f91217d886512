//! Verification of what the signer wrote, by an implementation that is not the signer's unless asked otherwise.
//!
//! Every verifier accepts exactly one ECDSA signature for a message and a nonce: s must be *low* (at most half the
//! group order), as BIP 62 has it. A signature with a high s satisfies the equation too, and our signer never
//! makes one, so it was altered on its way: it counts as not verified. BIP340 has no such second form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cli::{Failure, Method};
use extension_engine::Runtime;
use k256::ecdsa::signature::hazmat::PrehashVerifier;

use crate::record::{Batch, Outcome, Record};
use crate::trusted_key::TrustedKey;
use crate::verify_extension::{Extension, Programs};
use shmem_layout::now_ns;

/// What `--verifier` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifierChoice {
    /// libsecp256k1: independent of the signer, and the fastest.
    #[default]
    Secp256k1,
    /// The k256 crate, which the signing modules are built from as well.
    K256,
    /// The built-in signing modules' own verification, on this runtime.
    Extension(Runtime),
    /// Nobody looks. For measurements only.
    None,
}

impl VerifierChoice {
    /// The values that `--verifier` takes.
    pub const NAMES: [&'static str; 7] =
        ["secp256k1", "k256", "native", "wasmtime", "wasmi", "wasm3", "none"];

    /// The same, for messages.
    pub const LEGAL: &'static str =
        "secp256k1, k256, native, wasmtime, wasmi, wasm3, or none (measurements only)";
}

impl FromStr for VerifierChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "secp256k1" => Ok(Self::Secp256k1),
            "k256" => Ok(Self::K256),
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::Extension).map_err(|_| format!("legal values: {}", Self::LEGAL)),
        }
    }
}

impl fmt::Display for VerifierChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secp256k1 => f.pad("secp256k1"),
            Self::K256 => f.pad("k256"),
            Self::Extension(runtime) => f.pad(runtime.name()),
            Self::None => f.pad("none"),
        }
    }
}

/// All that verifiers are made of, checked and compiled; each thread makes its own from it.
pub struct VerifierPlan {
    plan: Plan,
    hashes: bool,
}

enum Plan {
    Secp256k1(Keys<Secp256k1>),
    K256(Keys<K256>),
    Extension(Arc<Programs>, Vec<TrustedKey>),
    None,
}

impl VerifierPlan {
    /// A plan for `choice`, trusting each of `keys`, for messages of up to `message_capacity` bytes. Where nobody verifies,
    /// only a journal needs the messages' digests.
    ///
    /// # Errors
    /// There is no key, and `choice` is not `none`: bad input. The runtime isn't built in, or can't take the
    /// built-in modules: environment.
    pub fn new(
        choice: VerifierChoice,
        keys: &[TrustedKey],
        message_capacity: usize,
        has_journal: bool,
    ) -> Result<Self, Failure> {
        if keys.is_empty() && choice != VerifierChoice::None {
            return Err(Failure::bad_input(format_args!(
                "--verifier {choice} needs the key to trust: --public-key with 66 hexadecimal digits or a file"
            )));
        }
        let plan = match choice {
            VerifierChoice::Secp256k1 => Plan::Secp256k1(Keys::new(keys, Secp256k1::new)?),
            VerifierChoice::K256 => Plan::K256(Keys::new(keys, K256::new)?),
            VerifierChoice::Extension(runtime) => {
                Plan::Extension(Arc::new(Programs::compile(runtime, message_capacity)?), keys.to_vec())
            }
            VerifierChoice::None => Plan::None,
        };
        Ok(Self { plan, hashes: has_journal || choice != VerifierChoice::None })
    }

    /// A verifier for the calling thread.
    ///
    /// # Errors
    /// An extension can't be instantiated: environment.
    pub fn verifier(&self) -> Result<Verifier, Failure> {
        let engine = match &self.plan {
            Plan::Secp256k1(verifier) => Engine::Secp256k1(verifier.clone()),
            Plan::K256(verifier) => Engine::K256(verifier.clone()),
            Plan::Extension(programs, keys) => Engine::Extension(programs.instantiate(keys)?),
            Plan::None => Engine::None,
        };
        Ok(Verifier { engine, hashes: self.hashes })
    }
}

/// Verifies records under the trusted keys.
pub struct Verifier {
    engine: Engine,
    hashes: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one a thread")]
enum Engine {
    Secp256k1(Keys<Secp256k1>),
    K256(Keys<K256>),
    Extension(Extension),
    None,
}

impl Verifier {
    /// Hashes and verifies each record of `batch`; sets its digest (if anybody needs it), outcome and time, and the batch's
    /// busy time.
    ///
    /// A record that came with an outcome keeps it. One of method `null` is not verified, unless nobody verifies.
    ///
    /// # Errors
    /// An extension trapped, or found something else wrong than a signature: failed. No outcome of the batch is
    /// to be relied on then.
    pub fn verify(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let started_ns = now_ns();
        let records = batch.records_mut();
        if self.hashes {
            records.iter_mut().for_each(Record::hash_message);
        }
        if !matches!(self.engine, Engine::None) {
            records.iter_mut().filter(|record| has_no_scheme(record)).for_each(|record| settle(record, None));
        }
        match &mut self.engine {
            Engine::Secp256k1(verifier) => verify_each(records, verifier, Secp256k1::is_valid),
            Engine::K256(verifier) => verify_each(records, verifier, K256::is_valid),
            Engine::Extension(extension) => extension.verify(records)?,
            Engine::None => {
                let had_ns = now_ns();
                records.iter_mut().for_each(|record| record.times.verified_ns = had_ns);
                return Ok(());
            }
        }
        batch.verify_busy_ns = now_ns() - started_ns;
        Ok(())
    }
}

fn verify_each<K>(records: &mut [Record], keys: &mut Keys<K>, is_valid: impl Fn(&K, &Record) -> bool) {
    for record in records {
        if is_to_verify(record) {
            let key = is_acceptable(record).then(|| keys.find(|key| is_valid(key, record))).flatten();
            settle(record, key);
        }
        record.times.verified_ns = now_ns();
    }
}

/// Whether `record` has, or should have, a signature that nobody looked at.
pub(crate) fn is_to_verify(record: &Record) -> bool {
    record.outcome == Outcome::Unchecked
}

/// Whether `record` came without a method to verify it by. Who chose a verifier wants to hear of it: else a peer could
/// relabel records, and they would pass unlooked at.
fn has_no_scheme(record: &Record) -> bool {
    is_to_verify(record) && record.method == Method::Null
}

/// What every verifier asks of a signature before it calculates: 64 bytes, and for ECDSA a low s.
pub(crate) fn is_acceptable(record: &Record) -> bool {
    record.signature.len() == 64 && (record.method != Method::Ecdsa || is_low_s(&record.signature[32..]))
}

/// Settles what became of `record`: it verified under the key of this number, or under none.
pub(crate) fn settle(record: &mut Record, key: Option<usize>) {
    record.outcome = if key.is_some() { Outcome::Verified } else { Outcome::NotVerified };
    record.key = key.unwrap_or(0);
}

/// The trusted keys in a verifier's own form. There is at least one.
#[derive(Clone)]
struct Keys<K> {
    keys: Vec<K>,
    /// The one that was good for the last record, and most likely is for the next.
    last: usize,
}

impl<K> Keys<K> {
    fn new(keys: &[TrustedKey], make: fn(&TrustedKey) -> Result<K, Failure>) -> Result<Self, Failure> {
        Ok(Self { keys: keys.iter().map(make).collect::<Result<_, _>>()?, last: 0 })
    }

    /// The number of a key that `is_good`: the last one that was, if it still is.
    fn find(&mut self, is_good: impl Fn(&K) -> bool) -> Option<usize> {
        let last = self.last;
        if !is_good(&self.keys[last]) {
            let mut others = self.keys.iter().enumerate().filter(|(number, _)| *number != last);
            (self.last, _) = others.find(|(_, key)| is_good(key))?;
        }
        Some(self.last)
    }
}

/// Whether `s` is at most (n - 1) / 2, n being the order of secp256k1.
fn is_low_s(s: &[u8]) -> bool {
    const HALF_ORDER: [u8; 32] = [
        0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, //
        0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
    ];
    *s <= HALF_ORDER[..]
}

/// libsecp256k1 keeps a context for each thread by itself.
#[derive(Clone)]
struct Secp256k1 {
    ecdsa_key: secp256k1::PublicKey,
    schnorr_key: secp256k1::XOnlyPublicKey,
}

impl Secp256k1 {
    fn new(key: &TrustedKey) -> Result<Self, Failure> {
        let ecdsa_key = secp256k1::PublicKey::from_byte_array_compressed(*key.compressed())
            .map_err(Failure::bad_input)?;
        Ok(Self { ecdsa_key, schnorr_key: ecdsa_key.x_only_public_key().0 })
    }

    fn is_valid(&self, record: &Record) -> bool {
        let Ok(bytes) = <[u8; 64]>::try_from(record.signature.as_slice()) else { return false };
        match record.method {
            Method::Ecdsa => secp256k1::ecdsa::Signature::from_compact(&bytes).is_ok_and(|signature| {
                let digest = secp256k1::Message::from_digest(record.message_sha256);
                signature.verify(digest, &self.ecdsa_key).is_ok()
            }),
            Method::Schnorr => {
                let signature = secp256k1::schnorr::Signature::from_byte_array(bytes);
                signature.verify(&record.message, &self.schnorr_key).is_ok()
            }
            Method::Null => false,
        }
    }
}

#[derive(Clone)]
struct K256 {
    ecdsa_key: k256::ecdsa::VerifyingKey,
    schnorr_key: k256::schnorr::VerifyingKey,
}

impl K256 {
    fn new(key: &TrustedKey) -> Result<Self, Failure> {
        let ecdsa_key =
            k256::ecdsa::VerifyingKey::from_sec1_bytes(key.compressed()).map_err(Failure::bad_input)?;
        let schnorr_key =
            k256::schnorr::VerifyingKey::from_slice(key.x_only()).map_err(Failure::bad_input)?;
        Ok(Self { ecdsa_key, schnorr_key })
    }

    fn is_valid(&self, record: &Record) -> bool {
        match record.method {
            Method::Ecdsa => k256::ecdsa::Signature::from_slice(&record.signature).is_ok_and(|signature| {
                self.ecdsa_key.verify_prehash(&record.message_sha256, &signature).is_ok()
            }),
            Method::Schnorr => k256::schnorr::Signature::from_slice(&record.signature)
                .is_ok_and(|signature| self.schnorr_key.verify_raw(&record.message, &signature).is_ok()),
            Method::Null => false,
        }
    }
}
