//! wasmtime: machine code by Cranelift.

use std::sync::OnceLock;

use ringseal_abi::{export, import};
use wasmtime::{
    Config, Engine, Error, Instance, InstancePre, Linker, Memory, OptLevel, Store, StoreLimits,
    StoreLimitsBuilder, Trap, TypedFunc, WasmParams, WasmResults,
};

use crate::cache::{CompiledModule, Lookup};
use crate::guest::{self, GET_ELEM_ANSWER, READ_ELEMS_ANSWER};
use crate::validate::one_line;
use crate::{EngineError, ExtensionEngine, Limits, MEMORY_PAGES_MAX, Module, Program, Runtime};

const RUNTIME: Runtime = Runtime::Wasmtime;

pub(crate) fn program(
    module: Module,
    name: &str,
    lookup: Lookup,
    limits: &Limits,
) -> Result<Box<dyn Program>, EngineError> {
    match prepare(&module, lookup, limits) {
        Ok(instance) => Ok(Box::new(Compiled { module, name: name.to_owned(), instance })),
        Err(error) => Err(EngineError::Compile {
            runtime: RUNTIME,
            module: module.label().to_owned(),
            reason: reason(&error),
        }),
    }
}

struct Compiled {
    module: Module,
    name: String,
    instance: InstancePre<StoreLimits>,
}

/// Compiles `module`, unless it was found, and links the host's functions to it.
fn prepare(module: &Module, lookup: Lookup, limits: &Limits) -> Result<InstancePre<StoreLimits>, Error> {
    let engine = engine(limits.stack)?;
    let compiled = lookup
        .or_compile(|| wasmtime::Module::from_binary(engine, module.bytes()).map(CompiledModule::from))?;
    let compiled = compiled.wasmtime().ok_or_else(|| Error::msg("it was compiled for another runtime"))?;
    let mut linker = Linker::new(compiled.engine());
    linker.func_wrap(import::MODULE, import::GET_ELEM, |_: u32, _: u32| GET_ELEM_ANSWER)?;
    linker.func_wrap(import::MODULE, import::READ_ELEMS, |_: u32, _: u32| READ_ELEMS_ANSWER)?;
    linker.instantiate_pre(compiled)
}

/// What compiles modules whose calls may take `stack` bytes, for the life of the process.
pub(crate) fn engine(_stack: u32) -> Result<&'static Engine, Error> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let engine = Engine::new(&config())?;
    Ok(ENGINE.get_or_init(|| engine))
}

fn config() -> Config {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed);
    config.wasm_wide_arithmetic(true).wasm_simd(true);
    // On by default, and not for extensions: the less there is, the less can be wrong with it.
    config.wasm_relaxed_simd(false).wasm_tail_call(false).wasm_multi_memory(false).wasm_memory64(false);
    // A trap's reason is enough: nobody reads the backtrace of a module without names.
    config.wasm_backtrace_max_frames(None).generate_address_map(false);
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
        let guest = Guest::new(&self.instance).map_err(|error| EngineError::Instantiate {
            runtime: RUNTIME,
            module: self.module.label().to_owned(),
            reason: reason(&error),
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
    fn new(pre: &InstancePre<StoreLimits>) -> Result<Self, Error> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_PAGES_MAX as usize * 65536).build();
        let mut store = Store::new(pre.module().engine(), limits);
        store.limiter(|limits| limits);
        let instance = pre.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, export::MEMORY);
        Ok(Self {
            memory: memory.ok_or_else(|| Error::msg("it has no memory"))?,
            init: function(&instance, &mut store, export::INIT)?,
            finit: function(&instance, &mut store, export::FINIT)?,
            malloc: function(&instance, &mut store, export::MALLOC)?,
            run: function(&instance, &mut store, export::RUN)?,
            reset: function(&instance, &mut store, export::RESET)?,
            store,
        })
    }
}

fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<StoreLimits>,
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
        self.init.call(&mut self.store, ()).map_err(|error| reason(&error))
    }

    fn finit(&mut self) -> Result<(), String> {
        self.finit.call(&mut self.store, ()).map_err(|error| reason(&error))
    }

    fn malloc(&mut self, len: u32) -> Result<u32, String> {
        self.malloc.call(&mut self.store, len).map_err(|error| reason(&error))
    }

    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, String> {
        self.run.call(&mut self.store, (name_ptr, kind, arg_ptr)).map_err(|error| reason(&error))
    }

    fn reset(&mut self) -> Result<(), String> {
        self.reset.call(&mut self.store, ()).map_err(|error| reason(&error))
    }
}

/// What is at the bottom of `error`: the trap, if it is one.
fn reason(error: &Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => one_line(&trap.to_string()),
        None => one_line(&error.root_cause().to_string()),
    }
}
