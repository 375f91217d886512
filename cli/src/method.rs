//! Signing methods: what a record asks for, and what a flag may say.

use std::fmt;
use std::str::FromStr;

/// The signing method of one record. The number is the one in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Method {
    /// ECDSA over secp256k1 and SHA-256, RFC 6979 nonces, low S, 64 bytes r‖s.
    Ecdsa = 1,
    /// BIP340 Schnorr over the message bytes, 64 bytes.
    Schnorr = 2,
    /// No signature at all. For measurements only.
    Null = 3,
}

impl Method {
    /// Every method, in the order of its number.
    pub const ALL: [Method; 3] = [Method::Ecdsa, Method::Schnorr, Method::Null];

    /// The method with number `raw`, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|method| *method as u32 == raw)
    }

    /// The method's name, which is also its extension's.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Ecdsa => "ecdsa",
            Method::Schnorr => "schnorr",
            Method::Null => "null",
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| "legal values: ecdsa, schnorr, null".to_owned())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What `--method` chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodChoice {
    /// The same method for every message.
    Always(Method),
    /// ECDSA or Schnorr, drawn for each message from the generator's seed.
    Random,
}

impl MethodChoice {
    /// The values that `--method` takes, for messages.
    pub const LEGAL: &'static str = "ecdsa (1), schnorr (0), random (2), or null (measurements only)";

    /// The method of message `index` under `seed`: a function of the two and nothing else.
    pub fn of_message(self, seed: u64, index: u64) -> Method {
        match self {
            MethodChoice::Always(method) => method,
            MethodChoice::Random if mix(seed ^ mix(index)) & 1 == 0 => Method::Ecdsa,
            MethodChoice::Random => Method::Schnorr,
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) on the successor of `x`.
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl FromStr for MethodChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "schnorr" | "0" => Ok(Self::Always(Method::Schnorr)),
            "ecdsa" | "1" => Ok(Self::Always(Method::Ecdsa)),
            "random" | "2" => Ok(Self::Random),
            "null" => Ok(Self::Always(Method::Null)),
            _ => Err(format!("legal values: {}", Self::LEGAL)),
        }
    }
}

impl fmt::Display for MethodChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(method) => method.fmt(f),
            Self::Random => f.pad("random"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_draws_both_methods_about_equally_and_always_the_same() {
        let ecdsa = (0..10_000).filter(|i| MethodChoice::Random.of_message(7, *i) == Method::Ecdsa).count();
        assert!((4_700..5_300).contains(&ecdsa), "{ecdsa} of 10,000");
        assert_eq!(MethodChoice::Random.of_message(7, 3), MethodChoice::Random.of_message(7, 3));
    }

    #[test]
    fn the_seeds_numbers_mean_what_they_meant() {
        for (number, name) in [("0", "schnorr"), ("1", "ecdsa"), ("2", "random")] {
            assert_eq!(number.parse::<MethodChoice>(), name.parse());
        }
        assert!("3".parse::<MethodChoice>().is_err_and(|e| e.contains("schnorr (0)")));
    }
}
