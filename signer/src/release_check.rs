//! Verify before release: no signature leaves a worker that its own public key doesn't verify.
//!
//! A module that signs wrongly, by a bug or a fault of the machine, may give its key away with one signature. So the
//! worker verifies what it is about to publish, over its private copy of the message, with the native scheme: nothing of
//! the module under suspicion takes part, nor does the ring, which others write.

use clap::Args;
use cli::{Failure, Method};
use extension_engine::{Batch, EngineError, ExtensionEngine, ExtensionKind, Runtime, Settings, compile};
use k256::ecdsa::Signature;

use crate::key::Key;
use crate::status;

/// Whether to check.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ReleaseCheckOptions {
    /// Verify each signature before the consumer gets it; a record whose signature is wrong fails
    ///
    /// By the native scheme, over the worker's private copy of the message: some 70 µs more a record
    #[arg(long, help_heading = "Signing")]
    verify_before_release: bool,
}

impl ReleaseCheckOptions {
    /// The arguments that say the same.
    pub(crate) fn to_arguments(self) -> Option<&'static str> {
        self.verify_before_release.then_some("--verify-before-release")
    }
}

/// See the module. Without its flag it releases everything.
#[derive(Default)]
pub(crate) struct ReleaseCheck {
    verifiers: Vec<Verifier>,
    /// The records of the batch that was looked at last whose signatures are held back, in ascending order.
    held_back: Vec<usize>,
}

impl ReleaseCheck {
    /// A check of signatures by `key`, in batches of at most `records_max` for messages and signatures of at most `lens`
    /// bytes.
    ///
    /// # Errors
    /// The environment's: there is no memory for such a batch.
    pub fn new(
        options: ReleaseCheckOptions,
        key: &Key,
        records_max: usize,
        lens: (usize, usize),
    ) -> Result<Self, Failure> {
        if !options.verify_before_release {
            return Ok(Self::default());
        }
        let verifier = |method| Verifier::new(method, key, records_max, lens);
        let verifiers = [Method::Ecdsa, Method::Schnorr].map(verifier).into_iter().collect::<Result<_, _>>();
        Ok(Self {
            verifiers: verifiers.map_err(Failure::environment)?,
            held_back: Vec::with_capacity(records_max),
        })
    }

    /// Verifies the signatures in `batch`, and says how many are held back.
    ///
    /// # Errors
    /// The environment's, if the verifier itself fails.
    pub fn look(&mut self, method: Method, batch: &Batch) -> Result<usize, Failure> {
        self.held_back.clear();
        if let Some(verifier) = self.verifiers.iter_mut().find(|verifier| verifier.method == method) {
            verifier.find_wrong(batch, &mut self.held_back).map_err(|error| {
                Failure::environment(format_args!("--verify-before-release, {method}: {error}"))
            })?;
        }
        Ok(self.held_back.len())
    }

    /// Status and signature that record `i` of the batch is to be answered with.
    pub fn answer<'b>(&self, batch: &'b Batch, i: usize) -> (i32, &'b [u8]) {
        if self.held_back.binary_search(&i).is_ok() {
            return (status::NOT_VERIFIED, &[]);
        }
        (status::of(batch.status(i)), batch.output(i))
    }
}

/// Verifies signatures of one method, natively.
struct Verifier {
    method: Method,
    engine: Box<dyn ExtensionEngine>,
    public_key: Vec<u8>,
    batch: Batch,
    /// The places in the signer's batch of the records in `batch`.
    places: Vec<usize>,
}

impl Verifier {
    fn new(
        method: Method,
        key: &Key,
        records_max: usize,
        (message_len, signature_len): (usize, usize),
    ) -> Result<Self, EngineError> {
        let program = compile(Runtime::Native, method.name(), None, &Settings::default())?;
        // The public key comes from here as well. What verifies holds no secret.
        let public_key = program.instantiate()?.set_key(key.of(method))?;
        Ok(Self {
            method,
            engine: program.instantiate()?,
            public_key,
            batch: Batch::new(records_max, message_len, signature_len)?,
            places: Vec::with_capacity(records_max),
        })
    }

    /// Adds the places of the records in `signed` that have a signature, but not a right one.
    fn find_wrong(&mut self, signed: &Batch, wrong: &mut Vec<usize>) -> Result<(), EngineError> {
        self.batch.clear();
        self.places.clear();
        for i in (0..signed.len()).filter(|i| signed.status(*i).is_ok()) {
            self.batch.push_verify(signed.message(i), signed.output(i), &self.public_key)?;
            self.places.push(i);
        }
        self.engine.run(ExtensionKind::Verify, &mut self.batch)?;
        for (i, place) in self.places.iter().enumerate() {
            let is_right = self.batch.status(i).is_ok() && self.is_canonical(signed.output(*place));
            if !is_right {
                wrong.push(*place);
            }
        }
        Ok(())
    }

    /// Whether it is the one form that consumers accept: a high s verifies as well, and no module of ours makes one.
    fn is_canonical(&self, signature: &[u8]) -> bool {
        self.method != Method::Ecdsa
            || Signature::from_slice(signature).is_ok_and(|signature| signature.normalize_s() == signature)
    }
}
