//! The `schnorr` extension: BIP340 on secp256k1 over the bytes of the message, whatever their number.
//!
//! Signatures are 64 bytes `r ‖ s`, deterministic: the auxiliary randomness is all zero. Public keys are 32 bytes
//! (the x coordinate).
#![cfg_attr(not(test), no_std)]

use k256::schnorr::{Signature, SigningKey, VerifyingKey};
use k256::{ProjectivePoint, Scalar};
use ringseal_abi::Status;
use ringseal_abi::scheme::{DIGEST_LEN, Records, SECRET_KEY_LEN, Scheme};

// A batch uses 39 KiB, most of it a frame with room for the table that `warm` has built.
#[cfg(target_arch = "wasm32")]
ringseal_abi::export_extension!(Schnorr, stack_len: 44 * 1024);

/// An installed secret key, k256's and the one that signs; both wipe themselves when dropped.
pub struct Schnorr {
    key: SigningKey,
    batch: secp256k1_batch::Schnorr,
}

impl Scheme for Schnorr {
    const NAME: &'static str = "schnorr";
    const PUBLIC_KEY_LEN: usize = 32;
    const SIGNATURE_LEN: usize = 64;

    fn warm() {
        core::hint::black_box(ProjectivePoint::mul_by_generator(&Scalar::ONE));
    }

    fn from_secret(secret: &[u8; SECRET_KEY_LEN]) -> Result<Self, Status> {
        let key = SigningKey::from_slice(secret).map_err(|_| Status::InvalidKey)?;
        let public = key.verifying_key().to_bytes().into();
        let batch = secp256k1_batch::Schnorr::new(key.as_nonzero_scalar(), &public);
        Ok(Self { key, batch })
    }

    fn public_key(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.key.verifying_key().to_bytes());
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), Status> {
        let signed = self.key.sign_raw(message, &[0; 32]).map_err(|_| Status::SigningFailed)?;
        signature.copy_from_slice(&signed.to_bytes());
        Ok(())
    }

    fn sign_all(&self, records: &mut impl Records) {
        self.batch.sign(records, |message, signature| self.sign(message, signature));
    }

    fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status> {
        let key = VerifyingKey::from_slice(public_key).map_err(|_| Status::InvalidPublicKey)?;
        let signature = Signature::from_slice(signature).map_err(|_| Status::InvalidSignature)?;
        key.verify_raw(message, &signature).map_err(|_| Status::InvalidSignature)
    }

    fn hash(_message: &[u8], _digest: &mut [u8; DIGEST_LEN]) -> Result<(), Status> {
        Err(Status::UnsupportedKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
    }

    /// Vector 0 of BIP340: its message, too, is all zero.
    const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000003";
    const PUBLIC: &str = "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";
    const SIGNATURE: &str = "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215\
                             25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0";

    fn signed(message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let key = Schnorr::from_secret(&bytes(SECRET)).expect("a key");
        let (mut public, mut signature) = ([0; 32], [0; 64]);
        key.public_key(&mut public);
        key.sign(message, &mut signature).expect("signed");
        (public, signature)
    }

    #[test]
    fn signatures_are_those_of_bip340() {
        assert_eq!(signed(&[0; 32]), (bytes(PUBLIC), bytes(SIGNATURE)));
    }

    #[test]
    fn messages_of_any_length_are_signed_themselves() {
        for len in [0, 1, 31, 33, 64, 1000] {
            let message = &[7; 1000][..len];
            let (public, signature) = signed(message);
            assert_eq!(Schnorr::verify(&public, message, &signature), Ok(()), "{len} bytes");
        }
    }

    #[test]
    fn a_key_outside_the_group_is_refused() {
        const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        assert!(Schnorr::from_secret(&[0; 32]).is_err_and(|status| status == Status::InvalidKey));
        assert!(Schnorr::from_secret(&bytes(ORDER)).is_err_and(|status| status == Status::InvalidKey));
        assert!(Schnorr::from_secret(&[0xff; 32]).is_err_and(|status| status == Status::InvalidKey));
        let mut largest: [u8; 32] = bytes(ORDER);
        largest[31] -= 1;
        assert!(Schnorr::from_secret(&largest).is_ok());
    }

    #[test]
    fn what_does_not_verify_is_told_apart() {
        let (public, signature) = signed(b"message");
        let refused = |public: &[u8], message: &[u8], signature: &[u8], status| {
            assert_eq!(Schnorr::verify(public, message, signature), Err(status));
        };
        let flipped = core::array::from_fn::<u8, 64, _>(|i| signature[i] ^ u8::from(i == 40));
        refused(&public, b"another", &signature, Status::InvalidSignature);
        refused(&public, b"message", &flipped, Status::InvalidSignature);
        refused(&public, b"message", &[0; 64], Status::InvalidSignature);
        refused(&public, b"message", &[0xff; 64], Status::InvalidSignature);
        refused(&public, b"message", &signature[..63], Status::InvalidSignature);
        refused(&public, b"message", &[], Status::InvalidSignature);
        refused(&public[..31], b"message", &signature, Status::InvalidPublicKey);
        refused(&[0xff; 32], b"message", &signature, Status::InvalidPublicKey);
        refused(&[], b"message", &signature, Status::InvalidPublicKey);
    }

    #[test]
    fn a_message_is_not_hashed_beforehand() {
        assert_eq!(Schnorr::hash(b"abc", &mut [0; 32]), Err(Status::UnsupportedKind));
    }
}
