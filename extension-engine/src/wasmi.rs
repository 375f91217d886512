//! wasmi: a portable interpreter.

use ringseal_abi::{export, import};
use wasmi::{
    CompilationMode, Config, Engine, Error, Instance, Linker, Memory, Store, StoreLimits, StoreLimitsBuilder,
    TypedFunc, WasmParams, WasmResults,
};

use crate::cache::{CompiledModule, Lookup};
use crate::guest::{self, GET_ELEM_ANSWER, READ_ELEMS_ANSWER};
use crate::validate::one_line;
use crate::{EngineError, ExtensionEngine, MEMORY_PAGES_MAX, Module, Program, Runtime};

const RUNTIME: Runtime = Runtime::Wasmi;

pub(crate) fn program(module: Module, name: &str, lookup: Lookup) -> Result<Box<dyn Program>, EngineError> {
    match prepare(&module, lookup) {
        Ok((compiled, linker)) => Ok(Box::new(Compiled { module, name: name.to_owned(), compiled, linker })),
        Err(error) => Err(EngineError::Compile {
            runtime: RUNTIME,
            module: module.label().to_owned(),
            reason: one_line(&error.to_string()),
        }),
    }
}

struct Compiled {
    module: Module,
    name: String,
    compiled: wasmi::Module,
    linker: Linker<StoreLimits>,
}

/// Translates `module`, unless it was found, and makes the host's functions that it may be linked to.
fn prepare(module: &Module, lookup: Lookup) -> Result<(wasmi::Module, Linker<StoreLimits>), Error> {
    let compiled = lookup.or_compile(|| {
        let engine = Engine::new(&config());
        wasmi::Module::new(&engine, module.bytes()).map(CompiledModule::from)
    })?;
    let compiled = compiled.wasmi().ok_or_else(|| Error::new("it was compiled for another runtime"))?.clone();
    let mut linker = Linker::new(compiled.engine());
    linker.func_wrap(import::MODULE, import::GET_ELEM, |_: u32, _: u32| GET_ELEM_ANSWER)?;
    linker.func_wrap(import::MODULE, import::READ_ELEMS, |_: u32, _: u32| READ_ELEMS_ANSWER)?;
    Ok((compiled, linker))
}

fn config() -> Config {
    let mut config = Config::default();
    config.wasm_wide_arithmetic(true).wasm_simd(true);
    // On by default, and not for extensions: the less there is, the less can be wrong with it.
    config.wasm_relaxed_simd(false).wasm_tail_call(false).wasm_multi_memory(false);
    // All of it now, so that no batch pays for it.
    config.compilation_mode(CompilationMode::Eager).ignore_custom_sections(true);
    config
}

impl Program for Compiled {
    fn runtime(&self) -> Runtime {
        RUNTIME
    }

    fn module(&self) -> Option<&Module> {
        Some(&self.module)
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        let guest = Guest::new(&self.compiled, &self.linker).map_err(|error| EngineError::Instantiate {
            runtime: RUNTIME,
            module: self.module.label().to_owned(),
            reason: one_line(&error.to_string()),
        })?;
        Ok(Box::new(guest::Engine::start(guest, &self.name)?))
    }
}

/// An instance with its functions, which are looked up once.
struct Guest {
    store: Store<StoreLimits>,
    memory: Memory,
    init: TypedFunc<(), ()>,
    finit: TypedFunc<(), ()>,
    malloc: TypedFunc<u32, u32>,
    run: TypedFunc<(u32, u32, u32), i32>,
    reset: TypedFunc<(), ()>,
}

impl Guest {
    fn new(module: &wasmi::Module, linker: &Linker<StoreLimits>) -> Result<Self, Error> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_PAGES_MAX as usize * 65536).build();
        let mut store = Store::new(linker.engine(), limits);
        store.limiter(|limits| limits);
        let instance = linker.instantiate_and_start(&mut store, module)?;
        let memory = instance.get_memory(&store, export::MEMORY);
        Ok(Self {
            memory: memory.ok_or_else(|| Error::new("it has no memory"))?,
            init: function(&instance, &store, export::INIT)?,
            finit: function(&instance, &store, export::FINIT)?,
            malloc: function(&instance, &store, export::MALLOC)?,
            run: function(&instance, &store, export::RUN)?,
            reset: function(&instance, &store, export::RESET)?,
            store,
        })
    }
}

fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &Store<StoreLimits>,
    name: &str,
) -> Result<TypedFunc<P, R>, Error> {
    instance.get_typed_func(store, name)
}

impl guest::Guest for Guest {
    const RUNTIME: Runtime = RUNTIME;

    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    fn init(&mut self) -> Result<(), String> {
        self.init.call(&mut self.store, ()).map_err(reason)
    }

    fn finit(&mut self) -> Result<(), String> {
        self.finit.call(&mut self.store, ()).map_err(reason)
    }

    fn malloc(&mut self, len: u32) -> Result<u32, String> {
        self.malloc.call(&mut self.store, len).map_err(reason)
    }

    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, String> {
        self.run.call(&mut self.store, (name_ptr, kind, arg_ptr)).map_err(reason)
    }

    fn reset(&mut self) -> Result<(), String> {
        self.reset.call(&mut self.store, ()).map_err(reason)
    }
}

fn reason(error: Error) -> String {
    one_line(&error.to_string())
}
