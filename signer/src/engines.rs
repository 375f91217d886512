//! The engines of a worker: one for each method, or one in all whose module is swapped when the method changes.

use std::sync::Arc;
use std::time::Instant;

use cli::{Failure, Method, figures};
use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Program, RunError, Runtime, Settings, compile,
};

use crate::assignment::{Assignment, Assignments, Origin, index};
use crate::key::Key;
use crate::ration::Ration;
use crate::stats::Page;

/// Makes extensions ready: on either of a worker's threads.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub key: Arc<Key>,
    pub settings: Settings,
    pub stats: Arc<Page>,
}

/// A method's program, and its instance while there is one.
pub(crate) struct Extension {
    assignment: Assignment,
    /// What its records say, but for the generation, which is the worker's.
    origin: Origin,
    program: Box<dyn Program>,
    instance: Option<Box<dyn ExtensionEngine>>,
    /// Whether the instance has had a batch.
    is_called: bool,
}

impl Workshop {
    /// Compiles what `assignment` says, or fetches it from the cache, and makes an instance with the key in it.
    ///
    /// # Errors
    /// The module is no good, or the runtime is not there.
    pub fn make(&self, assignment: &Assignment) -> Result<Extension, EngineError> {
        let started = Instant::now();
        let replacement = assignment.replacement(&self.settings.limits)?;
        let name = assignment.method.name();
        let hits = self.cache_hits();
        let program = compile(assignment.runtime, name, replacement.as_ref(), &self.settings)?;
        let found = self.count_hits(assignment.runtime, hits);
        let ns = started.elapsed().as_nanos() as u64;
        self.stats.compile_ns.add(ns);
        let Assignment { method, label, runtime, .. } = assignment;
        let time = figures::duration(ns);
        tracing::debug!(%method, label, %runtime, found, ns, "{method}: {label} on {runtime}: {found}, {time}");
        let (assignment, origin) = (assignment.clone(), assignment.origin());
        let mut extension = Extension { assignment, origin, program, instance: None, is_called: false };
        let (instance, ns) = self.instance(&extension)?;
        extension.instance = Some(instance);
        let Assignment { method, label, .. } = &extension.assignment;
        tracing::debug!(%method, label, ns, "{method}: {label} instantiated, {}", figures::duration(ns));
        Ok(extension)
    }

    /// How often modules were found in memory, and on disk.
    fn cache_hits(&self) -> (u64, u64) {
        let counts = self.settings.cache.counts();
        let of = |name: &str| counts.iter().filter(|tier| tier.tier == name).map(|tier| tier.hits).sum();
        (of("memory"), of("disk"))
    }

    /// Returns where the module was found.
    fn count_hits(&self, runtime: Runtime, before: (u64, u64)) -> &'static str {
        let after = self.cache_hits();
        let stats = &self.stats;
        stats.cache_memory_hits.add(after.0 - before.0);
        stats.cache_disk_hits.add(after.1 - before.1);
        let is_compiled = matches!(runtime, Runtime::Wasmtime | Runtime::Wasmi);
        stats.cache_misses.add(u64::from(is_compiled && after == before));
        match runtime {
            _ if after.0 > before.0 => "found compiled, in memory",
            _ if after.1 > before.1 => "found compiled, on disk",
            _ if is_compiled => "not in the cache, compiled",
            _ => "made ready",
        }
    }

    /// A new instance, with the key in it if its method signs with one, and how many nanoseconds it took.
    fn instance(&self, extension: &Extension) -> Result<(Box<dyn ExtensionEngine>, u64), EngineError> {
        let started = Instant::now();
        let mut instance = extension.program.instantiate()?;
        instance.set_key(self.key.of(extension.assignment.method))?;
        // Memory is now as its backup has it, on pages that are not there yet: that is not the first batch's to pay.
        instance.reset()?;
        let ns = started.elapsed().as_nanos() as u64;
        self.stats.instantiate_ns.add(ns);
        self.stats.instances.add(1);
        Ok((instance, ns))
    }
}

/// See the module.
pub(crate) struct Engines {
    workshop: Workshop,
    /// In the order of [`Method::ALL`].
    extensions: [Extension; 3],
    is_swapping: bool,
    /// The method whose module is the present one, when swapping.
    present: Option<Method>,
    generation: u32,
    /// What is said of restores and replacements.
    restores: Ration,
}

