//! The judge of signatures over one message that somebody flips a bit of: whether two of them share a nonce.

use std::collections::HashMap;

use cli::{Failure, Method};
use secp256k1::{Message, PublicKey, XOnlyPublicKey, ecdsa, schnorr};
use sha2::{Digest, Sha256};

use super::nonce_reuse;

/// Two signatures with one R and different s: between them stands the secret key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// R's x coordinate.
    pub r: [u8; 32],
    /// How each was made. Where the two differ, the key does not follow by the equations that are known here.
    pub methods: [Method; 2],
    /// The two s; of ECDSA the low ones.
    pub s: [[u8; 32]; 2],
}

/// What a signature is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The message as it was published, or the one with its bit flipped.
    Message(usize),
    /// Neither of them, so that it is no signature at all.
    Neither,
}

/// Holds every signature against all before it.
pub struct Judge {
    /// The message as it is published, and with its bit flipped.
    messages: [Vec<u8>; 2],
    keys: Keys,
    /// What each signature seen is one of: few are ever new, for there are two messages only.
    seen: HashMap<(u32, [u8; 64]), Of>,
    /// Every s seen with an R.
    by_nonce: HashMap<[u8; 32], Vec<(Method, [u8; 32])>>,
    leak: Option<Leak>,
    /// What came of it so far.
    pub counts: Counts,
}

/// What the signatures were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signatures of the message as it was published, and of the one with its bit flipped.
    pub of: [u64; 2],
    /// Signatures of neither.
    pub invalid: u64,
    /// Pairs that share R with different s.
    pub shared: u64,
}

impl Counts {
    /// Signatures in all.
    pub fn total(&self) -> u64 {
        self.of[0] + self.of[1] + self.invalid
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        self.of[0] += other.of[0];
        self.of[1] += other.of[1];
        self.invalid += other.invalid;
        self.shared += other.shared;
    }
}

/// The public key, as each method's verification has it: libsecp256k1's, which is none of the signer's.
struct Keys {
    ecdsa: PublicKey,
    schnorr: XOnlyPublicKey,
}

impl Keys {
    fn is_valid(&self, method: Method, message: &[u8], signature: &[u8; 64]) -> bool {
        if method == Method::Ecdsa {
            let digest = Message::from_digest(Sha256::digest(message).into());
            ecdsa::Signature::from_compact(signature)
                .is_ok_and(|signature| signature.verify(digest, &self.ecdsa).is_ok())
        } else {
            schnorr::Signature::from_byte_array(*signature).verify(message, &self.schnorr).is_ok()
        }
    }
}

impl Judge {
    /// A judge of signatures over either of `messages` under the compressed `public` key.
    ///
    /// # Errors
    /// It is no key.
    pub fn new(messages: [Vec<u8>; 2], public: &[u8; 33]) -> Result<Self, Failure> {
        let ecdsa = PublicKey::from_byte_array_compressed(*public).map_err(Failure::bad_input)?;
        let keys = Keys { ecdsa, schnorr: ecdsa.x_only_public_key().0 };
        let (seen, by_nonce) = (HashMap::new(), HashMap::new());
        Ok(Self { messages, keys, seen, by_nonce, leak: None, counts: Counts::default() })
    }

    /// Counts a signature, and holds it against those before it.
    pub fn take(&mut self, method: Method, signature: &[u8]) {
        let Ok(signature) = <[u8; 64]>::try_from(signature) else {
            self.counts.invalid += 1;
            return;
        };
        let of = match self.seen.get(&(method as u32, signature)) {
            Some(of) => *of,
            None => self.take_new(method, signature),
        };
        match of {
            Of::Message(index) => self.counts.of[index] += 1,
            Of::Neither => self.counts.invalid += 1,
        }
    }

