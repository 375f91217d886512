//! What a key file may hold.

use k256::elliptic_curve::ALGORITHM_OID;
use k256::pkcs8::{AssociatedOid, PrivateKeyInfoRef, SecretDocument};
use k256::{PublicKey, Secp256k1};
use sec1::{EcParameters, EcPrivateKey};

use super::{Key, KeyError};

const SEC1_HEAD: &str = "-----BEGIN EC PRIVATE KEY-----";

/// The key in `text`: a PKCS#8 or SEC1 PEM, or 64 hexadecimal digits.
pub(super) fn decode(text: &[u8]) -> Result<Key, KeyError> {
    let text = str::from_utf8(text).map_err(|_| KeyError::NotAKey)?.trim();
    if !text.starts_with("-----BEGIN ") {
        return from_hex(text);
    }
    // `openssl ecparam -genkey` puts a block with the curve's name in front.
    let pem = text.find(SEC1_HEAD).map_or(text, |start| &text[start..]);
    let (label, document) = SecretDocument::from_pem(pem).map_err(|_| not_a_key(text))?;
    match label {
        "PRIVATE KEY" => from_pkcs8(&document),
        "EC PRIVATE KEY" => from_sec1(document.decode_msg().map_err(|_| KeyError::NotAKey)?),
        _ => Err(not_a_key(text)),
    }
}

/// A PEM that holds no secret key, or one that can't be read without its passphrase.
fn not_a_key(pem: &str) -> KeyError {
    if pem.contains("ENCRYPTED") { KeyError::Encrypted } else { KeyError::NotAKey }
}

fn from_hex(digits: &str) -> Result<Key, KeyError> {
    Key::written_by(|key| hex::decode_to_slice(digits, key).map_err(|_| KeyError::NotAKey))
}

fn from_pkcs8(document: &SecretDocument) -> Result<Key, KeyError> {
    let info: PrivateKeyInfoRef<'_> = document.decode_msg().map_err(|_| KeyError::NotAKey)?;
    info.algorithm.assert_oids(ALGORITHM_OID, Secp256k1::OID).map_err(|_| KeyError::OtherCurve)?;
    from_sec1(info.private_key.as_bytes().try_into().map_err(|_| KeyError::NotAKey)?)
}

fn from_sec1(private: EcPrivateKey<'_>) -> Result<Key, KeyError> {
    if private.parameters.and_then(EcParameters::named_curve).is_some_and(|curve| curve != Secp256k1::OID) {
        return Err(KeyError::OtherCurve);
    }
    let key = Key::from_scalar(private.private_key)?;
    let public = key.to_secret()?.public_key();
    if private.public_key.is_some_and(|point| PublicKey::from_sec1_bytes(point) != Ok(public)) {
        return Err(KeyError::Mismatched);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use k256::SecretKey;
    use k256::pkcs8::{EncodePrivateKey, LineEnding};

    use super::*;

    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    fn refusal(text: &str) -> KeyError {
        decode(text.as_bytes()).err().unwrap()
    }

    /// What `openssl genpkey` or `openssl ecparam -genkey` would write for the number in `hex`.
    fn pem(label: &str, der: &[u8]) -> String {
        SecretDocument::try_from(der).unwrap().to_pem(label_of(label), LineEnding::LF).unwrap().to_string()
    }

    fn label_of(label: &str) -> &'static str {
        if label == "sec1" { "EC PRIVATE KEY" } else { "PRIVATE KEY" }
    }

    fn sec1_der(scalar_hex: &str) -> Vec<u8> {
        let scalar = hex::decode(scalar_hex).unwrap();
        // SEQUENCE { INTEGER 1, OCTET STRING }
        [&[0x30, 5 + scalar.len() as u8, 2, 1, 1, 4, scalar.len() as u8], scalar.as_slice()].concat()
    }

    #[test]
    fn every_encoding_gives_the_same_key() {
        let digits = "00".repeat(31) + "07";
        let secret = SecretKey::from_slice(&hex::decode(&digits).unwrap()).unwrap();
        let pkcs8 = secret.to_pkcs8_pem(LineEnding::LF).unwrap();
        let sec1 = pem("sec1", &sec1_der(&digits));
        let stripped = pem("sec1", &sec1_der("07"));
        let with_parameters =
            format!("-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n-----END EC PARAMETERS-----\n{sec1}");
        let crlf = pkcs8.replace('\n', "\r\n");
        for text in [
            &digits,
            &digits.to_uppercase(),
            &format!(" {digits}\n"),
            &pkcs8,
            &crlf,
            &sec1,
            &stripped,
            &with_parameters,
        ] {
            assert_eq!(hex::encode(decode(text.as_bytes()).unwrap().bytes()), digits, "{text}");
        }
    }

    #[test]
    fn zero_and_the_order_are_no_keys_in_any_encoding() {
        let zero = "00".repeat(32);
        for (scalar, is_expected) in [
            (zero.as_str(), (|e| matches!(e, KeyError::Zero)) as fn(&KeyError) -> bool),
            (ORDER, |e| matches!(e, KeyError::NotBelowOrder)),
        ] {
            for text in [scalar.to_owned(), pem("sec1", &sec1_der(scalar))] {
                let error = refusal(&text);
                assert!(is_expected(&error), "{text}: {error}");
            }
        }
        let last = ORDER.replace("4141", "4140");
        assert!(decode(last.as_bytes()).is_ok());
    }

    #[test]
    fn each_thing_that_is_no_key_has_its_own_words() {
        let mut swapped =
            SecretKey::from_slice(&[7; 32]).unwrap().to_pkcs8_der().unwrap().to_bytes().to_vec();
        let scalar = swapped.windows(32).position(|bytes| bytes == [7; 32]).unwrap();
        swapped[scalar + 31] = 8;
        // An Ed25519 key of RFC 8410.
        let ed25519 = hex::decode("302e020100300506032b657004220420".to_owned() + &"07".repeat(32)).unwrap();
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----";
        let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n-----END EC PRIVATE KEY-----";
        let public = "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----";
        let cases: [(&str, &str); 10] = [
            ("", "holds no key"),
            ("7", "holds no key"),
            (&"7".repeat(66), "holds no key"),
            (&"zz".repeat(32), "holds no key"),
            (public, "holds no key"),
            (encrypted, "encrypted"),
            (legacy, "encrypted"),
            (&pem("pkcs8", &ed25519), "another kind"),
            (&pem("pkcs8", &swapped), "public key is not that of"),
            (&pem("sec1", &sec1_der(&"07".repeat(33))), "holds no key"),
        ];
        for (text, words) in cases {
            assert!(refusal(text).to_string().contains(words), "{text}: {}", refusal(text));
        }
        assert!(decode(&[0xFF; 32]).is_err(), "bytes that are no text");
    }
}
