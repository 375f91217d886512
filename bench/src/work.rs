//! The work of the whole pipeline without a pipeline: what the rate of the real one is held against.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bench_signing::{MESSAGES, Signing, message};
use extension_engine::{Runtime, Variant};

use crate::Result;
use crate::measure::{Contender, Values};
use crate::sign::Secp256k1;

/// Records of a batch, as the signer takes them.
const BATCH: usize = 64;

/// A thread on each core, which signs a batch and verifies it, again and again. Nobody waits for anybody.
pub struct BareWork {
    /// What signs.
    pub runtime: Runtime,
    /// The scheme.
    pub scheme: &'static str,
    /// How many cores.
    pub cores: usize,
    /// How many batches each thread signs and verifies.
    pub batches: usize,
}

impl BareWork {
    fn one(&self, start: &Barrier) -> Result<Duration> {
        let prepared = self.prepare();
        // Also after a failure: the others wait for it.
        start.wait();
        let (mut signing, library, signatures) = prepared?;
        let mut to_verify = signatures.iter().enumerate().cycle();
        let started = Instant::now();
        for _ in 0..self.batches {
            signing.time(1)?;
            for (i, signature) in to_verify.by_ref().take(BATCH) {
                if !library.verify(self.scheme, &message(i), signature) {
                    return Err("a signature that doesn't verify".into());
                }
            }
        }
        Ok(started.elapsed())
    }

    fn prepare(&self) -> Result<(Signing, Secp256k1, Vec<[u8; 64]>)> {
        let variant = (self.runtime != Runtime::Native).then_some(Variant::Wide);
        let signing = Signing::new(self.runtime, variant, self.scheme, BATCH, Vec::new())?;
        let library = Secp256k1::new()?;
        let signatures = (0..MESSAGES).map(|i| library.sign(self.scheme, &message(i))).collect();
        Ok((signing, library, signatures))
    }
}

impl Contender for BareWork {
    fn name(&self) -> String {
        "the same work without a ring".into()
    }

    fn sample(&mut self) -> Result<Values> {
        let start = Barrier::new(self.cores);
        let slowest = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.cores).map(|_| scope.spawn(|| self.one(&start))).collect();
            threads.into_iter().try_fold(Duration::ZERO, |slowest, thread| -> Result<Duration> {
                Ok(slowest.max(thread.join().map_err(|_| "a thread panicked")??))
            })
        })?;
        let records = (self.cores * self.batches * BATCH) as f64;
        Ok(Values::from([("records/s", records / slowest.as_secs_f64())]))
    }
}
