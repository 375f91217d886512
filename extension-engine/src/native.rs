//! The schemes' own crates, run over the batch itself.

use std::sync::Arc;

use ecdsa_module::Ecdsa;
use null_module::Null;
use ringseal_abi::Status;
use ringseal_abi::scheme::{Scheme, run_record, sign_records};
use schnorr_module::Schnorr;

use crate::deadline::{Watch, ticks_in};
use crate::{Batch, EngineError, ExtensionEngine, ExtensionKind, Limits, Module, Program, RunError, Runtime};

pub(crate) fn program(
    name: &str,
    module: Option<&Module>,
    limits: &Limits,
) -> Result<Box<dyn Program>, EngineError> {
    if let Some(module) = module {
        return Err(EngineError::NativeModule(module.label().to_owned()));
    }
    let instantiate = match name {
        Ecdsa::NAME => instantiate::<Ecdsa>,
        Schnorr::NAME => instantiate::<Schnorr>,
        Null::NAME => instantiate::<Null>,
        _ => return Err(EngineError::UnknownExtension(name.to_owned())),
    };
    let limit = limits.deadline.as_millis();
    let plan = Plan {
        ticks: ticks_in(limits.deadline),
        notice: format!("extension {name} on native is overdue: it may take {limit} ms of CPU time a record"),
    };
    Ok(Box::new(Native { instantiate, plan: Arc::new(plan) }))
}

struct Native {
    instantiate: fn(&Arc<Plan>) -> Box<dyn ExtensionEngine>,
    plan: Arc<Plan>,
}

/// What the instances of a program have in common.
struct Plan {
    /// The deadline of a record.
    ticks: u64,
    notice: String,
}

impl Program for Native {
    fn runtime(&self) -> Runtime {
        Runtime::Native
    }

    fn module(&self) -> Option<&Module> {
        None
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        Ok((self.instantiate)(&self.plan))
    }
}

fn instantiate<S: Scheme + Send + 'static>(plan: &Arc<Plan>) -> Box<dyn ExtensionEngine> {
    S::warm();
    Box::new(Engine::<S> { key: None, plan: Arc::clone(plan) })
}

struct Engine<S> {
    key: Option<S>,
    plan: Arc<Plan>,
}

impl<S: Scheme + Send> ExtensionEngine for Engine<S> {
    fn run(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), RunError> {
        batch.forget_answers();
        if kind == ExtensionKind::SetKey && batch.len() != 1 {
            return Err(EngineError::Refused(Status::BadArgument).into());
        }
        let ticks = self.plan.ticks * batch.len().max(1) as u64;
        let watch = Watch::start(ticks, false, &self.plan.notice);
        let _watch = watch.map_err(|error| Box::new(EngineError::Timer(error)))?;
        if kind == ExtensionKind::Sign {
            sign_records(self.key.as_ref(), &mut batch.signing::<S>());
            return Ok(());
        }
        batch.run_each(kind, |message, output, key_room| {
            let public_key = key_room.get(..S::PUBLIC_KEY_LEN).unwrap_or(key_room);
            run_record(&mut self.key, kind, message, output, public_key)
        });
        Ok(())
    }

    /// Leaves the process's own stack as it is: nobody but this process can read it.
    fn reset(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}
