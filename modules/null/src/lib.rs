//! The `null` extension: signs nothing and accepts everything.
//!
//! It is there for measurements: what a batch costs when the cryptography costs nothing. Any key is a key; public
//! key and signature are empty.
#![cfg_attr(not(test), no_std)]

use ringseal_abi::Status;
use ringseal_abi::scheme::{DIGEST_LEN, SECRET_KEY_LEN, Scheme};

#[cfg(target_arch = "wasm32")]
ringseal_abi::export_extension!(Null, stack_len: 1024);

/// An installed key, of which nothing is kept.
pub struct Null;

impl Scheme for Null {
    const NAME: &'static str = "null";
    const PUBLIC_KEY_LEN: usize = 0;
    const SIGNATURE_LEN: usize = 0;

    fn from_secret(_secret: &[u8; SECRET_KEY_LEN]) -> Result<Self, Status> {
        Ok(Self)
    }

    fn public_key(&self, _out: &mut [u8]) {}

    fn sign(&self, _message: &[u8], _signature: &mut [u8]) -> Result<(), Status> {
        Ok(())
    }

    fn verify(_public_key: &[u8], _message: &[u8], _signature: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn hash(_message: &[u8], _digest: &mut [u8; DIGEST_LEN]) -> Result<(), Status> {
        Err(Status::UnsupportedKind)
    }
}
