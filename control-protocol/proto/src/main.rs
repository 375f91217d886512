//! Makes `control-protocol/src/generated/` from `ringseal/v1/control.proto`: the Rust code, the descriptors that reflection
//! serves, and the digests by which a test of the crate sees that the three belong together. No `protoc` is needed.
//!
//! ```text
//! cargo run --manifest-path control-protocol/proto/Cargo.toml            # after a change to the .proto
//! cargo run --manifest-path control-protocol/proto/Cargo.toml -- --check # are they what would be made?
//! ```

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};

const PROTO: &str = "ringseal/v1/control.proto";

/// What is generated. The digests come last: they cover the others.
const FILES: [&str; 3] = ["ringseal.v1.rs", "ringseal.v1.bin", "sha256sums"];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = here.join("../src/generated");
    let new = std::env::temp_dir().join(format!("ringseal-proto-{}", std::process::id()));
    fs::create_dir(&new)?;
    let result = generate(here, &new).and_then(|()| match std::env::args().nth(1).as_deref() {
        None => copy(&new, &committed),
        Some("--check") => compare(&new, &committed),
        Some(other) => Err(format!("unknown argument {other:?}; there is --check").into()),
    });
    fs::remove_dir_all(&new)?;
    result
}

fn generate(here: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut descriptors = protox::compile([PROTO], [here])?;
    // To JSON only; field names are those of the .proto.
    let serialize = "#[derive(serde::Serialize)]";
    tonic_prost_build::configure()
        .build_transport(false)
        .message_attribute(".", serialize)
        .enum_attribute(".", serialize)
        .out_dir(to)
        .compile_fds(descriptors.clone())?;
    // Comments and positions are for who reads the .proto.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(to.join(FILES[1]), descriptors.encode_to_vec())?;
    let mut digests = String::new();
    let inputs = [here.join(PROTO), to.join(FILES[0]), to.join(FILES[1])];
    for (path, name) in inputs.iter().zip(["control.proto", FILES[0], FILES[1]]) {
        let hex = Sha256::digest(fs::read(path)?)
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        writeln!(digests, "{hex}  {name}")?;
    }
    Ok(fs::write(to.join(FILES[2]), digests)?)
}

fn copy(new: &Path, committed: &Path) -> Result<(), Box<dyn Error>> {
    for name in FILES {
        fs::copy(new.join(name), committed.join(name))?;
    }
    Ok(())
}

fn compare(new: &Path, committed: &Path) -> Result<(), Box<dyn Error>> {
    for name in FILES {
        if fs::read(new.join(name))? != fs::read(committed.join(name))? {
            return Err(format!("{name} is not what would be made from {PROTO}: make it anew").into());
        }
    }
    Ok(())
}
