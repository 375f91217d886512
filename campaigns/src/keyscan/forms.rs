//! The forms that a secret key could be written down in, by anybody and by mistake.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use k256::SecretKey;
use zeroize::Zeroizing;

/// One form of a key.
pub struct Form {
    /// What it is called in complaints.
    pub name: String,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The forms in which processors and libraries hold the number, among them the negated one, which BIP340 signs with
/// when the public key's y is odd.
pub fn in_memory(key: &SecretKey) -> Vec<Form> {
    let mut forms = Vec::new();
    for (sign, number) in numbers(key) {
        let little: Vec<u8> = number.iter().rev().copied().collect();
        let limbs = |len: usize| -> Vec<u8> {
            number.chunks(len).flat_map(|limb| limb.iter().rev().copied()).collect()
        };
        let raw = [
            ("big-endian", number.to_vec()),
            ("little-endian", little),
            ("32-bit limbs, the highest first", limbs(4)),
            ("64-bit limbs, the highest first", limbs(8)),
        ];
        forms.extend(raw.map(|(name, bytes)| Form { name: format!("{sign}{name}"), bytes: bytes.into() }));
    }
    forms
}

/// Those, and the ways to print them. Line breaks within must be taken out of a text before it is searched for these.
pub fn all(key: &SecretKey) -> Vec<Form> {
    let mut forms = in_memory(key);
    let mut printed = Vec::new();
    for Form { name, bytes } in forms.iter().filter(|form| form.name.ends_with("endian")) {
        let mut add = |how: &str, text: String| {
            printed.push(Form { name: format!("{name}, {how}"), bytes: text.into_bytes().into() });
        };
        add("hexadecimal", hex::encode(&**bytes));
        add("HEXADECIMAL", hex::encode_upper(&**bytes));
        add("as a list of numbers", list(bytes, |byte| byte.to_string()));
        add("as a list of 0x…", list(bytes, |byte| format!("{byte:#x}")));
        for offset in 0..3 {
            add(&format!("base64 from offset {offset}"), base64(bytes, offset, &STANDARD_NO_PAD));
            add(&format!("base64url from offset {offset}"), base64(bytes, offset, &URL_SAFE_NO_PAD));
        }
    }
    for (sign, number) in numbers(key) {
        let text = decimal(&number);
        printed.push(Form { name: format!("{sign}decimal"), bytes: text.into_bytes().into() });
    }
    forms.append(&mut printed);
    forms
}

/// Half of each form, from either end: a part of a key is too much as well. (A third of the bits would be guessed from.)
pub fn halves(forms: Vec<Form>) -> Vec<Form> {
    let half = |form: &Form, name: &str, range: std::ops::Range<usize>| Form {
        name: format!("{}, {name} half", form.name),
        bytes: form.bytes[range].to_vec().into(),
    };
    let both = |form: &Form| {
        let len = form.bytes.len();
        [half(form, "first", 0..len / 2), half(form, "second", len / 2..len)]
    };
    forms.iter().flat_map(both).collect()
}

fn numbers(key: &SecretKey) -> [(&'static str, Zeroizing<[u8; 32]>); 2] {
    let scalar = *key.to_nonzero_scalar();
    [
        ("", Zeroizing::new(scalar.to_bytes().into())),
        ("negated, ", Zeroizing::new((-scalar).to_bytes().into())),
    ]
}

fn list(bytes: &[u8], show: impl Fn(&u8) -> String) -> String {
    bytes.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// What base64 makes of `bytes` when they stand `offset` bytes behind a multiple of three: the digits that depend on
/// nothing else.
fn base64(bytes: &[u8], offset: usize, engine: &impl Engine) -> String {
    let padded = [&[0; 2][..offset], bytes, &[0; 2]].concat();
    let text = engine.encode(padded);
    text[(offset * 8).div_ceil(6)..(offset + bytes.len()) * 8 / 6].to_owned()
}

fn decimal(number: &[u8; 32]) -> String {
    let (mut number, mut digits) = (Zeroizing::new(*number), Vec::new());
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u16;
        for byte in number.iter_mut() {
            let value = rest << 8 | u16::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    digits.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use k256::pkcs8::{EncodePrivateKey, LineEnding};

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_slice(&std::array::from_fn::<u8, 32, _>(|i| i as u8 + 1)).unwrap()
    }

    fn has(text: &str, name: &str) -> bool {
        let forms = all(&key());
        let form = forms.iter().find(|form| form.name == name).unwrap();
        text.as_bytes().windows(form.bytes.len()).any(|window| *window == **form.bytes)
    }

    #[test]
    fn each_way_to_print_a_key_is_one_of_the_forms() {
        let bytes: [u8; 32] = key().to_bytes().into();
        assert!(has(&hex::encode(bytes), "big-endian, hexadecimal"));
        assert!(has(&format!("{bytes:?}"), "big-endian, as a list of numbers"));
        let decimal = "455867356320691211509944977504407603390036387149619137164185182714736811808";
        assert!(has(decimal, "decimal"));
        for offset in 0..3 {
            let text = STANDARD_NO_PAD.encode([&[9; 5][..offset + 3], &bytes, &[8; 4]].concat());
            assert!(has(&text, &format!("big-endian, base64 from offset {offset}")), "{offset}");
        }
        let pem = key().to_pkcs8_pem(LineEnding::LF).unwrap().replace('\n', "");
        assert!((0..3).any(|offset| has(&pem, &format!("big-endian, base64 from offset {offset}"))), "{pem}");
    }

    #[test]
    fn limbs_are_told_apart() {
        let forms = in_memory(&key());
        let starts: Vec<_> = forms.iter().map(|form| form.bytes[0]).collect();
        assert_eq!(starts[..4], [1, 32, 4, 8]);
        assert_eq!(forms.len(), 8);
    }
}
