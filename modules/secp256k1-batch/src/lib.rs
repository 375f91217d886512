//! Signs the records of a batch so that they share their modular inversions: the glue between RFC 6979, BIP340 and the
//! equations of the signatures. Curve, field and scalar arithmetic are k256's, and so is the compression of SHA-256.
//!
//! A signature has the very bytes that k256 gives it alone, and no branch here depends on a secret, but for the one that k256
//! has too: a nonce that is no nonce, which nobody has ever seen, has its record signed by k256 (`alone`). Such a nonce is
//! carried along as 0, which the inversions skip and which shows as r = 0.
//!
//! What hashes have before the message is the same for each record of a key and is hashed once, when the key is expanded.
#![cfg_attr(not(test), no_std)]

#[cfg(target_arch = "wasm32")]
mod lock;
mod midstate;

use k256::elliptic_curve::ff::{BatchInverter, PrimeField};
use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::elliptic_curve::scalar::IsHigh;
use k256::elliptic_curve::subtle::ConditionallySelectable;
use k256::elliptic_curve::zeroize::Zeroize;
use k256::elliptic_curve::{BatchNormalize, NonZeroScalar};
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar, Secp256k1};
use midstate::{Hmac, START, State, after, digest};
use ringseal_abi::Status;
use ringseal_abi::scheme::Records;

/// The most records that share an inversion. One of 16 costs the 16th part, and the stack holds all that they share.
pub const CHUNK: usize = 16;

/// What the records of a chunk have in common: for each its nonce, later inverted, and the point that belongs to it.
struct Chunk {
    k: [Scalar; CHUNK],
    points: [ProjectivePoint; CHUNK],
    scratch: [Scalar; CHUNK],
}

impl Chunk {
    const EMPTY: Self = Self {
        k: [Scalar::ZERO; CHUNK],
        points: [ProjectivePoint::IDENTITY; CHUNK],
        scratch: [Scalar::ZERO; CHUNK],
    };

    fn set(&mut self, i: usize, k: Scalar) {
        self.k[i] = k;
        self.points[i] = ProjectivePoint::mul_by_generator(&k);
    }

    /// The first `len` points in affine coordinates, by one inversion.
    fn affine(&self, len: usize) -> [AffinePoint; CHUNK] {
        let mut affine = [AffinePoint::IDENTITY; CHUNK];
        match len {
            0..=1 => self.normalize::<1>(&mut affine),
            2..=4 => self.normalize::<4>(&mut affine),
            5..=8 => self.normalize::<8>(&mut affine),
            _ => self.normalize::<CHUNK>(&mut affine),
        }
        affine
    }

    fn normalize<const N: usize>(&self, affine: &mut [AffinePoint]) {
        if let (Some(from), Some(to)) = (self.points.first_chunk::<N>(), affine.first_chunk_mut()) {
            *to = ProjectivePoint::batch_normalize(from);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.k.zeroize();
        self.points.zeroize();
        self.scratch.zeroize();
    }
}

/// Calls `sign` with the first index and the length of each chunk of `records`.
fn each_chunk<R: Records>(records: &mut R, sign: impl Fn(&mut R, usize, usize)) {
    for first in (0..records.count()).step_by(CHUNK) {
        let len = CHUNK.min(records.count() - first);
        sign(records, first, len);
    }
}

/// A key for ECDSA over SHA-256, expanded.
pub struct Ecdsa {
    d: Scalar,
    x: [u8; 32],
    /// HMAC's two states, the inner one with all of RFC 6979's first message that is the key's alone.
    first: Hmac,
}

impl Ecdsa {
    /// Expands `d`.
    pub fn new(d: &NonZeroScalar<Secp256k1>) -> Self {
        let mut first = Hmac::new(&[0; 32]);
        let x: [u8; 32] = d.to_repr().into();
        let mut block = [1; 64];
        block[32] = 0;
        block[33..].copy_from_slice(&x[..31]);
        first.inner = after(first.inner, &block);
        block.zeroize();
        Self { d: **d, x, first }
    }

    /// The nonce of RFC 6979 for the digest that is `z`; 0 for its first candidate if that is none.
    fn nonce(&self, z: &Scalar) -> Scalar {
        let mut seed = [1; 97]; // V, 0x01, the key, the digest
        seed[33..65].copy_from_slice(&self.x);
        seed[65..].copy_from_slice(&z.to_repr());
        let second = Hmac::new(&self.first.end(digest(self.first.inner, 2, &seed[64..])));
        let mut v = second.of(&[1; 32]);
        seed[..32].copy_from_slice(&v);
        let third = Hmac::new(&second.end(digest(second.inner, 1, &seed)));
        v = third.of(&third.of(&v));
        let k = Scalar::from_repr(v.into()).unwrap_or(Scalar::ZERO);
        seed.zeroize();
        v.zeroize();
        k
    }

