//! wasmi: a portable interpreter.
//!
//! It runs in slices, by fuel: whenever one is used up, the host looks whether the call is due, and resumes it if not.

use std::sync::Arc;

use ringseal_abi::{export, import};
use wasmi::{
    CompilationMode, Config, Engine, Error, Instance, Linker, Memory, ResourceLimiter, Store, TypedFunc,
    TypedResumableCall, WasmParams, WasmResults,
};

use wasmi_core::LimiterError;

use crate::cache::{CompiledModule, Lookup};
use crate::deadline::is_due;
use crate::guest::{self, Fault, GET_ELEM_ANSWER, Plan, READ_ELEMS_ANSWER};
use crate::validate::one_line;
use crate::{EngineError, ExtensionEngine, Limits, Module, Program, Runtime};

const RUNTIME: Runtime = Runtime::Wasmi;

/// About as many instructions, which take about a millisecond.
const SLICE: u64 = 1_000_000;

/// How often the module may ask for memory in one call. Each time takes some of the thread's own stack, until the slice is
/// used up; and whoever gets nothing uses up nothing of it.
const GROWTHS_MAX: u32 = 4096;

/// Bytes of stack that a call takes at least: what bounds their depth.
const FRAME_LEN_MIN: u32 = 64;

pub(crate) fn program(
    module: Module,
    name: &str,
    lookup: Lookup,
    limits: &Limits,
) -> Result<Box<dyn Program>, EngineError> {
    let plan = Plan::new(RUNTIME, name, &module, limits)?;
    match prepare(&module, lookup, limits) {
        Ok((compiled, linker)) => Ok(Box::new(Compiled { module, plan: Arc::new(plan), compiled, linker })),
        Err(error) => Err(EngineError::Compile {
            runtime: RUNTIME,
            module: module.label().to_owned(),
            reason: one_line(&error.to_string()),
        }),
    }
}

struct Compiled {
    module: Module,
    plan: Arc<Plan>,
    compiled: wasmi::Module,
    linker: Linker<Memories>,
}

/// Translates `module`, unless it was found, and makes the host's functions that it may be linked to.
fn prepare(
    module: &Module,
    lookup: Lookup,
    limits: &Limits,
) -> Result<(wasmi::Module, Linker<Memories>), Error> {
    let compiled = lookup.or_compile(|| {
        let engine = Engine::new(&config(limits.stack));
        wasmi::Module::new(&engine, module.bytes()).map(CompiledModule::from)
    })?;
    let compiled = compiled.wasmi().ok_or_else(|| Error::new("it was compiled for another runtime"))?.clone();
    let mut linker = Linker::new(compiled.engine());
    linker.func_wrap(import::MODULE, import::GET_ELEM, |_: u32, _: u32| GET_ELEM_ANSWER)?;
    linker.func_wrap(import::MODULE, import::READ_ELEMS, |_: u32, _: u32| READ_ELEMS_ANSWER)?;
    Ok((compiled, linker))
}

fn config(stack: u32) -> Config {
    let mut config = Config::default();
    config.wasm_wide_arithmetic(true).wasm_simd(true);
    // On by default, and not for extensions: the less there is, the less can be wrong with it.
    config.wasm_relaxed_simd(false).wasm_tail_call(false).wasm_multi_memory(false);
    // All of it now, so that no batch pays for it.
    config.compilation_mode(CompilationMode::Eager).ignore_custom_sections(true);
    config.consume_fuel(true);
    config.set_max_stack_height(stack as usize).set_max_recursion_depth((stack / FRAME_LEN_MIN) as usize);
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
        let guest = Guest::new(&self.compiled, &self.linker, self.plan.memory);
        let guest = guest.map_err(|error| EngineError::Instantiate {
            runtime: RUNTIME,
            module: self.module.label().to_owned(),
            reason: one_line(&error.to_string()),
        })?;
        Ok(Box::new(guest::Engine::start(guest, &self.plan)?))
    }
}

/// Bounds an instance's memory.
struct Memories {
    len_max: u64,
    was_refused: bool,
    /// In the present call.
    growths: u32,
}

impl ResourceLimiter for Memories {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool, LimiterError> {
        let allowed = desired as u64 <= self.len_max;
        self.was_refused |= !allowed;
        self.growths += 1;
        if self.growths > GROWTHS_MAX {
            self.was_refused = true;
            return Err(LimiterError::ResourceLimiterDeniedAllocation);
        }
        Ok(allowed)
    }

    /// `validate::check` has bounded them, and no instruction that a module may have makes them grow.
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, LimiterError> {
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        1
    }
}

/// An instance with its functions, which are looked up once.
struct Guest {
    store: Store<Memories>,
    memory: Memory,
    init: TypedFunc<(), ()>,
    finit: TypedFunc<(), ()>,
    malloc: TypedFunc<u32, u32>,
    run: TypedFunc<(u32, u32, u32), i32>,
    reset: TypedFunc<(), ()>,
}

impl Guest {
    fn new(module: &wasmi::Module, linker: &Linker<Memories>, memory_len_max: u64) -> Result<Self, Error> {
        let memories = Memories { len_max: memory_len_max, was_refused: false, growths: 0 };
        let mut store = Store::new(linker.engine(), memories);
        store.limiter(|memories| memories);
        store.set_fuel(SLICE)?;
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
    store: &Store<Memories>,
    name: &str,
) -> Result<TypedFunc<P, R>, Error> {
    instance.get_typed_func(store, name)
}

/// Calls `function`, slice by slice, until it returns or is due.
fn call<P: WasmParams, R: WasmResults>(
    function: &TypedFunc<P, R>,
    store: &mut Store<Memories>,
    parameters: P,
) -> Result<R, Fault> {
    store.data_mut().growths = 0;
    let mut call = function.call_resumable(&mut *store, parameters).map_err(|error| reason(&error))?;
    loop {
        match call {
            TypedResumableCall::Finished(result) => return Ok(result),
            TypedResumableCall::OutOfFuel(_) if is_due() => return Err(Fault::Deadline),
            TypedResumableCall::OutOfFuel(paused) => {
                store.set_fuel(paused.required_fuel().max(SLICE)).map_err(|error| reason(&error))?;
                call = paused.resume(&mut *store).map_err(|error| reason(&error))?;
            }
            TypedResumableCall::HostTrap(trapped) => return Err(reason(trapped.host_error())),
        }
    }
}

impl guest::Guest for Guest {
    const CAN_BE_INTERRUPTED: bool = true;
    type Backup = guest::Copy;

    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    fn init(&mut self) -> Result<(), Fault> {
        call(&self.init, &mut self.store, ())
    }

    fn finit(&mut self) -> Result<(), Fault> {
        call(&self.finit, &mut self.store, ())
    }

    fn malloc(&mut self, len: u32) -> Result<u32, Fault> {
        call(&self.malloc, &mut self.store, len)
    }

    #[inline]
    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, Fault> {
        call(&self.run, &mut self.store, (name_ptr, kind, arg_ptr))
    }

    #[inline]
    fn reset(&mut self) -> Result<(), Fault> {
        call(&self.reset, &mut self.store, ())
    }

    fn was_refused_memory(&mut self) -> bool {
        std::mem::take(&mut self.store.data_mut().was_refused)
    }
}

#[cold]
fn reason(error: &Error) -> Fault {
    Fault::Trap(one_line(&error.to_string()))
}
