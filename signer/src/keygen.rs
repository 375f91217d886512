//! `signer keygen`: a new key, in a new file.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cli::Failure;
use k256::SecretKey;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::pkcs8::{EncodePrivateKey, LineEnding};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// Makes a key from the kernel's randomness, writes it to `path` as a PKCS#8 PEM that its owner alone can read, and
/// returns its public key in hexadecimal digits.
///
/// # Errors
/// The file exists, which is bad input, or can't be written.
pub(crate) fn generate(path: &Path) -> Result<String, Failure> {
    let secret =
        random_key().map_err(|error| Failure::environment(format_args!("no randomness: {error}")))?;
    let pem = secret
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| Failure::environment(format_args!("can't encode the key: {error}")))?;
    match write_new(path, pem.as_bytes()) {
        Ok(()) => Ok(public_key(&secret)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::bad_input(format_args!(
            "key file {}: it exists already, and a key that is overwritten is lost; choose another name",
            path.display()
        ))),
        Err(error) => Err(Failure::environment(format_args!("key file {}: {error}", path.display()))),
    }
}

/// The public key of `secret`: compressed SEC1, in hexadecimal digits.
pub(crate) fn public_key(secret: &SecretKey) -> String {
    hex::encode(secret.public_key().to_sec1_point(true).as_bytes())
}

fn random_key() -> io::Result<SecretKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        let len = getrandom(&mut *bytes, GetRandomFlags::empty())?;
        // One number in 2¹²⁸ is none.
        if let (32, Ok(secret)) = (len, SecretKey::from_slice(&*bytes)) {
            return Ok(secret);
        }
    }
}

/// Writes a file of mode 0600 that was not there before; what is half-written is removed again.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}
