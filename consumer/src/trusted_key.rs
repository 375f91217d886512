//! The public key that the user trusts. The ring is never asked for one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cli::Failure;
use secp256k1::PublicKey;

/// Room for a key with its newline; what is longer is no key file.
const FILE_BYTES_MAX: u64 = 256;

/// A public key on secp256k1, checked to be a point of the curve.
///
/// ECDSA verifies with the compressed form, BIP340 with its x coordinate alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    compressed: [u8; 33],
}

impl TrustedKey {
    /// The key of `text`: 66 hexadecimal digits, or else the path of a file that holds them.
    ///
    /// # Errors
    /// As for [`TrustedKey::from_hex`] and [`TrustedKey::from_file`].
    pub fn from_argument(text: &str) -> Result<Self, Failure> {
        if text.len() == 66 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::from_hex(text)
                .map_err(|why| Failure::bad_input(format_args!("public key {text}: {why}")));
        }
        Self::from_file(Path::new(text))
    }

    /// The key in the file at `path`: 66 hexadecimal digits and a newline.
    ///
    /// # Errors
    /// The file can't be read, or holds no such key: bad input that names the file.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: &dyn std::fmt::Display| {
            Failure::bad_input(format_args!("public key file {}: {why}", path.display()))
        };
        let text = read_limited(path).map_err(|error| refuse(&error))?;
        Self::from_hex(text.trim()).map_err(|why| refuse(&why))
    }

    /// The key written as `hex`: the 33 bytes of the compressed SEC1 form.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_hex(hex: &str) -> Result<Self, String> {
        let mut compressed = [0; 33];
        hex::decode_to_slice(hex, &mut compressed).map_err(|_| {
            format!(
                "expected 66 hexadecimal digits (a compressed key, as `signer keygen` prints it), found {}",
                found(hex)
            )
        })?;
        Self::from_compressed(compressed)
    }

    /// The key with this compressed SEC1 form.
    ///
    /// # Errors
    /// The first byte is not 02 or 03, or no point of the curve has this x coordinate.
    pub fn from_compressed(compressed: [u8; 33]) -> Result<Self, String> {
        if !matches!(compressed[0], 2 | 3) {
            return Err(format!("a compressed key begins with 02 or 03, not {:02x}", compressed[0]));
        }
        match PublicKey::from_byte_array_compressed(compressed) {
            Ok(_) => Ok(Self { compressed }),
            Err(_) => Err("no point of secp256k1 has this x coordinate".to_owned()),
        }
    }

    /// The compressed SEC1 form, as ECDSA uses it.
    pub fn compressed(&self) -> &[u8; 33] {
        &self.compressed
    }

    /// The x coordinate alone, as BIP340 uses it.
    pub fn x_only(&self) -> &[u8; 32] {
        let [_, x_only @ ..] = &self.compressed;
        x_only
    }
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What stands there instead of a key. The text itself is not repeated: somebody may have given us a secret key.
fn found(text: &str) -> String {
    if text.starts_with("-----BEGIN") {
        return "a PEM".to_owned();
    }
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let digits =
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) { "digits" } else { "other characters" };
    format!("{} {digits}", text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn both_forms_of_a_key_share_its_x_coordinate() {
        let key = TrustedKey::from_argument(KEY).unwrap();
        assert_eq!(hex::encode(key.compressed()), KEY);
        assert_eq!(hex::encode(key.x_only()), KEY[2..]);
    }

    #[test]
    fn each_kind_of_bad_key_has_its_own_words() {
        for (text, words) in [
            ("", "found nothing"),
            ("0279", "found 4 digits"),
            ("-----BEGIN PUBLIC KEY-----", "found a PEM"),
            (&KEY.replace("79", "zz"), "found 66 other characters"),
            (&KEY.replacen("02", "04", 1), "begins with 02 or 03, not 04"),
            (&format!("02{}", "f".repeat(64)), "no point of secp256k1"),
        ] {
            let why = TrustedKey::from_hex(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn a_key_file_may_end_in_a_newline_and_is_named_when_it_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trusted.pub");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        assert!(TrustedKey::from_argument(path.to_str().unwrap()).is_ok());

        std::fs::write(&path, "nonsense").unwrap();
        let failure = TrustedKey::from_file(&path).unwrap_err();
        assert_eq!(failure.exit, cli::Exit::BadInput);
        assert!(failure.message.contains("trusted.pub"), "{failure}");

        let failure = TrustedKey::from_argument("no/such/file").unwrap_err();
        assert!(failure.exit == cli::Exit::BadInput && failure.message.contains("no/such/file"), "{failure}");
    }

    #[test]
    fn an_endless_file_is_refused_rather_than_read() {
        assert!(TrustedKey::from_file(Path::new("/dev/zero")).is_err());
    }
}
