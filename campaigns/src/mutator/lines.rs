//! The judge of a journal that stems from a damaged ring: what it says is verified is verified again.

use std::collections::HashMap;

use cli::Failure;
use secp256k1::{Message, PublicKey, ecdsa, schnorr};
use sha2::{Digest, Sha256};

use crate::support::journal::{Journal, Line};
use crate::support::ledger::Ledger;
use crate::support::site::Site;

/// What the journal holds.
#[derive(Debug, Default)]
pub struct Lines {
    /// Lines that say verified, and are.
    pub verified: u64,
    /// Lines that say verified, and are not.
    pub wrong: u64,
    /// Lines that say verified by BIP340, over a message that is none of the ledgers': the mutator wrote into it as well as
    /// into its method, and who has only its digest can't tell.
    pub unknown: u64,
    /// What is to be said against it.
    pub complaints: Vec<String>,
}

/// Judges the journal of `site`.
///
/// # Errors
/// It can't be read, or a ledger can't.
pub fn judge(site: &Site, ledgers: &[Ledger]) -> Result<Lines, Failure> {
    let mut public = [0; 33];
    hex::decode_to_slice(site.public_key(), &mut public).map_err(Failure::environment)?;
    let key = PublicKey::from_byte_array_compressed(public).map_err(Failure::environment)?;
    let messages = messages(ledgers)?;
    let mut lines = Lines::default();
    let Some(mut journal) = Journal::open(&site.out())? else { return Ok(lines) };
    let mut last = None;
    while let Some(line) = journal.next()? {
        let line = match line {
            Ok(line) => line,
            Err(why) => {
                lines.complaints.push(why);
                continue;
            }
        };
        if last.is_some_and(|last| last >= line.seq) {
            lines.complaints.push(format!("the journal has sequence {} after {last:?}", line.seq));
        }
        last = Some(line.seq);
        if line.verified == Some(true) {
            match is_right(&key, &line, &messages) {
                Some(true) => lines.verified += 1,
                Some(false) => {
                    lines.wrong += 1;
                    lines.complaints.push(format!("sequence {} says verified, and is not", line.seq));
                }
                None => lines.unknown += 1,
            }
        }
    }
    Ok(lines)
}

/// Every line of the ledgers, by its digest.
fn messages(ledgers: &[Ledger]) -> Result<HashMap<[u8; 32], Vec<u8>>, Failure> {
    let mut messages = HashMap::new();
    for ledger in ledgers {
        let mut reader = ledger.reader()?;
        for position in 0..ledger.lines {
            if let Some(line) = reader.line(position)? {
                messages.insert(Sha256::digest(line).into(), line.to_vec());
            }
        }
    }
    Ok(messages)
}

/// Whether a line's signature is valid; `None` if that can't be told.
fn is_right(key: &PublicKey, line: &Line, messages: &HashMap<[u8; 32], Vec<u8>>) -> Option<bool> {
    let (mut digest, mut signature) = ([0; 32], [0; 64]);
    let decoded = hex::decode_to_slice(&line.message_sha256, &mut digest)
        .and_then(|()| hex::decode_to_slice(line.signature.as_deref().unwrap_or(""), &mut signature));
    match line.method.as_str() {
        _ if decoded.is_err() => Some(false),
        "ecdsa" => Some(
            ecdsa::Signature::from_compact(&signature)
                .is_ok_and(|signature| signature.verify(Message::from_digest(digest), key).is_ok()),
        ),
        "schnorr" => messages.get(&digest).map(|message| {
            let signature = schnorr::Signature::from_byte_array(signature);
            signature.verify(message, &key.x_only_public_key().0).is_ok()
        }),
        _ => Some(false),
    }
}