impl Engines {
    /// Makes every method ready, so that a module that is no good is refused before a record waits for it. Who swaps
    /// keeps none of these instances.
    ///
    /// # Errors
    /// A module is no good, or the runtime is not there: bad input that names it.
    pub fn start(workshop: Workshop, assignments: &Assignments, is_swapping: bool) -> Result<Self, Failure> {
        let make = |assignment: &Assignment| {
            let unfit = |error| Failure::bad_input(format_args!("extension {}: {error}", assignment.method));
            let mut extension = workshop.make(assignment).map_err(unfit)?;
            if is_swapping {
                extension.instance = None;
            }
            Ok(extension)
        };
        let [ecdsa, schnorr, null] = &assignments.present;
        let extensions = [make(ecdsa)?, make(schnorr)?, make(null)?];
        let generation = if is_swapping { 0 } else { assignments.generation };
        Ok(Self { workshop, extensions, is_swapping, present: None, generation, restores: Ration::default() })
    }

    /// Whether a change of method swaps the module.
    pub fn is_swapping(&self) -> bool {
        self.is_swapping
    }

    /// What signs `method` now.
    pub fn origin(&self, method: Method) -> Origin {
        Origin { generation: self.generation, ..self.extensions[index(method)].origin }
    }

    /// What messages call the module of `method`.
    pub fn label(&self, method: Method) -> &str {
        &self.extensions[index(method)].assignment.label
    }

    /// Puts `next` in its method's place, and returns what was there.
    pub fn switch(&mut self, next: Extension) -> Extension {
        self.generation = next.assignment.generation;
        self.workshop.stats.swaps.add(1);
        let Assignment { method, label, runtime, generation, .. } = &next.assignment;
        tracing::debug!(
            %method, label, %runtime, generation,
            "swapped: {method} by {label} on {runtime} from now on, generation {generation}"
        );
        std::mem::replace(&mut self.extensions[index(next.assignment.method)], next)
    }

    /// Signs `batch`.
    ///
    /// An instance that has restored itself, after an error status, goes on. Another one takes the place of an
    /// instance that trapped, missed its deadline or ran out of memory.
    ///
    /// # Errors
    /// The inner one: the extension failed the batch as a whole. The outer one: there is no instance to be had.
    pub fn sign(&mut self, method: Method, batch: &mut Batch) -> Result<Result<(), RunError>, Failure> {
        self.swap_to(method);
        let Self { workshop, extensions, restores, .. } = self;
        let extension = &mut extensions[index(method)];
        let mut instance = match extension.instance.take() {
            Some(instance) => instance,
            None => {
                extension.is_called = false;
                workshop.instance(extension).map_err(Failure::environment)?.0
            }
        };
        let first = (!extension.is_called).then(Instant::now);
        let signed = instance.run(ExtensionKind::Sign, batch);
        if let Some(started) = first {
            extension.is_called = true;
            workshop.stats.first_calls.add(1);
            workshop.stats.first_call_ns.add(started.elapsed().as_nanos() as u64);
        }
        if let Err(error) = &signed {
            workshop.stats.note_failed_run(error);
        }
        if instance.is_usable() {
            workshop.stats.restores.add(u64::from(signed.is_err()));
            extension.instance = Some(instance);
        } else {
            workshop.stats.replacements.add(1);
        }
        if signed.is_err()
            && let Some(more) = restores.take()
        {
            let (restored, replaced) = (workshop.stats.restores.get(), workshop.stats.replacements.get());
            tracing::debug!(
                %method, restores = restored, replacements = replaced,
                "{method}: {} failed: {restored} restores and {replaced} replacements by now, {more} of them unsaid",
                extension.assignment.label
            );
        }
        Ok(signed)
    }

    /// Wipes what the last batch left in the instance of `method`.
    ///
    /// # Errors
    /// It could not, and another instance takes its place: nothing of that batch is left there either.
    pub fn reset(&mut self, method: Method) -> Result<(), RunError> {
        let extension = &mut self.extensions[index(method)];
        let reset = extension.instance.as_mut().map_or(Ok(()), |instance| instance.reset());
        if reset.is_err() {
            self.workshop.stats.replacements.add(1);
            extension.instance = None;
        }
        reset
    }

    /// Drops the instance of `method`, which can't be trusted any more; the next batch gets another one.
    pub fn discard(&mut self, method: Method) {
        self.extensions[index(method)].instance = None;
        self.workshop.stats.replacements.add(1);
    }

    fn swap_to(&mut self, method: Method) {
        if self.is_swapping && self.present != Some(method) {
            for extension in &mut self.extensions {
                extension.instance = None;
            }
            self.workshop.stats.swaps.add(u64::from(self.present.is_some()));
            self.generation = self.generation.wrapping_add(1);
            self.present = Some(method);
        }
    }
}
