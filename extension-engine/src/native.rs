//! The schemes' own crates, run over the batch itself.

use ecdsa_module::Ecdsa;
use null_module::Null;
use ringseal_abi::Status;
use ringseal_abi::scheme::{Scheme, run_record};
use schnorr_module::Schnorr;

use crate::{Batch, EngineError, ExtensionEngine, ExtensionKind, Module, Program, Runtime};

pub(crate) fn program(name: &str, module: Option<&Module>) -> Result<Box<dyn Program>, EngineError> {
    if let Some(module) = module {
        return Err(EngineError::NativeModule(module.label().to_owned()));
    }
    let instantiate = match name {
        Ecdsa::NAME => instantiate::<Ecdsa>,
        Schnorr::NAME => instantiate::<Schnorr>,
        Null::NAME => instantiate::<Null>,
        _ => return Err(EngineError::UnknownExtension(name.to_owned())),
    };
    Ok(Box::new(Native { instantiate }))
}

struct Native {
    instantiate: fn() -> Box<dyn ExtensionEngine>,
}

impl Program for Native {
    fn runtime(&self) -> Runtime {
        Runtime::Native
    }

    fn module(&self) -> Option<&Module> {
        None
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        Ok((self.instantiate)())
    }
}

fn instantiate<S: Scheme + Send + 'static>() -> Box<dyn ExtensionEngine> {
    S::warm();
    Box::new(Engine::<S> { key: None })
}

struct Engine<S> {
    key: Option<S>,
}

impl<S: Scheme + Send> ExtensionEngine for Engine<S> {
    fn run(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), EngineError> {
        batch.forget_answers();
        if kind == ExtensionKind::SetKey && batch.len() != 1 {
            return Err(EngineError::Refused(Status::BadArgument));
        }
        batch.run_each(kind, |message, output, key_room| {
            let public_key = key_room.get(..S::PUBLIC_KEY_LEN).unwrap_or(key_room);
            run_record(&mut self.key, kind, message, output, public_key)
        });
        Ok(())
    }

    /// Leaves the process's own stack as it is: nobody but this process can read it.
    fn reset(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}
