//! The loop that signatures are timed in: batches through an extension, on any runtime.

use std::time::{Duration, Instant};

use extension_engine::{Batch, ExtensionEngine, ExtensionKind, Module, Runtime, Settings, Variant, compile};

/// What goes wrong here ends the run.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a message.
pub const MESSAGE_LEN: usize = 64;

/// Messages that take turns: so many that neither the processor's caches nor its branch predictors know the next one's way
/// through the tables. (With 64 of them libsecp256k1 verified in 30.7 µs, where it takes 32.7.)
pub const MESSAGES: usize = 1024;

/// The key that everybody signs with: it guards nothing.
pub const SECRET: [u8; 32] = *b"a key that is known to everybody";

/// Message `i`: no two are alike.
pub fn message(i: usize) -> [u8; MESSAGE_LEN] {
    let mut message = [0x5a; MESSAGE_LEN];
    message[..8].copy_from_slice(&(i as u64).to_le_bytes());
    message
}

/// Whether SHA-256 was built without the processor's instructions for it.
pub const IS_SOFT: bool = cfg!(sha2_backend = "soft");

/// Nanoseconds that SHA-256 of a message takes here: tells whether the build is what it says.
pub fn sha256_ns() -> f64 {
    use sha2::{Digest, Sha256};
    let mut message = message(0);
    let started = Instant::now();
    const TIMES: u32 = 20_000;
    for _ in 0..TIMES {
        let digest = Sha256::digest(message);
        message[..32].copy_from_slice(&digest);
    }
    std::hint::black_box(message);
    started.elapsed().as_nanos() as f64 / f64::from(TIMES)
}

/// An extension with its key, and batches for it.
pub struct Signing {
    engine: Box<dyn ExtensionEngine>,
    batch: Batch,
    kind: ExtensionKind,
    records: usize,
    public_key: Vec<u8>,
    /// For verifying: what to verify, by message.
    signatures: Vec<Vec<u8>>,
    next: usize,
}

impl Signing {
    /// Extension `scheme` on `runtime`, in `variant` where it runs modules, to run `records` at a time. Signs, or with
    /// `signatures` (by message) verifies.
    pub fn new(
        runtime: Runtime,
        variant: Option<Variant>,
        scheme: &str,
        records: usize,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let module = variant.map(|variant| Module::built_in(scheme, variant)).transpose()?;
        let program = compile(runtime, scheme, module.as_ref(), &Settings::default())?;
        let mut engine = program.instantiate()?;
        let public_key = engine.set_key(&SECRET)?;
        let kind = if signatures.is_empty() { ExtensionKind::Sign } else { ExtensionKind::Verify };
        let batch = Batch::new(records, MESSAGE_LEN, 64)?;
        Ok(Self { engine, batch, kind, records, public_key, signatures, next: 0 })
    }

    fn batch(&mut self) -> Result<(), Error> {
        self.batch.clear();
        for i in 0..self.records {
            let message = message((self.next + i) % MESSAGES);
            match self.signatures.get((self.next + i) % MESSAGES) {
                Some(signature) => self.batch.push_verify(&message, signature, &self.public_key)?,
                None => self.batch.push(MESSAGE_LEN, |room| room.copy_from_slice(&message))?,
            };
        }
        self.next = (self.next + self.records) % MESSAGES;
        self.engine.run(self.kind, &mut self.batch)?;
        for i in 0..self.records {
            self.batch.status(i)?;
        }
        Ok(self.engine.reset()?)
    }

    /// How long so many batches take, from messages to signatures, with what follows each batch. An error if one of them
    /// fails.
    pub fn time(&mut self, batches: usize) -> Result<Duration, Error> {
        let started = Instant::now();
        for _ in 0..batches {
            self.batch()?;
        }
        Ok(started.elapsed())
    }

    /// Signs every message. Untimed, for who wants to see that it is done right.
    pub fn sign_all(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        self.next = 0;
        let mut signatures = Vec::with_capacity(MESSAGES);
        while signatures.len() < MESSAGES {
            self.batch()?;
            signatures.extend((0..self.records).map(|i| self.batch.output(i).to_vec()));
        }
        signatures.truncate(MESSAGES);
        Ok(signatures)
    }

    /// Whether a signature with one wrong bit is refused.
    pub fn refuses_wrong_ones(&mut self) -> Result<bool, Error> {
        let Some(mut wrong) = self.signatures.first().cloned() else { return Ok(true) };
        wrong[40] ^= 1;
        self.batch.clear();
        self.batch.push_verify(&message(0), &wrong, &self.public_key)?;
        self.engine.run(ExtensionKind::Verify, &mut self.batch)?;
        let refused = self.batch.status(0).is_err();
        self.engine.reset()?;
        Ok(refused)
    }
}
