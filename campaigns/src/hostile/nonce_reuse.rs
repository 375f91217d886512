//! What comes of a nonce made for one message and a challenge made for another: how one signs so, and how the secret key
//! follows from two such signatures.
//!
//! Nothing here is for use: it is the fault that the ring's one rule (a message is read once) prevents.

use cli::Method;
use k256::elliptic_curve::ff::PrimeField;
use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{FieldBytes, ProjectivePoint, Scalar};
use sha2::{Digest, Sha256};

/// The number that 32 big-endian bytes are, modulo the group's order.
fn scalar(bytes: [u8; 32]) -> Scalar {
    Scalar::reduce(&FieldBytes::from(bytes))
}

fn bytes(scalar: &Scalar) -> [u8; 32] {
    scalar.to_repr().into()
}

/// The x coordinate of `scalar` times the generator, and whether y is odd.
fn point(scalar: &Scalar) -> ([u8; 32], bool) {
    let point = ProjectivePoint::mul_by_generator(scalar).to_affine();
    (point.x().into(), point.y_is_odd().into())
}

/// What a signature's equation has of its message: for ECDSA the digest, for BIP340 the challenge.
fn challenge(method: Method, r: &[u8; 32], public_x: &[u8; 32], message: &[u8]) -> Scalar {
    if method == Method::Ecdsa {
        return scalar(Sha256::digest(message).into());
    }
    let tag = Sha256::digest(b"BIP0340/challenge");
    let hash = Sha256::new().chain_update(tag).chain_update(tag);
    scalar(hash.chain_update(r).chain_update(public_x).chain_update(message).finalize().into())
}

/// Signs as one does who reads the message twice: the nonce is made for `first`, and the challenge for what `read_again`
/// gives after that. `None` for the one secret or nonce in 2¹²⁸ that can't be used.
pub fn sign(
    method: Method,
    secret: &[u8; 32],
    first: &[u8],
    read_again: impl FnOnce() -> Vec<u8>,
) -> Option<[u8; 64]> {
    let mut secret_number = scalar(*secret);
    let (public_x, public_is_odd) = point(&secret_number);
    // Each method has nonces of its own, as RFC 6979 and BIP340 have.
    let nonce = Sha256::new().chain_update(method.name()).chain_update(secret).chain_update(first);
    let mut nonce = scalar(nonce.finalize().into());
    let (r, r_is_odd) = point(&nonce);
    let challenge = challenge(method, &r, &public_x, &read_again());
    let s = if method == Method::Ecdsa {
        low(Option::<Scalar>::from(nonce.invert())? * (challenge + scalar(r) * secret_number))
    } else {
        secret_number = if public_is_odd { -secret_number } else { secret_number };
        nonce = if r_is_odd { -nonce } else { nonce };
        nonce + challenge * secret_number
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&bytes(&s));
    Some(signature)
}

/// Of s and -s, which ECDSA can't tell apart, the lesser one.
fn low(s: Scalar) -> Scalar {
    if bytes(&s) <= bytes(&-s) { s } else { -s }
}

/// As [`low`], of bytes.
pub fn low_s(s: [u8; 32]) -> [u8; 32] {
    bytes(&low(scalar(s)))
}

/// The secret key (or, for BIP340, it or its negative) that follows from two signatures with one nonce, the one of them
/// made for one of `messages` and the other for the other; `None` if none follows that has this public key.
pub fn recover(
    method: Method,
    r: &[u8; 32],
    s: &[[u8; 32]; 2],
    messages: &[Vec<u8>; 2],
    public_x: &[u8; 32],
) -> Option<[u8; 32]> {
    let of = |message: &[u8]| challenge(method, r, public_x, message);
    let challenges = [of(&messages[0]), of(&messages[1])];
    let s = [scalar(s[0]), scalar(s[1])];
    let candidates = [(challenges[0], challenges[1]), (challenges[1], challenges[0])].map(|(one, other)| {
        if method == Method::Ecdsa {
            // Either s may have been negated, to be low.
            [s[1], -s[1]].map(|second| {
                let nonce = (one - other) * Option::<Scalar>::from((s[0] - second).invert())?;
                Some((s[0] * nonce - one) * Option::<Scalar>::from(scalar(*r).invert())?)
            })
        } else {
            let secret =
                Option::<Scalar>::from((one - other).invert()).map(|inverse| (s[0] - s[1]) * inverse);
            [secret, None]
        }
    });
    candidates.into_iter().flatten().flatten().find(|secret| point(secret).0 == *public_x).map(|s| bytes(&s))
}

/// Whether `recovered` signs as `secret` does: BIP340 has one public key for a secret and its negative.
pub fn is_same_secret(recovered: &[u8; 32], secret: &[u8; 32]) -> bool {
    let recovered = scalar(*recovered);
    [recovered, -recovered].contains(&scalar(*secret)) && recovered != Scalar::ZERO
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::{is_valid, keys};
    use super::*;

    #[test]
    fn read_twice_alike_it_is_a_signature() {
        let (secret, public) = keys();
        for method in [Method::Ecdsa, Method::Schnorr] {
            let signature = sign(method, &secret, b"message", || b"message".to_vec()).unwrap();
            assert!(is_valid(&public, method, b"message", &signature), "{method}");
        }
    }

    #[test]
    fn read_twice_with_a_change_in_between_it_gives_the_key_away() {
        let (secret, public) = keys();
        let messages = [b"message".to_vec(), b"massage".to_vec()];
        for method in [Method::Ecdsa, Method::Schnorr] {
            let [one, other] =
                [0, 1].map(|second| sign(method, &secret, b"message", || messages[second].clone()).unwrap());
            assert_eq!(one[..32], other[..32], "{method}");
            let s = [one, other].map(|signature| signature[32..].try_into().unwrap());
            let r = one[..32].try_into().unwrap();
            let recovered = recover(method, &r, &s, &messages, &public[1..].try_into().unwrap()).unwrap();
            assert!(is_same_secret(&recovered, &secret), "{method}");
            let unrelated = [s[0], [7; 32]];
            assert_eq!(recover(method, &r, &unrelated, &messages, &public[1..].try_into().unwrap()), None);
        }
    }
}
