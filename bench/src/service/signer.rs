//! What signs in the peers: the same native code as in Ringseal, one message at a time as they come.

use bench_signing::SECRET;
use extension_engine::{Batch, ExtensionEngine, ExtensionKind, Runtime, Settings, compile};

use crate::Result;

/// A native engine with the key.
pub struct Signer {
    engine: Box<dyn ExtensionEngine>,
    batch: Batch,
}

impl Signer {
    /// For ECDSA.
    pub fn new() -> Result<Self> {
        let mut engine = compile(Runtime::Native, "ecdsa", None, &Settings::default())?.instantiate()?;
        engine.set_key(&SECRET)?;
        Ok(Self { engine, batch: Batch::new(1, 256, 64)? })
    }

    /// Signs a message.
    pub fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        self.batch.clear();
        self.batch.push(message.len(), |room| room.copy_from_slice(message))?;
        self.engine.run(ExtensionKind::Sign, &mut self.batch)?;
        self.batch.status(0)?;
        let signature = self.batch.output(0).to_vec();
        self.engine.reset()?;
        Ok(signature)
    }
}
