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

    /// Instances for one thread, that trust `key`.
    pub fn instantiate(&self, key: &TrustedKey) -> Result<Extension, Failure> {
        let make = || -> Result<Extension, EngineError> {
            let batch = engine::Batch::new(RECORDS_PER_RUN, self.message_capacity, 64)?;
            let ecdsa = Instance {
                method: Method::Ecdsa,
                engine: self.ecdsa.instantiate()?,
                public_key: key.compressed().to_vec(),
            };
            let schnorr = Instance {
                method: Method::Schnorr,
                engine: self.schnorr.instantiate()?,
                public_key: key.x_only().to_vec(),
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
    public_key: Vec<u8>,
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
    fn verify(&mut self, batch: &mut engine::Batch, records: &mut [Record]) -> Result<(), Box<dyn Error>> {
        let method = self.method;
        let is_ours = |record: &&mut Record| record.method == method && is_to_verify(record);
        batch.clear();
        for record in records.iter_mut().filter(is_ours) {
            if is_acceptable(record) {
                batch.push_verify(&record.message, &record.signature, &self.public_key)?;
            } else {
                settle(record, false);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.engine.run(ExtensionKind::Verify, batch)?;
        let verified_ns = now_ns();
        // The same records in the same order: only what was not pushed has been settled since.
        for (i, record) in records.iter_mut().filter(is_ours).enumerate() {
            settle(record, is_valid(batch.status(i))?);
            record.times.verified_ns = verified_ns;
        }
        Ok(self.engine.reset()?)
    }
}

/// A bad signature is an answer; any other complaint is one about the verifier.
fn is_valid(status: Result<(), RecordError>) -> Result<bool, RecordError> {
    match status {
        Ok(()) => Ok(true),
        Err(RecordError::Failed(Status::InvalidSignature)) => Ok(false),
        Err(error) => Err(error),
    }
}
