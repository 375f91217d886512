//! The group `sign`: a signature, and a verification, by whatever can make one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bench_signing::{MESSAGES, SECRET, Signing, message};
use extension_engine::{Runtime, Variant};
use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::sha2::{Digest, Sha256};

use crate::measure::{Case, Contender, Metric, Values, alternate};
use crate::process::Peer;
use crate::report::Group;
use crate::{Plan, Result};

/// The signature schemes.
const SCHEMES: [&str; 2] = ["ecdsa", "schnorr"];

/// What all of them must make of the messages, as libsecp256k1 does, which shares no code with the others.
fn known_signatures(scheme: &str) -> Result<Vec<Vec<u8>>> {
    let library = Secp256k1::new()?;
    (0..MESSAGES).map(|i| Ok(library.sign(scheme, &message(i)).to_vec())).collect()
}

/// How many batches of so many records to time, for about so long a time at so many nanoseconds each.
struct Length {
    batches: usize,
    records: usize,
    /// Samples are as long as this, once it is known how long a batch takes.
    wanted: Duration,
}

impl Length {
    fn new(plan: &Plan, records: usize) -> Self {
        Self { batches: 1, records, wanted: plan.pick(Duration::from_millis(40), Duration::ZERO) }
    }

    fn values(&mut self, took: Duration) -> Values {
        let values =
            Values::from([("time", took.as_nanos() as f64 / 1000.0 / (self.batches * self.records) as f64)]);
        let each = took.as_secs_f64() / self.batches as f64;
        self.batches = ((self.wanted.as_secs_f64() / each.max(1e-9)) as usize).max(1);
        values
    }
}

/// The engine, in this process.
struct Extension {
    name: String,
    signing: Signing,
    length: Length,
}

impl Contender for Extension {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn sample(&mut self) -> Result<Values> {
        let took = self.signing.time(self.length.batches)?;
        Ok(self.length.values(took))
    }
}

/// The native engine in a process of its own, built without SHA instructions.
struct Soft {
    peer: Peer,
    length: Length,
}

impl Contender for Soft {
    fn name(&self) -> String {
        SOFT.into()
    }

    fn sample(&mut self) -> Result<Values> {
        self.peer.tell(&self.length.batches.to_string())?;
        let took = Duration::from_nanos(self.peer.hear()?);
        Ok(self.length.values(took))
    }
}

/// What a library is called for, one message at a time.
struct Library<'a> {
    name: &'static str,
    run: Box<dyn FnMut(usize) -> bool + 'a>,
    length: Length,
}

impl Contender for Library<'_> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn sample(&mut self) -> Result<Values> {
        let started = Instant::now();
        for i in 0..self.length.batches * self.length.records {
            if !(self.run)(i % MESSAGES) {
                return Err(format!("message {} came out wrong", i % MESSAGES).into());
            }
        }
        Ok(self.length.values(started.elapsed()))
    }
}

/// libsecp256k1.
pub(crate) struct Secp256k1 {
    secret: secp256k1::SecretKey,
    pair: secp256k1::Keypair,
    public: secp256k1::PublicKey,
}

impl Secp256k1 {
    pub fn new() -> Result<Self> {
        let secret = secp256k1::SecretKey::from_secret_bytes(SECRET)?;
        let pair = secp256k1::Keypair::from_secret_key(&secret);
        Ok(Self { secret, pair, public: secp256k1::PublicKey::from_secret_key(&secret) })
    }

    pub fn sign(&self, scheme: &str, message: &[u8]) -> [u8; 64] {
        if scheme == "ecdsa" {
            let digest = secp256k1::Message::from_digest(Sha256::digest(message).into());
            secp256k1::ecdsa::sign(digest, &self.secret).serialize_compact()
        } else {
            secp256k1::schnorr::sign_no_aux_rand(message, &self.pair).to_byte_array()
        }
    }

    pub fn verify(&self, scheme: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        if scheme == "ecdsa" {
            let digest = secp256k1::Message::from_digest(Sha256::digest(message).into());
            let signature = secp256k1::ecdsa::Signature::from_compact(signature);
            signature.is_ok_and(|signature| signature.verify(digest, &self.public).is_ok())
        } else {
            let signature = secp256k1::schnorr::Signature::from_byte_array(*signature);
            signature.verify(message, &self.public.x_only_public_key().0).is_ok()
        }
    }
}

/// The k256 crate's own interface.
struct K256 {
    ecdsa: k256::ecdsa::SigningKey,
    schnorr: k256::schnorr::SigningKey,
}

impl K256 {
    fn new() -> Result<Self> {
        Ok(Self {
            ecdsa: k256::ecdsa::SigningKey::from_slice(&SECRET)?,
            schnorr: k256::schnorr::SigningKey::from_slice(&SECRET)?,
        })
    }

    fn sign(&self, scheme: &str, message: &[u8]) -> Option<[u8; 64]> {
        if scheme == "ecdsa" {
            let signature: k256::ecdsa::Signature = self.ecdsa.sign_prehash(&Sha256::digest(message)).ok()?;
            Some(signature.to_bytes().into())
        } else {
            self.schnorr.sign_raw(message, &[0; 32]).ok()?.to_bytes().as_slice().try_into().ok()
        }
    }

