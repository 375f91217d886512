//! The `ecdsa` extension: ECDSA on secp256k1 over the SHA-256 of the message.
//!
//! Signatures are 64 bytes `r ‖ s`, deterministic (RFC 6979 with SHA-256), low-S. Public keys are 33 bytes (SEC1,
//! compressed). Verifying accepts a high S too, as ECDSA does.
#![cfg_attr(not(test), no_std)]

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use k256::sha2::{Digest, Sha256};
use k256::{ProjectivePoint, Scalar};
use ringseal_abi::Status;
use ringseal_abi::scheme::{DIGEST_LEN, Records, SECRET_KEY_LEN, Scheme};

// A batch uses 39 KiB, most of it a frame with room for the table that `warm` has built.
#[cfg(target_arch = "wasm32")]
ringseal_abi::export_extension!(Ecdsa, stack_len: 44 * 1024);

/// An installed secret key, k256's and the one that signs; both wipe themselves when dropped.
pub struct Ecdsa {
    key: SigningKey,
    batch: secp256k1_batch::Ecdsa,
}

impl Scheme for Ecdsa {
    const NAME: &'static str = "ecdsa";
    const PUBLIC_KEY_LEN: usize = 33;
    const SIGNATURE_LEN: usize = 64;

    fn warm() {
        core::hint::black_box(ProjectivePoint::mul_by_generator(&Scalar::ONE));
    }

    fn from_secret(secret: &[u8; SECRET_KEY_LEN]) -> Result<Self, Status> {
        let key = SigningKey::from_slice(secret).map_err(|_| Status::InvalidKey)?;
        let batch = secp256k1_batch::Ecdsa::new(key.as_nonzero_scalar());
        Ok(Self { key, batch })
    }

    fn public_key(&self, out: &mut [u8]) {
        out.copy_from_slice(self.key.verifying_key().to_sec1_point(true).as_bytes());
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), Status> {
        let signed: Signature =
            self.key.sign_prehash(&Sha256::digest(message)).map_err(|_| Status::SigningFailed)?;
        signature.copy_from_slice(&signed.to_bytes());
        Ok(())
    }

    fn sign_all(&self, records: &mut impl Records) {
        self.batch.sign(records, |message, signature| self.sign(message, signature));
    }

    fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status> {
        // SEC1 knows longer encodings of the same point; one length is one contract.
        if public_key.len() != Self::PUBLIC_KEY_LEN {
            return Err(Status::InvalidPublicKey);
        }
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| Status::InvalidPublicKey)?;
        let signature = Signature::from_slice(signature).map_err(|_| Status::InvalidSignature)?;
        // k256 refuses a high S, ECDSA doesn't.
        key.verify_prehash(&Sha256::digest(message), &signature.normalize_s())
            .map_err(|_| Status::InvalidSignature)
    }

    fn hash(message: &[u8], digest: &mut [u8; DIGEST_LEN]) -> Result<(), Status> {
        *digest = Sha256::digest(message).into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
    }

    /// (secret key, message, signature): the vectors of RFC 6979 for secp256k1 that wallets have long shared.
    const KNOWN: [(&str, &str, &str); 2] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000001",
            "Satoshi Nakamoto",
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
             2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        ),
        (
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
            "Satoshi Nakamoto",
            "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0\
             6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        ),
    ];

    fn signed(secret: &str, message: &[u8]) -> ([u8; 33], [u8; 64]) {
        let key = Ecdsa::from_secret(&bytes(secret)).expect("a key");
        let (mut public, mut signature) = ([0; 33], [0; 64]);
        key.public_key(&mut public);
        key.sign(message, &mut signature).expect("signed");
        (public, signature)
    }

    #[test]
    fn signatures_are_those_of_rfc_6979() {
        for (secret, message, expected) in KNOWN {
            let (public, signature) = signed(secret, message.as_bytes());
            assert_eq!(signature, bytes::<64>(expected));
            assert_eq!(Ecdsa::verify(&public, message.as_bytes(), &signature), Ok(()));
        }
    }

    #[test]
    fn a_key_outside_the_group_is_refused() {
        const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        assert!(Ecdsa::from_secret(&[0; 32]).is_err_and(|status| status == Status::InvalidKey));
        assert!(Ecdsa::from_secret(&bytes(ORDER)).is_err_and(|status| status == Status::InvalidKey));
        assert!(Ecdsa::from_secret(&[0xff; 32]).is_err_and(|status| status == Status::InvalidKey));
        let mut largest: [u8; 32] = bytes(ORDER);
        largest[31] -= 1;
        assert!(Ecdsa::from_secret(&largest).is_ok());
    }

    #[test]
    fn a_high_s_is_as_valid_as_a_low_one() {
        let (public, low) = signed(KNOWN[0].0, b"message");
        let parsed = Signature::from_slice(&low).expect("a signature");
        let high = Signature::from_scalars(parsed.r(), -parsed.s()).expect("a signature").to_bytes();
        assert_ne!(high[..], low);
        assert_eq!(Ecdsa::verify(&public, b"message", &high), Ok(()));
    }

    #[test]
    fn what_does_not_verify_is_told_apart() {
        let (public, signature) = signed(KNOWN[0].0, b"message");
        let refused = |public: &[u8], message: &[u8], signature: &[u8], status| {
            assert_eq!(Ecdsa::verify(public, message, signature), Err(status));
        };
        let flipped = core::array::from_fn::<u8, 64, _>(|i| signature[i] ^ u8::from(i == 40));
        refused(&public, b"another", &signature, Status::InvalidSignature);
        refused(&public, b"message", &flipped, Status::InvalidSignature);
        refused(&public, b"message", &[0; 64], Status::InvalidSignature);
        refused(&public, b"message", &[0xff; 64], Status::InvalidSignature);
        refused(&public, b"message", &signature[..63], Status::InvalidSignature);
        refused(&public, b"message", &[], Status::InvalidSignature);
        refused(&public[..32], b"message", &signature, Status::InvalidPublicKey);
        refused(&[5; 33], b"message", &signature, Status::InvalidPublicKey);
        refused(&[0], b"message", &signature, Status::InvalidPublicKey);
        let uncompressed = VerifyingKey::from_sec1_bytes(&public).expect("a key").to_sec1_point(false);
        refused(uncompressed.as_bytes(), b"message", &signature, Status::InvalidPublicKey);
    }

    #[test]
    fn the_hash_is_the_one_that_is_signed() {
        let mut digest = [0; 32];
        assert_eq!(Ecdsa::hash(b"abc", &mut digest), Ok(()));
        assert_eq!(digest, bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    }
}
