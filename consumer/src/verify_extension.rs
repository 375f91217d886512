//! Verification through the signing modules themselves, on a runtime of choice: for comparing runtimes, not for
//! independence.

use std::error::Error;

use cli::{Failure, Method};
use extension_engine::{
    self as engine, EngineError, ExtensionEngine, ExtensionKind, Program, RecordError, Runtime, Status,
};

use crate::record::Record;
use crate::trusted_key::TrustedKey;
use crate::verify::{is_acceptable, is_to_verify, settle};
use shmem_layout::now_ns;

/// Records of one call into the extension. The call costs tens of nanoseconds, a verification a thousand times
/// that: more would only delay the first record's answer.
const RECORDS_PER_RUN: usize = 16;

/// The extensions that verify, ready for a runtime.
pub(crate) struct Programs {
    runtime: Runtime,
    ecdsa: Box<dyn Program>,
    schnorr: Box<dyn Program>,
    message_capacity: usize,
}

impl Programs {
    /// Compiles the built-in modules.
    pub fn compile(runtime: Runtime, message_capacity: usize) -> Result<Self, Failure> {
        runtime.is_available().map_err(Failure::bad_input)?;
        let compile = |method: Method| {
            engine::compile(runtime, method.name(), None, &engine::Settings::default())
                .map_err(|error| unusable(runtime, &error))
        };
        Ok(Self {
            runtime,
            ecdsa: compile(Method::Ecdsa)?,
            schnorr: compile(Method::Schnorr)?,
            message_capacity,
        })
    }

    /// Instances for one thread, that trust `keys`.
    pub fn instantiate(&self, keys: &[TrustedKey]) -> Result<Extension, Failure> {
        let make = || -> Result<Extension, EngineError> {
            let batch = engine::Batch::new(RECORDS_PER_RUN, self.message_capacity, 64)?;
            let ecdsa = Instance {
                method: Method::Ecdsa,
                engine: self.ecdsa.instantiate()?,
                public_keys: keys.iter().map(|key| key.compressed().to_vec()).collect(),
                last: 0,
            };
            let schnorr = Instance {
                method: Method::Schnorr,
                engine: self.schnorr.instantiate()?,
                public_keys: keys.iter().map(|key| key.x_only().to_vec()).collect(),
                last: 0,
            };
            Ok(Extension { runtime: self.runtime, instances: [ecdsa, schnorr], batch })
        };
        make().map_err(|error| unusable(self.runtime, &error))
    }
}

fn unusable(runtime: Runtime, error: &EngineError) -> Failure {
    Failure::environment(format_args!("--verifier {runtime}: {error}"))
}

/// Verifies with the extensions' own `Verify`.
pub(crate) struct Extension {
    runtime: Runtime,
    instances: [Instance; 2],
    batch: engine::Batch,
}

struct Instance {
    method: Method,
    engine: Box<dyn ExtensionEngine>,
    public_keys: Vec<Vec<u8>>,
    /// The one that was good for the last record, and most likely is for the next.
    last: usize,
}

impl Extension {
    /// Settles and stamps `records`.
    pub fn verify(&mut self, records: &mut [Record]) -> Result<(), Failure> {
        let had_ns = now_ns();
        records.iter_mut().for_each(|record| record.times.verified_ns = had_ns);
        for run in records.chunks_mut(RECORDS_PER_RUN) {
            for instance in &mut self.instances {
                instance.verify(&mut self.batch, run).map_err(|error| {
                    Failure::failed(format_args!("--verifier {}, {}: {error}", self.runtime, instance.method))
                })?;
            }
        }
        Ok(())
    }
}

impl Instance {
    /// Settles the records that are this instance's to verify: under the last good key, and what is left under the others.
    fn verify(&mut self, batch: &mut engine::Batch, records: &mut [Record]) -> Result<(), Box<dyn Error>> {
        let last = self.last;
        let others = (0..self.public_keys.len()).filter(|key| *key != last);
        for key in std::iter::once(last).chain(others) {
            if !self.verify_under(key, batch, records)? {
                return Ok(());
            }
        }
        records.iter_mut().filter(is_of(self.method)).for_each(|record| settle(record, None));
        Ok(())
    }

    /// Settles those that verify under this key, and those that no key can verify. Says whether any are left.
    fn verify_under(
        &mut self,
        key: usize,
        batch: &mut engine::Batch,
        records: &mut [Record],
    ) -> Result<bool, Box<dyn Error>> {
        batch.clear();
        for record in records.iter_mut().filter(is_of(self.method)) {
            if is_acceptable(record) {
                batch.push_verify(&record.message, &record.signature, &self.public_keys[key])?;
            } else {
                settle(record, None);
            }
        }
        if batch.is_empty() {
            return Ok(false);
        }
        self.engine.run(ExtensionKind::Verify, batch)?;
        let verified_ns = now_ns();
        let mut are_left = false;
        // The same records in the same order: only what was not pushed has been settled since.
        for (i, record) in records.iter_mut().filter(is_of(self.method)).enumerate() {
            record.times.verified_ns = verified_ns;
            match is_valid(batch.status(i))? {
                true => {
                    settle(record, Some(key));
                    self.last = key;
                }
                false => are_left = true,
            }
        }
        self.engine.reset()?;
        Ok(are_left)
    }
}

/// Whether a record is to be verified as `method` has it.
fn is_of(method: Method) -> impl Fn(&&mut Record) -> bool {
    move |record| record.method == method && is_to_verify(record)
}

/// A bad signature is an answer; any other complaint is one about the verifier.
fn is_valid(status: Result<(), RecordError>) -> Result<bool, RecordError> {
    match status {
        Ok(()) => Ok(true),
        Err(RecordError::Failed(Status::InvalidSignature)) => Ok(false),
        Err(error) => Err(error),
    }
}