    fn take_new(&mut self, method: Method, signature: [u8; 64]) -> Of {
        let is_of = |message: &Vec<u8>| self.keys.is_valid(method, message, &signature);
        let of = self.messages.iter().position(is_of).map_or(Of::Neither, Of::Message);
        self.seen.insert((method as u32, signature), of);
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&signature[..32]);
        s.copy_from_slice(&signature[32..]);
        if method == Method::Ecdsa {
            s = nonce_reuse::low_s(s);
        }
        let with_r = self.by_nonce.entry(r).or_default();
        if with_r.iter().all(|(_, other)| *other != s) {
            self.counts.shared += with_r.len() as u64;
            if let Some((other_method, other)) = with_r.first() {
                self.leak.get_or_insert(Leak { r, methods: [*other_method, method], s: [*other, s] });
            }
            with_r.push((method, s));
        }
        of
    }

    /// The first pair that shared a nonce.
    pub fn leak(&self) -> Option<&Leak> {
        self.leak.as_ref()
    }

    /// The secret key, if it follows from the first pair that shared a nonce.
    pub fn recovered_key(&self) -> Option<[u8; 32]> {
        let leak = self.leak.as_ref().filter(|leak| leak.methods[0] == leak.methods[1])?;
        let public_x = self.keys.schnorr.to_byte_array();
        nonce_reuse::recover(leak.methods[0], &leak.r, &leak.s, &self.messages, &public_x)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use k256::elliptic_curve::sec1::ToSec1Point;

    use super::*;

    pub fn keys() -> ([u8; 32], [u8; 33]) {
        let secret = [7; 32];
        let public = k256::SecretKey::from_slice(&secret).unwrap().public_key().to_sec1_point(true);
        (secret, public.as_bytes().try_into().unwrap())
    }

    pub fn is_valid(public: &[u8; 33], method: Method, message: &[u8], signature: &[u8; 64]) -> bool {
        let judge = Judge::new([vec![], vec![]], public).unwrap();
        judge.keys.is_valid(method, message, signature)
    }

    fn signature(method: Method, first: &[u8], second: &[u8]) -> [u8; 64] {
        nonce_reuse::sign(method, &keys().0, first, || second.to_vec()).unwrap()
    }

    fn judge() -> Judge {
        Judge::new([b"message".to_vec(), b"massage".to_vec()], &keys().1).unwrap()
    }

    #[test]
    fn signatures_of_two_messages_are_counted_apart_and_share_nothing() {
        let mut judge = judge();
        for method in [Method::Ecdsa, Method::Schnorr] {
            for message in [b"message", b"massage", b"message"] {
                judge.take(method, &signature(method, message, message));
            }
        }
        assert_eq!(judge.counts, Counts { of: [4, 2], invalid: 0, shared: 0 });
        assert_eq!((judge.leak(), judge.recovered_key()), (None, None));
    }

    /// A signature with the nonce of one message and the challenge of the other, after an honest one.
    #[test]
    fn a_shared_nonce_is_seen_whatever_the_sign_of_s() {
        let (secret, _) = keys();
        for method in [Method::Ecdsa, Method::Schnorr] {
            let mut judge = judge();
            let honest = signature(method, b"message", b"message");
            judge.take(method, &honest);
            judge.take(method, &honest);
            if method == Method::Ecdsa {
                // The other s of the same signature is no second one.
                let high = k256::ecdsa::Signature::from_slice(&honest).unwrap();
                let negated = -*high.s();
                let mut high = honest;
                high[32..].copy_from_slice(&negated.to_bytes());
                judge.take(method, &high);
                assert_eq!(judge.counts, Counts { of: [2, 0], invalid: 1, shared: 0 });
            }
            judge.take(method, &signature(method, b"message", b"massage"));
            // It is a valid signature of what was read second: who verifies before release notices nothing.
            assert_eq!((judge.counts.shared, judge.counts.of), (1, [2, 1]));
            assert!(nonce_reuse::is_same_secret(&judge.recovered_key().unwrap(), &secret));
        }
    }

    #[test]
    fn what_is_no_signature_counts_as_such() {
        let mut judge = judge();
        judge.take(Method::Ecdsa, &[1; 63]);
        judge.take(Method::Schnorr, &[1; 64]);
        assert_eq!(judge.counts, Counts { of: [0, 0], invalid: 2, shared: 0 });
    }
}
