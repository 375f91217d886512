//! A signer that a guilty message kills.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use cli::{Exit, Failure};
use k256::ecdsa::signature::Signer as _;
use k256::ecdsa::{Signature, SigningKey};
use k256::pkcs8::DecodePrivateKey;
use rustix::process::{Signal, getpid, kill_process};
use shmem_layout::{Answer, Claims, RingPath, Waiting, attach, now_ns};

/// Records that it claims at once: as many as the shipped worker.
const BATCH: usize = 64;

/// What it is told.
#[derive(Args)]
pub struct Options {
    #[arg(long)]
    ring: RingPath,
    #[arg(long)]
    key: PathBuf,
    /// Positions of the messages that kill
    #[arg(long, value_delimiter = ',')]
    guilty: Vec<u64>,
}

/// Signs until the stream is answered or a guilty message comes.
///
/// # Errors
/// Key or ring can't be used.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let pem = fs::read_to_string(&options.key).map_err(Failure::environment)?;
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(Failure::environment)?;
    let guilty: BTreeSet<u64> = options.guilty.iter().copied().collect();
    let ring = attach(&options.ring).map_err(Failure::environment)?;
    let mut signer = ring.join_signer().map_err(Failure::environment)?;
    let (mut claims, mut batch) = (Vec::new(), Vec::new());
    while signer.claim(BATCH, &mut claims, &Waiting::default()).map_err(Failure::environment)? == Claims::Some
    {
        let claimed_ns = now_ns();
        for claim in claims.drain(..) {
            let mut message = vec![0; signer.request(&claim).message_len];
            signer.copy_message(&claim, &mut message);
            if position_of(&message).is_some_and(|position| guilty.contains(&position)) {
                die();
            }
            batch.push((claim, message));
        }
        for (claim, message) in batch.drain(..) {
            let signature: Signature = key.sign(&message);
            signer.answer(claim, &answer(&signature.to_bytes(), claimed_ns));
        }
        signer.flush();
    }
    Ok(Exit::Done)
}

/// A line of a ledger begins with its source and its position.
fn position_of(message: &[u8]) -> Option<u64> {
    std::str::from_utf8(message).ok()?.split(' ').nth(1)?.parse().ok()
}

/// As an extension dies that takes its host with it.
fn die() {
    let _ = kill_process(getpid(), Signal::KILL);
}

fn answer(signature: &[u8], claimed_ns: u64) -> Answer<'_> {
    Answer { status: 0, signature, claimed_ns, signed_ns: now_ns(), module_id: 0, generation: 1, runtime: 1 }
}
