//! The protocol, as generated from `control-protocol/proto/ringseal/v1/control.proto`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    reason = "generated code; see control-protocol/proto/src/main.rs"
)]

include!("generated/ringseal.v1.rs");

/// The descriptors, for reflection.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!("generated/ringseal.v1.bin");

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    /// Cheaper than generating them again, and as good as long as nobody writes digests by hand.
    #[test]
    fn generated_files_are_those_of_the_proto() {
        let files: [(&str, &[u8]); 3] = [
            ("control.proto", include_bytes!("../proto/ringseal/v1/control.proto")),
            ("ringseal.v1.rs", include_bytes!("generated/ringseal.v1.rs")),
            ("ringseal.v1.bin", super::DESCRIPTORS),
        ];
        let digest =
            |(name, bytes): &(&str, &[u8])| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
        let found: String = files.iter().map(digest).collect();
        let committed = include_str!("generated/sha256sums");
        assert_eq!(found, committed, "run: cargo run --manifest-path control-protocol/proto/Cargo.toml");
    }
}
