//! The journal: one JSON object a line, one line a record, in the ring's order.
//!
//! Whatever the other files say of a record must stand in its line: see [`replay`](crate::replay).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};

use cli::{Method, SignerStatus};
use extension_engine::Status;
use serde::Serialize;
use shmem_layout::{HAS_FAILPOINTS, failpoint};

use crate::encoding::{Encoding, push_hex};
use crate::record::{Outcome, Record, Times};
use crate::trusted_key::TrustedKey;

/// Appends records to a file or pipe.
pub struct Journal {
    file: File,
    encoding: Encoding,
    public_keys: Vec<PublicKey>,
    lines: Vec<u8>,
    text: Text,
}

/// The name that the extensions' ABI or the signer gives `status`; its number, if it has none.
fn status_name(status: i32) -> String {
    match (Status::from_raw(status), SignerStatus::from_raw(status)) {
        (Some(status), _) => format!("{status:?}"),
        (None, Some(status)) => format!("{status:?}"),
        (None, None) => status.to_string(),
    }
}

/// A trusted key in hexadecimal, as each method uses it.
struct PublicKey {
    compressed: String,
    x_only: String,
}

/// Text of one record; kept so that it is allocated once.
#[derive(Default)]
struct Text {
    message_sha256: String,
    signature: String,
    module: String,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    source: &'a str,
    position: u64,
    method: &'static str,
    message_bytes: usize,
    message_sha256: &'a str,
    /// Null where there is none: the signer failed, or the method is `null`.
    signature: Option<&'a str>,
    encoding: &'static str,
    /// The key that verifies the signature, and the first one that was given if none does; null when none was given, or
    /// the method has none.
    public_key: Option<&'a str>,
    /// Null when nobody looked.
    verified: Option<bool>,
    /// Why there is no signature; left out where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Cow<'static, str>>,
    module: &'a str,
    generation: u32,
    runtime: &'static str,
    times: Times,
}

impl Journal {
    /// A journal at the end of `file`, with signatures in `encoding`, for a consumer that trusts `keys`.
    pub fn new(file: File, encoding: Encoding, keys: &[TrustedKey]) -> Self {
        let public_key = |key: &TrustedKey| PublicKey {
            compressed: hex::encode(key.compressed()),
            x_only: hex::encode(key.x_only()),
        };
        let public_keys = keys.iter().map(public_key).collect();
        Self { file, encoding, public_keys, lines: Vec::new(), text: Text::default() }
    }

    /// Appends a line for each record that is one, and returns their bytes. When it returns, the kernel has the lines:
    /// killing this process loses none.
    ///
    /// All lines go out in one write, unless a signal or a pipe cuts it.
    ///
    /// # Errors
    /// The file can't be written; its last line may then lack its end. [`io::ErrorKind::BrokenPipe`]: the reader
    /// of the pipe has gone.
    pub fn append(&mut self, records: &[Record]) -> io::Result<u64> {
        self.lines.clear();
        for record in records.iter().filter(|record| record.outcome != Outcome::Void) {
            self.push_line(record)?;
        }
        if HAS_FAILPOINTS {
            let (torn, rest) = self.lines.split_at(self.lines.len() / 2);
            self.file.write_all(torn)?;
            failpoint("journal: torn");
            self.file.write_all(rest)?;
        } else {
            self.file.write_all(&self.lines)?;
        }
        failpoint("journal: appended");
        Ok(self.lines.len() as u64)
    }

    fn push_line(&mut self, record: &Record) -> io::Result<()> {
        self.text.message_sha256.clear();
        push_hex(&mut self.text.message_sha256, &record.message_sha256);
        self.text.module.clear();
        push_hex(&mut self.text.module, &record.module);
        let encoding = self.encoding.write(record.method, &record.signature, &mut self.text.signature);
        let line = Line {
            seq: record.sequence,
            source: &record.source,
            position: record.position,
            method: record.method.name(),
            message_bytes: record.message.len(),
            message_sha256: &self.text.message_sha256,
            signature: Some(self.text.signature.as_str()).filter(|text| !text.is_empty()),
            encoding: encoding.name(),
            public_key: self.public_keys.get(record.key).and_then(|key| key.used_by(record.method)),
            verified: match record.outcome {
                Outcome::Verified => Some(true),
                Outcome::NotVerified => Some(false),
                _ => None,
            },
            status: match record.outcome {
                Outcome::Failed(status) => Some(Cow::Owned(status_name(status))),
                Outcome::Exhausted => Some(Cow::Borrowed("Exhausted")),
                _ => None,
            },
            module: &self.text.module,
            generation: record.generation,
            runtime: record.runtime,
            times: record.times,
        };
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.push(b'\n');
        Ok(())
    }
}

impl PublicKey {
    fn used_by(&self, method: Method) -> Option<&str> {
        match method {
            Method::Ecdsa => Some(&self.compressed),
            Method::Schnorr => Some(&self.x_only),
            Method::Null => None,
        }
    }
}
