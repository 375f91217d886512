//! The known-answer test: what a module must do before it gets a key that matters.
//!
//! Every scheme here is deterministic, so that a right answer is one string of bytes: the native code's. A module that
//! signs validly but with nonces of its own would pass a verification, and could give the key away; it doesn't pass this.

use cli::Method;
use extension_engine::{Batch, ExtensionKind, Program, Runtime, Settings, compile};

/// Bytes of the messages: none, one, either side of SHA-256's block, and some blocks.
const LENS: [usize; 7] = [0, 1, 32, 55, 56, 64, 1000];

/// Secret keys that guard nothing.
const KEYS: [[u8; 32]; 2] = [[0x11; 32], [0x5a; 32]];

const OUTPUT_LEN: usize = 64;

/// Has an instance of `program` sign as `method`, with one key and then with another.
///
/// # Errors
/// What it did otherwise, in one line.
pub(crate) fn check(program: &dyn Program, method: Method) -> Result<(), String> {
    let settings = Settings::default();
    let native = compile(Runtime::Native, method.name(), None, &settings).map_err(said)?;
    let (mut native, mut instance) =
        (native.instantiate().map_err(said)?, program.instantiate().map_err(said)?);
    for key in &KEYS {
        let (expected, found) = (native.set_key(key).map_err(said)?, instance.set_key(key).map_err(said)?);
        if method != Method::Null && found != expected {
            return Err("known-answer test: its public key is not the secret key's".to_owned());
        }
        // All at once, and then each alone, from memory that was reset.
        for messages in [&LENS[..]].into_iter().chain(LENS.chunks(1)) {
            let (mut expected, mut found) = (batch(messages)?, batch(messages)?);
            native.run(ExtensionKind::Sign, &mut expected).map_err(said)?;
            instance.run(ExtensionKind::Sign, &mut found).map_err(said)?;
            for (i, len) in messages.iter().enumerate() {
                let wrong = |what: &str| format!("known-answer test: {what}, for a message of {len} bytes");
                found.status(i).map_err(|error| wrong(&error.to_string()))?;
                if method != Method::Null && found.output(i) != expected.output(i) {
                    return Err(wrong("its signature is not the one that the native code makes"));
                }
            }
            native.reset().map_err(said)?;
            instance.reset().map_err(said)?;
        }
    }
    Ok(())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn batch(lens: &[usize]) -> Result<Batch, String> {
    let longest = lens.iter().copied().max().unwrap_or(0);
    let mut batch = Batch::new(lens.len(), longest, OUTPUT_LEN).map_err(said)?;
    for len in lens {
        let fill =
            |message: &mut [u8]| (0_u8..).zip(message).for_each(|(i, byte)| *byte = i.wrapping_mul(31));
        batch.push(*len, fill).map_err(said)?;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_modules_pass_on_every_runtime_and_one_schemes_module_fails_as_the_others() {
        for runtime in Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok()) {
            for method in Method::ALL {
                let program = compile(runtime, method.name(), None, &Settings::default()).unwrap();
                assert_eq!(check(&*program, method), Ok(()), "{method} on {runtime}");
            }
            let schnorr = compile(runtime, "schnorr", None, &Settings::default()).unwrap();
            let refused = check(&*schnorr, Method::Ecdsa).unwrap_err();
            assert!(refused.contains("its public key is not"), "{refused}");
            let null = compile(runtime, "null", None, &Settings::default()).unwrap();
            assert!(check(&*null, Method::Schnorr).is_err());
        }
    }
}