    fn verify(&self, scheme: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        if scheme == "ecdsa" {
            let signature = k256::ecdsa::Signature::from_slice(signature);
            let digest = Sha256::digest(message);
            signature.is_ok_and(|s| self.ecdsa.verifying_key().verify_prehash(&digest, &s).is_ok())
        } else {
            let signature = k256::schnorr::Signature::from_slice(signature);
            signature.is_ok_and(|s| self.schnorr.verifying_key().verify_raw(message, &s).is_ok())
        }
    }
}

const NATIVE: &str = "ringseal native";
const SOFT: &str = "ringseal native, software SHA";
const LIBRARY: &str = "libsecp256k1";

/// Measures the group. `soft`: the program that was built without SHA instructions.
pub fn run(plan: &Plan, soft: Option<&Path>) -> Result<Group> {
    let mut group = Group { name: "sign", ..Group::default() };
    group.notes.push(
        "One thread, not pinned, messages of 64 bytes, the key loaded once; from messages to signatures, and for extensions with the reset that follows a batch. The libraries have no batches: their lines are the same in both. `software SHA` is built without the processor's SHA instructions, which WebAssembly doesn't have. To verify, an extension is given the public key with each signature, while the libraries have parsed it before."
            .into(),
    );
    if soft.is_none() {
        group.skipped.push("native with software SHA: it was not built (run.sh does that)".into());
    }
    for runtime in Runtime::ALL {
        if let Err(error) = runtime.is_available() {
            group.skipped.push(error.to_string());
        }
    }
    for scheme in SCHEMES {
        let known = known_signatures(scheme)?;
        for verifies in [false, true] {
            for records in [1, 64] {
                let contenders = contenders(plan, scheme, verifies, records, &known, soft, &mut group.notes)?;
                let what = if verifies { "verify" } else { "sign" };
                let how =
                    if records == 1 { "one at a time".into() } else { format!("in batches of {records}") };
                let references = [NATIVE, SOFT, LIBRARY].map(str::to_owned).to_vec();
                let case = Case {
                    title: format!("{scheme}, {what}, {how}"),
                    metrics: vec![Metric::compared("time", "µs")],
                    references,
                    notes: vec![],
                };
                group.tables.push(alternate(case, contenders, plan, None)?);
            }
        }
    }
    Ok(group)
}

fn contenders<'a>(
    plan: &Plan,
    scheme: &'static str,
    verifies: bool,
    records: usize,
    known: &'a [Vec<u8>],
    soft: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Contender + 'a>>> {
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    let given = if verifies { known.to_vec() } else { Vec::new() };
    let signatures: Vec<[u8; 64]> =
        known.iter().map(|s| s.as_slice().try_into()).collect::<std::result::Result<_, _>>()?;
    let (k256, secp256k1) = (K256::new()?, Secp256k1::new()?);
    let expected = signatures.clone();
    contenders.push(Box::new(Library {
        name: "k256",
        run: Box::new(move |i| match verifies {
            true => k256.verify(scheme, &message(i), &expected[i]),
            false => k256.sign(scheme, &message(i)) == Some(expected[i]),
        }),
        length: Length::new(plan, records),
    }));
    contenders.push(Box::new(Library {
        name: LIBRARY,
        run: Box::new(move |i| match verifies {
            true => secp256k1.verify(scheme, &message(i), &signatures[i]),
            false => secp256k1.sign(scheme, &message(i)) == signatures[i],
        }),
        length: Length::new(plan, records),
    }));
    for runtime in Runtime::ALL.into_iter().filter(|runtime| runtime.is_available().is_ok()) {
        let variants: Vec<Option<Variant>> = match runtime {
            Runtime::Native => vec![None],
            _ => Variant::ALL.into_iter().filter(|v| runtime.supports(*v)).map(Some).collect(),
        };
        for variant in variants {
            let name = variant.map_or(NATIVE.to_owned(), |variant| format!("ringseal {runtime} {variant}"));
            let mut signing = Signing::new(runtime, variant, scheme, records, given.clone())?;
            if !verifies && signing.sign_all()? != known {
                return Err(format!("{name} makes other {scheme} signatures than libsecp256k1").into());
            }
            if !signing.refuses_wrong_ones()? {
                return Err(format!("{name} takes a wrong {scheme} signature").into());
            }
            contenders.push(Box::new(Extension { name, signing, length: Length::new(plan, records) }));
        }
    }
    if let Some(program) = soft {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut command = Command::new(program);
        command.arg(scheme).arg(records.to_string()).args(given.iter().map(|signature| hex(signature)));
        let mut peer = Peer::start_command(SOFT, &mut command)?;
        let (is_soft, sha256_ns, made): (bool, f64, Vec<String>) = peer.hear()?;
        if !is_soft {
            return Err(format!("{} was built with SHA instructions", program.display()).into());
        }
        if !verifies && made != known.iter().map(|signature| hex(signature)).collect::<Vec<_>>() {
            return Err(format!("{SOFT} makes other {scheme} signatures than libsecp256k1").into());
        }
        if notes.len() == 1 {
            let ours = bench_signing::sha256_ns();
            notes.push(format!(
                "SHA-256 of a message takes {ours:.0} ns as shipped, {sha256_ns:.0} ns with software SHA."
            ));
        }
        contenders.push(Box::new(Soft { peer, length: Length::new(plan, records) }));
    }
    Ok(contenders)
}
