//! What the instances of a program have in common: whose they are, and what they may use.

use std::time::Duration;

use ringseal_abi::export;

use super::NAME_ROOM;
use crate::deadline::{Watch, ticks_in};
use crate::{EngineError, Limits, Module, RunError, Runtime};

/// What is called in an instance.
#[derive(Clone, Copy)]
pub(crate) enum Export {
    Init,
    Finit,
    Malloc,
    Run,
    Reset,
}

impl Export {
    const ALL: [Export; 5] = [Self::Init, Self::Finit, Self::Malloc, Self::Run, Self::Reset];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Init => export::INIT,
            Self::Finit => export::FINIT,
            Self::Malloc => export::MALLOC,
            Self::Run => export::RUN,
            Self::Reset => export::RESET,
        }
    }
}

/// See the module.
pub(crate) struct Plan {
    runtime: Runtime,
    /// The extension's name, with its NUL.
    pub(crate) name: String,
    pub(crate) deadline: Duration,
    pub(crate) memory: u64,
    ticks: u64,
    /// What is said when a call is overdue, by export.
    notices: [String; Export::ALL.len()],
}

impl Plan {
    /// A plan for extension `name` in `module` on `runtime`.
    ///
    /// # Errors
    /// No extension can have this name.
    pub(crate) fn new(
        runtime: Runtime,
        name: &str,
        module: &Module,
        limits: &Limits,
    ) -> Result<Self, EngineError> {
        if name.len() >= NAME_ROOM || name.contains('\0') {
            return Err(EngineError::UnknownExtension(name.to_owned()));
        }
        let (label, limit) = (module.label(), limits.deadline.as_millis());
        let notice = |export: Export| {
            let export = export.name();
            format!(
                "module {label}: {export} on {runtime} is overdue: it may take {limit} ms of CPU time a record"
            )
        };
        Ok(Self {
            runtime,
            name: format!("{name}\0"),
            deadline: limits.deadline,
            memory: limits.memory_pages() * crate::PAGE_LEN,
            ticks: ticks_in(limits.deadline),
            notices: Export::ALL.map(notice),
        })
    }

    /// Limits the time for a call of `export`, or of one for `records`.
    #[inline]
    pub(crate) fn watch(
        &self,
        export: Export,
        records: usize,
        can_be_interrupted: bool,
    ) -> Result<Watch<'_>, RunError> {
        let ticks = self.ticks * records as u64;
        Watch::start(ticks, can_be_interrupted, &self.notices[export as usize])
            .map_err(|error| EngineError::Timer(error).into())
    }

    /// Why a call of `export` has failed.
    #[cold]
    pub(crate) fn error(&self, export: Export, fault: Fault) -> RunError {
        let (runtime, export) = (self.runtime, export.name());
        let error = match fault {
            Fault::Trap(reason) => EngineError::Trap { runtime, export, reason },
            Fault::Deadline => EngineError::Deadline { runtime, export, limit: self.deadline },
            Fault::OutOfMemory => EngineError::OutOfMemory { runtime, export, limit: self.memory },
        };
        error.into()
    }
}

/// What went wrong in a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It trapped: the runtime's reason.
    Trap(String),
    /// It was interrupted.
    #[cfg_attr(
        not(any(feature = "wasmtime", feature = "wasmi")),
        allow(dead_code, reason = "wasm3 alone can't be interrupted")
    )]
    Deadline,
    /// It wanted more memory than there is.
    OutOfMemory,
}