    /// Signs all `records`, with a low s; those that have no nonce at once by `alone`.
    pub fn sign(&self, records: &mut impl Records, alone: impl Fn(&[u8], &mut [u8]) -> Result<(), Status>) {
        each_chunk(records, |records, first, len| {
            let (mut chunk, mut z) = (Chunk::EMPTY, [Scalar::ZERO; CHUNK]);
            for i in 0..len {
                if let Some(message) = records.message(first + i) {
                    z[i] = scalar(digest(START, 0, message));
                    chunk.set(i, self.nonce(&z[i]));
                }
            }
            let affine = chunk.affine(len);
            BatchInverter::invert_with_external_scratch(&mut chunk.k[..len], &mut chunk.scratch[..len]);
            for i in 0..len {
                let r = scalar(affine[i].x().into());
                let mut t = r * self.d;
                t += z[i];
                let s = chunk.k[i] * t;
                t.zeroize();
                let s = Scalar::conditional_select(&s, &-s, s.is_high());
                let is_none = r.is_zero() | s.is_zero();
                records.answer(first + i, |message, signature| {
                    if is_none.into() {
                        return alone(message, signature);
                    }
                    put(signature, &r.to_repr(), &s.to_repr());
                    Ok(())
                });
            }
        });
    }
}

impl Drop for Ecdsa {
    fn drop(&mut self) {
        self.d.zeroize();
        self.x.zeroize();
    }
}

fn put(signature: &mut [u8], r: &[u8], s: &[u8]) {
    let (to_r, to_s) = signature.split_at_mut(32);
    to_r.copy_from_slice(r);
    to_s.copy_from_slice(s);
}

/// A key for BIP340 without auxiliary randomness, expanded.
pub struct Schnorr {
    /// That one of the key and its negative whose point has an even y.
    d: Scalar,
    public: [u8; 32],
    /// The hash of the nonce after its tag, the masked key and the public key; that of the challenge after its tag.
    nonce: State,
    challenge: State,
}

impl Schnorr {
    /// Expands `d`, whose public key has an even y and the x coordinate `public`.
    pub fn new(d: &NonZeroScalar<Secp256k1>, public: &[u8; 32]) -> Self {
        let tagged = |tag: &[u8]| after(START, &pair(digest(START, 0, tag), digest(START, 0, tag)));
        let mut masked = digest(tagged(b"BIP0340/aux"), 1, &[0; 32]);
        masked.iter_mut().zip(d.to_repr()).for_each(|(to, byte)| *to ^= byte);
        let mut block = pair(masked, *public);
        let nonce = after(tagged(b"BIP0340/nonce"), &block);
        masked.zeroize();
        block.zeroize();
        Self { d: **d, public: *public, nonce, challenge: tagged(b"BIP0340/challenge") }
    }

    /// Signs all `records`; those that have no nonce by `alone`.
    pub fn sign(&self, records: &mut impl Records, alone: impl Fn(&[u8], &mut [u8]) -> Result<(), Status>) {
        each_chunk(records, |records, first, len| {
            let mut chunk = Chunk::EMPTY;
            for i in 0..len {
                if let Some(message) = records.message(first + i) {
                    chunk.set(i, scalar(digest(self.nonce, 2, message)));
                }
            }
            let affine = chunk.affine(len);
            let mut s = [Scalar::ZERO; CHUNK];
            // All challenges come before any answer, so that no message changes between its two hashes.
            for i in 0..len {
                let k = Scalar::conditional_select(&chunk.k[i], &-chunk.k[i], affine[i].y_is_odd());
                let state = after(self.challenge, &pair(affine[i].x().into(), self.public));
                if let Some(message) = records.message(first + i) {
                    let e = scalar(digest(state, 2, message));
                    s[i] = k + e * self.d;
                }
            }
            for (i, (point, s)) in affine.iter().zip(&s).enumerate().take(len) {
                let (r, is_none) = (point.x(), chunk.k[i].is_zero() | s.is_zero());
                records.answer(first + i, |message, signature| {
                    if is_none.into() {
                        return alone(message, signature);
                    }
                    put(signature, &r, &s.to_repr());
                    Ok(())
                });
            }
        });
    }
}

impl Drop for Schnorr {
    fn drop(&mut self) {
        self.d.zeroize();
        self.nonce.zeroize();
    }
}

fn scalar(bytes: [u8; 32]) -> Scalar {
    Scalar::reduce(&FieldBytes::from(bytes))
}

fn pair(first: [u8; 32], second: [u8; 32]) -> [u8; 64] {
    let mut both = [0; 64];
    put(&mut both, &first, &second);
    both
}
