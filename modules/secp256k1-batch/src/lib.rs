//! Signs the records of a batch so that they share their modular inversions: the glue between RFC 6979, BIP340 and the
//! equations of the signatures. Curve, field and scalar arithmetic are k256's, and so is the compression of SHA-256.
//!
//! A signature has the very bytes that k256 gives it alone, and no branch here depends on a secret, but for the one that k256
//! has too: a nonce that is no nonce, which nobody has ever seen, has its record signed by k256 (`alone`). Such a nonce is
//! carried along as 0, which the inversions skip and which shows as r = 0. What hashes have before the message is the same for
//! each record of a key and is hashed once, when the key is expanded.
#![cfg_attr(not(test), no_std)]

mod lock;
mod midstate;

use k256::elliptic_curve::subtle::ConditionallySelectable;
use k256::elliptic_curve::zeroize::Zeroize;
use k256::elliptic_curve::{BatchNormalize, NonZeroScalar, PrimeField, ff::BatchInverter, ops::Reduce};
use k256::elliptic_curve::{point::AffineCoordinates, scalar::IsHigh};
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar, Secp256k1};
use midstate::{Hmac, START, State, after, digest, pair};
use ringseal_abi::Status;
use ringseal_abi::scheme::Records;

/// The most records that share an inversion. One of 16 costs the 16th part, and the stack holds all that they share.
pub const CHUNK: usize = 16;

/// What the records of a chunk share: for each its nonce, then its inverse, and the point that belongs to it.
#[derive(Default)]
struct Chunk {
    k: [Scalar; CHUNK],
    points: [ProjectivePoint; CHUNK],
    scratch: [Scalar; CHUNK],
}

impl Chunk {
    /// Calls `sign` with each chunk of `records`: its first index and its length.
    fn each<R: Records>(records: &mut R, sign: impl Fn(&mut R, usize, usize, &mut Self)) {
        for first in (0..records.count()).step_by(CHUNK) {
            let len = CHUNK.min(records.count() - first);
            sign(records, first, len, &mut Self::default());
        }
    }

    /// The first `len` points in affine coordinates, by one inversion. A place that is not used costs 1/40 of one.
    fn affine(&self, len: usize) -> [AffinePoint; CHUNK] {
        match len {
            1 => [self.points[0].to_affine(); CHUNK],
            _ => ProjectivePoint::batch_normalize(&self.points),
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

/// A key for ECDSA over SHA-256, expanded.
pub struct Ecdsa {
    d: Scalar,
    /// HMAC's two states, the inner one with all of RFC 6979's first message that is the key's alone.
    first: Hmac,
}

impl Ecdsa {
    /// Expands `d`.
    pub fn new(d: &NonZeroScalar<Secp256k1>) -> Self {
        let mut first = Hmac::new(&[0; 32]);
        let mut block = [1; 64];
        block[32] = 0;
        block[33..].copy_from_slice(&d.to_repr()[..31]);
        first.inner = after(first.inner, &block);
        block.zeroize();
        Self { d: **d, first }
    }

    /// The nonce of RFC 6979 for the digest that is `z`; 0 for its first candidate if that is none.
    fn nonce(&self, z: &Scalar) -> Scalar {
        let mut seed = [1; 97]; // V, 0x01, the key, the digest
        seed[33..65].copy_from_slice(&self.d.to_repr());
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

    /// Signs all `records`, with a low s.
    pub fn sign(&self, records: &mut impl Records, alone: impl Fn(&[u8], &mut [u8]) -> Result<(), Status>) {
        Chunk::each(records, |records, first, len, chunk| {
            let mut z = [Scalar::ZERO; CHUNK];
            for (i, z) in z.iter_mut().enumerate().take(len) {
                if let Some(message) = records.message(first + i) {
                    *z = scalar(digest(START, 0, message));
                    chunk.k[i] = self.nonce(z);
                    chunk.points[i] = ProjectivePoint::mul_by_generator(&chunk.k[i]);
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
                let is_none: bool = (r.is_zero() | s.is_zero()).into();
                records.answer(first + i, |message, signature| match is_none {
                    true => alone(message, signature),
                    false => put(signature, &r.to_repr(), &s.to_repr()),
                });
            }
        });
    }
}

impl Drop for Ecdsa {
    fn drop(&mut self) {
        self.d.zeroize();
    }
}

fn put(signature: &mut [u8], r: &FieldBytes, s: &FieldBytes) -> Result<(), Status> {
    signature.copy_from_slice(&pair((*r).into(), (*s).into()));
    Ok(())
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
        let mut block = pair(digest(tagged(b"BIP0340/aux"), 1, &[0; 32]), *public);
        block.iter_mut().zip(d.to_repr()).for_each(|(to, byte)| *to ^= byte);
        let nonce = after(tagged(b"BIP0340/nonce"), &block);
        block.zeroize();
        Self { d: **d, public: *public, nonce, challenge: tagged(b"BIP0340/challenge") }
    }

    /// Signs all `records`.
    pub fn sign(&self, records: &mut impl Records, alone: impl Fn(&[u8], &mut [u8]) -> Result<(), Status>) {
        Chunk::each(records, |records, first, len, chunk| {
            for i in 0..len {
                if let Some(message) = records.message(first + i) {
                    chunk.k[i] = scalar(digest(self.nonce, 2, message));
                    chunk.points[i] = ProjectivePoint::mul_by_generator(&chunk.k[i]);
                }
            }
            let affine = chunk.affine(len);
            let mut s = [Scalar::ZERO; CHUNK];
            // All challenges come before any answer, so that no message changes between its two hashes.
            for i in 0..len {
                let (negated, state) = (-chunk.k[i], pair(affine[i].x().into(), self.public));
                chunk.k[i].conditional_assign(&negated, affine[i].y_is_odd());
                if let Some(message) = records.message(first + i) {
                    let e = scalar(digest(after(self.challenge, &state), 2, message));
                    s[i] = e * self.d;
                    s[i] += chunk.k[i];
                }
            }
            for (i, (point, s)) in affine.iter().zip(&s).enumerate().take(len) {
                let is_none: bool = (chunk.k[i].is_zero() | s.is_zero()).into();
                records.answer(first + i, |message, signature| match is_none {
                    true => alone(message, signature),
                    false => put(signature, &point.x(), &s.to_repr()),
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
