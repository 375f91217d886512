//! The engines of a worker: one for each method, or one in all whose module is swapped when the method changes.

use std::time::Instant;

use cli::{Failure, Method};
use extension_engine::{
    Batch, EngineError, ExtensionEngine, ExtensionKind, Module, Program, Runtime, Settings, compile,
};

use crate::WorkOptions;
use crate::cache_command::open_cache;
use crate::key::Key;
use crate::stats::Stats;

/// What made a signature.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The runtime's number in the ring: from 1 in the order of [`Runtime::ALL`], 0 for none.
    pub runtime: u32,
    /// The first eight bytes of the module's SHA-256; 0 for none.
    pub module_id: u64,
    /// Counts the modules that this worker has used: 1 for the first.
    pub generation: u32,
}

/// A method's program, and its instance while there is one.
struct Extension {
    program: Box<dyn Program>,
    instance: Option<Box<dyn ExtensionEngine>>,
    module_id: u64,
}

/// See the module.
pub(crate) struct Engines<'a> {
    extensions: Vec<Extension>,
    key: &'a Key,
    stats: &'a Stats,
    runtime: Runtime,
    is_swapping: bool,
    /// The method whose module is the present one, when swapping.
    present: Option<Method>,
    generation: u32,
}

impl<'a> Engines<'a> {
    /// Compiles every method's module and makes an instance of each with the key, so that a module that is no good is
    /// refused before a record waits for it. Who swaps keeps none of these instances.
    ///
    /// # Errors
    /// A module is no good, or the runtime is not there: bad input that names it.
    pub fn start(options: &WorkOptions, key: &'a Key, stats: &'a Stats) -> Result<Self, Failure> {
        let mut engines = Self {
            extensions: Vec::new(),
            key,
            stats,
            runtime: options.runtime,
            is_swapping: options.is_swapping,
            present: None,
            generation: u32::from(!options.is_swapping),
        };
        // Modules of the other runtimes are made ready once in a process, and can't be kept in files.
        let settings = match options.runtime {
            Runtime::Wasmtime => Settings { cache: open_cache(&options.cache), ..Settings::default() },
            _ => Settings::default(),
        };
        for method in Method::ALL {
            let started = Instant::now();
            let mut extension = engines.extension(method, options, &settings).map_err(Failure::bad_input)?;
            engines.stats.compile_ns.add(started.elapsed().as_nanos() as u64);
            let unfit = |error| Failure::bad_input(format_args!("extension {method}: {error}"));
            let instance = engines.instance(&*extension.program).map_err(unfit)?;
            extension.instance = (!options.is_swapping).then_some(instance);
            engines.extensions.push(extension);
        }
        Ok(engines)
    }

    fn extension(
        &self,
        method: Method,
        options: &WorkOptions,
        settings: &Settings,
    ) -> Result<Extension, EngineError> {
        let path = options.modules.iter().find(|(name, _)| *name == method).map(|(_, path)| path);
        let replacement = path.map(|path| Module::from_file(path)).transpose()?;
        let program = compile(options.runtime, method.name(), replacement.as_ref(), settings)?;
        let module_id = program.module().map_or(0, |module| {
            self.stats.of(method).set_module(module.variant(), &module.sha256());
            u64::from_be_bytes(module.sha256()[..8].try_into().unwrap_or_default())
        });
        Ok(Extension { program, instance: None, module_id })
    }

    /// A new instance, with the key in it.
    fn instance(&self, program: &dyn Program) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        let started = Instant::now();
        let mut instance = program.instantiate()?;
        instance.set_key(self.key.bytes())?;
        self.stats.instantiate_ns.add(started.elapsed().as_nanos() as u64);
        Ok(instance)
    }

    /// Whether a change of method swaps the module.
    pub fn is_swapping(&self) -> bool {
        self.is_swapping
    }

    /// What signs `method` now.
    pub fn origin(&self, method: Method) -> Origin {
        let module_id = self.extensions[index(method)].module_id;
        Origin { runtime: self.runtime as u32 + 1, module_id, generation: self.generation }
    }

    /// Signs `batch`. An instance that fails is dropped, and the next call makes another one.
    ///
    /// # Errors
    /// The inner one: the extension failed the batch as a whole. The outer one: there is no instance to be had.
    pub fn sign(&mut self, method: Method, batch: &mut Batch) -> Result<Result<(), EngineError>, Failure> {
        self.swap_to(method);
        let index = index(method);
        let mut instance = match self.extensions[index].instance.take() {
            Some(instance) => instance,
            None => self.instance(&*self.extensions[index].program).map_err(Failure::environment)?,
        };
        let signed = instance.run(ExtensionKind::Sign, batch);
        if signed.is_ok() {
            self.extensions[index].instance = Some(instance);
        }
        Ok(signed)
    }

    /// Wipes what the last batch left in the instance of `method`.
    pub fn reset(&mut self, method: Method) {
        let extension = &mut self.extensions[index(method)];
        if extension.instance.as_mut().is_some_and(|instance| instance.reset().is_err()) {
            extension.instance = None;
        }
    }

    fn swap_to(&mut self, method: Method) {
        if self.is_swapping && self.present != Some(method) {
            for extension in &mut self.extensions {
                extension.instance = None;
            }
            self.stats.swaps.add(u64::from(self.present.is_some()));
            self.generation = self.generation.wrapping_add(1);
            self.present = Some(method);
        }
    }
}

/// Where a method's extension is in the order of [`Method::ALL`].
fn index(method: Method) -> usize {
    method as usize - 1
}
