//! How a signature is written as text.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cli::Method;

/// What `--encoding` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The 64 bytes r‖s (BIP340: R‖s) in lower-case hexadecimal.
    #[default]
    Hex,
    /// The same bytes in base64 with padding.
    Base64,
    /// The ASN.1 DER form that other tools exchange ECDSA signatures in, in lower-case hexadecimal. A signature
    /// that has no such form, as every BIP340 one, is written as [`Encoding::Hex`].
    Der,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Encoding; 3] = [Encoding::Hex, Encoding::Base64, Encoding::Der];

    /// The encoding's name.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
            Encoding::Der => "der",
        }
    }

    /// Replaces `text` by `signature` in this encoding, and returns the encoding that it really is in.
    pub fn write(self, method: Method, signature: &[u8], text: &mut String) -> Encoding {
        text.clear();
        match (self, method, <&[u8; 64]>::try_from(signature)) {
            (Encoding::Base64, ..) => {
                STANDARD.encode_string(signature, text);
                Encoding::Base64
            }
            (Encoding::Der, Method::Ecdsa, Ok(r_and_s)) => {
                push_der(text, r_and_s);
                Encoding::Der
            }
            (Encoding::Hex | Encoding::Der, ..) => {
                push_hex(text, signature);
                Encoding::Hex
            }
        }
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|encoding| encoding.name() == text);
        found.ok_or_else(|| "legal values: hex, base64, der".to_owned())
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    // Calculated, not looked up, and into a place of known length: so the compiler makes many digits at once.
    let digit = |number: u8| number + if number < 10 { b'0' } else { b'a' - 10 };
    let mut room = [0; 128];
    for part in bytes.chunks(room.len() / 2) {
        let digits = &mut room[..2 * part.len()];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(part) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text.extend(str::from_utf8(digits));
    }
}

/// Appends SEQUENCE { INTEGER r, INTEGER s }. No parser is asked first: what doesn't verify is written all the same.
fn push_der(text: &mut String, r_and_s: &[u8; 64]) {
    let (r, s) = r_and_s.split_at(32);
    let (r, s) = (minimal(r), minimal(s));
    let length = |integer: &[u8]| integer.len() as u8 + (integer[0] >> 7);
    push_hex(text, &[0x30, 4 + length(r) + length(s)]);
    for integer in [r, s] {
        push_hex(text, &[0x02, length(integer)]);
        if integer[0] >> 7 == 1 {
            push_hex(text, &[0]);
        }
        push_hex(text, integer);
    }
}

/// A big-endian number without its leading zeros, but never without a byte.
fn minimal(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros.min(number.len() - 1)..]
}

#[cfg(test)]
mod tests {
    use secp256k1::ecdsa::Signature;

    use super::*;

    fn text(encoding: Encoding, method: Method, signature: &[u8]) -> (String, Encoding) {
        let mut text = "left over".to_owned();
        let used = encoding.write(method, signature, &mut text);
        (text, used)
    }

    #[test]
    fn der_is_what_libsecp256k1_makes_of_the_same_numbers() {
        let mut numbers = vec![[0x7f; 32], [0x80; 32], [0x01; 32], [0; 32]];
        numbers[2][..31].fill(0);
        let mut with_leading_zero = [0x80; 32];
        with_leading_zero[0] = 0;
        numbers.push(with_leading_zero);
        for r in &numbers {
            for s in &numbers {
                let signature = [*r, *s].concat();
                let expected = Signature::from_compact(&signature).unwrap().serialize_der();
                assert_eq!(
                    text(Encoding::Der, Method::Ecdsa, &signature),
                    (hex::encode(&*expected), Encoding::Der)
                );
            }
        }
    }

    #[test]
    fn what_has_no_der_form_is_written_as_hex_and_says_so() {
        let hex = |length| "ab".repeat(length);
        assert_eq!(text(Encoding::Der, Method::Schnorr, &[0xab; 64]), (hex(64), Encoding::Hex));
        assert_eq!(text(Encoding::Der, Method::Ecdsa, &[0xab; 7]), (hex(7), Encoding::Hex));
    }

    #[test]
    fn hex_and_base64_are_the_bytes_and_nothing_else() {
        assert_eq!(text(Encoding::Hex, Method::Ecdsa, &[0x0f, 0xa0]).0, "0fa0");
        assert_eq!(text(Encoding::Base64, Method::Schnorr, &[0xff, 0xef]).0, "/+8=");
    }

    #[test]
    fn every_byte_has_its_digits_wherever_it_stands() {
        let bytes: Vec<u8> = (0..=255).chain(3..150).collect();
        for len in [0, 1, 63, 64, 65, 128, bytes.len()] {
            let mut pushed = "x".to_owned();
            push_hex(&mut pushed, &bytes[..len]);
            assert_eq!(pushed, format!("x{}", hex::encode(&bytes[..len])));
        }
    }

    #[test]
    fn an_unknown_encoding_is_refused_with_the_legal_ones() {
        assert_eq!("der".parse(), Ok(Encoding::Der));
        assert!("pem".parse::<Encoding>().unwrap_err().contains("hex, base64, der"));
    }
}
