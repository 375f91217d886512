//! The beginning of a change: what is asked for is refused, or its first step is taken.

use cli::Method;
use extension_engine::{Module, Runtime};

use super::Supervisor;
use super::change::{Change, NewTerms, Reply, Step, dismiss, refused};
use super::seat::{State, Worker};
use crate::KeySource;
use crate::assignment::{Assignment, unix_ms};
use crate::control::api::{Command, LimitChanges, Reason, Refused, Replacement};
use crate::limits;
use crate::prepare::Preparation;

impl Supervisor<'_> {
    /// Begins what `command` asks for, or refuses it.
    pub(super) fn begin(&mut self, command: Command, reply: Reply) {
        if self.ending.is_some() {
            return reply(Err(refused(Reason::NotNow, "the signer ends")));
        }
        if self.change.is_some() {
            return reply(Err(refused(Reason::NotNow, "another change is under way: wait for it")));
        }
        let step = match command {
            Command::Swap { method, to, runtime } => self.begin_swap(method, to, runtime),
            Command::SetLimits(changes) => self.begin_limits(&changes),
            Command::RotateKey { path } => {
                self.begin_rotation(path.map_or_else(|| self.options.key.clone(), KeySource::File))
            }
            Command::Status | Command::ListModules | Command::Drain => return,
        };
        match step {
            Ok(step) => self.change = Some(Change::new(reply, step)),
            Err(refusal) => reply(Err(refusal)),
        }
    }

    fn begin_swap(&self, method: Method, to: Replacement, runtime: Option<Runtime>) -> Result<Step, Refused> {
        let invalid = |error: &dyn std::fmt::Display| refused(Reason::Invalid, error.to_string());
        let present = self.assignments.of(method);
        if self.work.is_swapping {
            return Err(refused(Reason::NotNow, "--runner 3 swaps modules by itself"));
        }
        let runtime = runtime.unwrap_or(present.runtime);
        runtime.is_available().map_err(|error| invalid(&error))?;
        let next = match to {
            Replacement::BuiltIn => Assignment::built_in(method, runtime).map_err(|e| invalid(&e))?,
            Replacement::Module { label, bytes } => self.keep(method, runtime, label, bytes)?,
            Replacement::Present => present.on(runtime).map_err(|error| invalid(&error))?,
            Replacement::Previous => match self.assignments.before(method) {
                Some(previous) => previous.clone(),
                None => return Err(refused(Reason::NotNow, format!("{method} has had no other module yet"))),
            },
        };
        let generation = self.assignments.generation.checked_add(1);
        let generation =
            generation.ok_or_else(|| refused(Reason::NotNow, "there are no more generations"))?;
        let next = Assignment { generation, since_unix_ms: unix_ms(), ..next };
        let preparation = Preparation::start(&next, &self.work, true)
            .map_err(|error| refused(Reason::Unavailable, format!("can't prepare a module: {error}")))?;
        Ok(Step::Prepare { next, preparation })
    }

    /// Puts a module that came over the wire into the store.
    fn keep(
        &self,
        method: Method,
        runtime: Runtime,
        label: String,
        bytes: Vec<u8>,
    ) -> Result<Assignment, Refused> {
        let invalid = |error: &dyn std::fmt::Display| refused(Reason::Invalid, error.to_string());
        if runtime == Runtime::Native {
            let error = extension_engine::EngineError::NativeModule(label);
            return Err(invalid(&error));
        }
        let module = Module::from_bytes(label, bytes, &self.work.limits).map_err(|error| invalid(&error))?;
        let store =
            self.store.as_ref().ok_or_else(|| refused(Reason::NotNow, "there is no control directory"))?;
        let path = store
            .keep(&hex::encode(module.sha256()), module.bytes())
            .map_err(|error| refused(Reason::Unavailable, format!("can't keep the module: {error}")))?;
        Ok(Assignment::new(method, runtime, Some(&module), Some(path.into_os_string())))
    }

    fn begin_limits(&mut self, changes: &LimitChanges) -> Result<Step, Refused> {
        let limits = limits::checked(&changes.applied_to(&self.work.limits))
            .map_err(|failure| refused(Reason::Invalid, failure.message))?;
        self.stand_by(NewTerms::Limits(limits))
    }

    fn begin_rotation(&mut self, source: KeySource) -> Result<Step, Refused> {
        let key = source.read().map_err(|failure| refused(Reason::Invalid, failure.message))?;
        self.stand_by(NewTerms::Key(key))
    }

    /// Starts a worker on standby beside each one that is there.
    fn stand_by(&mut self, terms: NewTerms) -> Result<Step, Refused> {
        let (mut work, mut key) = (self.work.clone(), &self.key);
        match &terms {
            NewTerms::Key(new) => key = new,
            NewTerms::Limits(limits) => work.limits = limits.clone(),
        }
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if matches!(seat.state, State::Ended) {
                continue;
            }
            match Worker::start(number, &work, key, &self.assignments, None) {
                Ok(worker) => {
                    self.tally.starts += 1;
                    seat.standby = Some(worker);
                }
                Err(error) => {
                    dismiss(&mut self.seats);
                    let why = format!("can't start another worker {number}: {error}");
                    return Err(refused(Reason::Unavailable, why));
                }
            }
        }
        Ok(Step::StandBy(terms))
    }
}
