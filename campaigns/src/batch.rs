//! Signatures made in batches, by the extensions' own glue, against those that k256 makes of each message alone.
//!
//! Keys, messages and sizes of batches are drawn anew for each batch. Every case is signed natively, and a share of them on each of
//! the other runtimes, in each variant that it has: they run the same source, by other compilers.

use clap::Args;
use cli::{Exit, Failure};
use extension_engine::{Batch, ExtensionEngine, ExtensionKind, Module, Runtime, Settings, Variant, compile};
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::{ecdsa, schnorr};
use sha2::{Digest, Sha256};

use crate::support::rng::Rng;
use crate::support::session::{Common, Session};

/// What the campaign is told.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages that are signed by each method, native code signing them all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    cases: u64,
    /// Who signs them
    #[arg(long, value_name = "RUNTIMES", value_delimiter = ',', default_value = "native,wasmtime,wasmi")]
    runtimes: Vec<Runtime>,
}

/// Records of the largest batches: more than share an inversion, twice.
const RECORDS_MAX: u64 = 67;

/// Bytes of the longest messages.
const MESSAGE_LEN_MAX: u64 = 200;

/// How many complaints are told in words.
const TOLD_MAX: u64 = 10;

/// One implementation of one method, and how many of its signatures were compared.
struct Subject {
    label: String,
    engine: Box<dyn ExtensionEngine>,
    /// It signs one batch of so many.
    share: u64,
    compared: u64,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("batch", &options.common)?;
    let mut rng = session.rng();
    let mut counts = Vec::new();
    let (mut batches, mut different) = (0, 0);
    for method in ["ecdsa", "schnorr"] {
        let mut subjects = subjects(method, &options.runtimes)?;
        let (mut cases, mut batch_index) = (0, 0);
        while cases < options.cases {
            let count = rng.within(1..RECORDS_MAX + 1).min(options.cases - cases);
            different += give_batch(&session, method, &mut subjects, &mut rng, count, batch_index)?;
            cases += count;
            batch_index += 1;
        }
        batches += batch_index;
        let each = subjects.iter().map(|subject| format!("{} {}", subject.label, subject.compared));
        counts.push(format!("{method}: {}", each.collect::<Vec<_>>().join(", ")));
    }
    session.finish(format_args!(
        "{batches} batches of 1 to {RECORDS_MAX} records, compared with k256's signature of each alone: {}; {different} differ",
        counts.join(" | ")
    ))
}

/// Who signs by `method`: native code, and modules.
fn subjects(method: &str, runtimes: &[Runtime]) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    for &runtime in runtimes {
        let variants = Variant::ALL.into_iter().filter(|variant| runtime.supports(*variant)).map(Some);
        let natively = (runtime == Runtime::Native).then_some(None);
        for variant in natively.into_iter().chain(variants) {
            let module = variant.map(|variant| Module::built_in(method, variant)).transpose();
            let module = module.map_err(Failure::bad_input)?;
            let engine = compile(runtime, method, module.as_ref(), &Settings::default())
                .and_then(|program| program.instantiate())
                .map_err(Failure::bad_input)?;
            subjects.push(Subject {
                label: variant.map_or(runtime.to_string(), |variant| format!("{runtime}.{variant}")),
                engine,
                // As slow as they are, so many times rarer.
                share: match runtime {
                    Runtime::Native => 1,
                    Runtime::Wasmtime => 10,
                    Runtime::Wasmi => 100,
                    Runtime::Wasm3 => 300,
                },
                compared: 0,
            });
        }
    }
    Ok(subjects)
}

/// Draws a key and `count` messages, has them signed, and says how many signatures are other ones than k256's.
fn give_batch(
    session: &Session,
    method: &str,
    subjects: &mut [Subject],
    rng: &mut Rng,
    count: u64,
    batch_index: u64,
) -> Result<u64, Failure> {
    let secret = draw_key(rng);
    let mut batch = Batch::new(count as usize, MESSAGE_LEN_MAX as usize, 64).map_err(Failure::environment)?;
    for _ in 0..count {
        let len = rng.within(0..MESSAGE_LEN_MAX + 1) as usize;
        let fill = |message: &mut [u8]| message.fill_with(|| rng.next() as u8);
        batch.push(len, fill).map_err(Failure::environment)?;
    }
    let expected = sign_alone(method, &secret, &batch)?;
    let mut different = 0;
    for subject in subjects.iter_mut().filter(|subject| batch_index.is_multiple_of(subject.share)) {
        subject.engine.set_key(&secret).map_err(Failure::failed)?;
        subject.engine.run(ExtensionKind::Sign, &mut batch).map_err(Failure::failed)?;
        for (i, expected) in expected.iter().enumerate() {
            subject.compared += 1;
            if batch.output(i) != expected {
                different += 1;
                if session.complaints() < TOLD_MAX {
                    session.complain(format_args!(
                        "{method} on {}: record {i} of {count} in batch {batch_index}: {}, status {:?}, instead of {}",
                        subject.label,
                        hex::encode(batch.output(i)),
                        batch.status(i),
                        hex::encode(expected)
                    ));
                }
            }
        }
        subject.engine.reset().map_err(Failure::failed)?;
    }
    Ok(different)
}

/// A key that is one: all but a few of 2^128 strings are.
fn draw_key(rng: &mut Rng) -> [u8; 32] {
    loop {
        let mut secret = [0; 32];
        secret.fill_with(|| rng.next() as u8);
        if ecdsa::SigningKey::from_slice(&secret).is_ok() {
            return secret;
        }
    }
}

/// What k256 makes of each message alone.
fn sign_alone(method: &str, secret: &[u8], batch: &Batch) -> Result<Vec<[u8; 64]>, Failure> {
    let messages = (0..batch.len()).map(|i| batch.message(i));
    let signed: Result<Vec<_>, _> = if method == "ecdsa" {
        ecdsa::SigningKey::from_slice(secret).and_then(|key| {
            let sign =
                |message| -> Result<ecdsa::Signature, _> { key.sign_prehash(&Sha256::digest(message)) };
            messages.map(|message| sign(message).map(|signature| signature.to_bytes().into())).collect()
        })
    } else {
        schnorr::SigningKey::from_slice(secret).and_then(|key| {
            messages.map(|message| key.sign_raw(message, &[0; 32]).map(|signed| signed.to_bytes())).collect()
        })
    };
    signed.map_err(Failure::environment)
}
