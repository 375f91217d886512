//! Holds the journal of a trial against what must become of each record.

use std::collections::BTreeMap;
use std::path::Path;

use secp256k1::{Message, PublicKey, ecdsa};
use sha2::{Digest, Sha256};

use super::exhibits::{Failure, Fate};
use crate::support::journal::{Journal, Line};
use crate::support::judge::parse_key;

/// What a trial asked for.
pub struct Asked<'a> {
    /// The messages, in order.
    pub messages: &'a [Vec<u8>],
    /// What must become of guilty ones.
    pub fate: &'a Fate,
    /// Whether the signer looks at what it signs before it lets go of it.
    pub verifies: bool,
    /// Whether a module that takes too long takes its worker along.
    pub dies_for_time: bool,
    /// The first eight bytes of the module's SHA-256, and the runtime.
    pub origin: (&'a str, &'a str),
}

/// The status of a record whose signers have all died, in the journal.
const EXHAUSTED: &str = "Exhausted";

/// The status of a record whose signature the signer didn't let go of.
const NOT_VERIFIED: &str = "NotVerified";

/// Whether a message is meant to do harm.
pub fn is_guilty(message: &[u8]) -> bool {
    message.starts_with(b"EVIL")
}

/// How many records a batch had, and how many of them were guilty.
type Batch = (u32, u32);

impl Asked<'_> {
    /// What is wrong with the consumer's folder `out`; and the batches with guilty records that it shows.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn complaints(
        &self,
        out: &Path,
        public_key: &str,
    ) -> Result<(Vec<String>, Vec<Batch>), cli::Failure> {
        let mut complaints = Vec::new();
        // By when they were claimed.
        let mut batches = BTreeMap::<u64, Batch>::new();
        let mut next = 0;
        let key = parse_key(public_key)?;
        if let Some(mut journal) = Journal::open(out)? {
            while let Some(line) = journal.next()? {
                match line {
                    Err(why) => complaints.push(why),
                    Ok(line) => {
                        if line.position != next {
                            complaints.push(format!("position {} comes where {next} should", line.position));
                        }
                        next = line.position + 1;
                        let message = self.messages.get(line.position as usize);
                        let batch = batches.entry(line.times.claimed_ns).or_default();
                        batch.0 += 1;
                        batch.1 += u32::from(message.is_some_and(|message| is_guilty(message)));
                        if let Err(why) = self.judge(&line, &key) {
                            complaints.push(format!("line {}: {why}", line.position));
                        }
                    }
                }
            }
        }
        if next != self.messages.len() as u64 {
            complaints.push(format!("{next} lines of {}", self.messages.len()));
        }
        Ok((complaints, batches.into_values().filter(|batch| batch.1 > 0).collect()))
    }

    fn judge(&self, line: &Line, key: &PublicKey) -> Result<(), String> {
        let message = self.messages.get(line.position as usize).ok_or("nobody asked for it")?;
        let digest = Sha256::digest(message);
        if line.message_sha256 != hex::encode(digest) {
            return Err("its message is another one".into());
        }
        let is_valid = is_signed(line, digest.into(), key);
        if line.verified == Some(true) && !is_valid {
            return Err("the consumer says verified, and the signature is not valid".into());
        }
        let status = line.status.as_deref();
        if status != Some(EXHAUSTED) && (line.module.as_str(), line.runtime.as_str()) != self.origin {
            let (module, runtime) = (&line.module, &line.runtime);
            return Err(format!("it says that module {module:?} signed it on {runtime:?}"));
        }
        let is_signed = line.verified == Some(true) && status.is_none();
        let is_seen_to_be_wrong =
            if self.verifies { status == Some(NOT_VERIFIED) } else { line.verified == Some(false) };
        let is_as_it_should_be = match self.fate {
            Fate::Spoils => is_signed || is_seen_to_be_wrong || status.is_some(),
            _ if !is_guilty(message) => is_signed,
            Fate::Signed => is_signed,
            Fate::Fails(failures) => failures.iter().any(|failure| match failure {
                Failure::Deadline if self.dies_for_time => status == Some(EXHAUSTED),
                failure => status == Some(failure.status()),
            }),
            Fate::Says(expected) => status == Some(expected),
            Fate::Wrong => is_seen_to_be_wrong,
            Fate::Refused => false,
        };
        if is_as_it_should_be {
            return Ok(());
        }
        let who = if is_guilty(message) { "guilty" } else { "a neighbour" };
        Err(format!("{who}: status {status:?}, verified {:?}; should be {:?}", line.verified, self.fate))
    }
}

fn is_signed(line: &Line, digest: [u8; 32], key: &PublicKey) -> bool {
    let mut signature = [0; 64];
    hex::decode_to_slice(line.signature.as_deref().unwrap_or(""), &mut signature).is_ok()
        && ecdsa::Signature::from_compact(&signature)
            .is_ok_and(|signature| signature.verify(Message::from_digest(digest), key).is_ok())
}
