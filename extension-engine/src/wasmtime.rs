//! wasmtime: machine code by Cranelift.

mod engines;
mod tracked;

use std::ops::Range;
use std::sync::Arc;
use std::{ptr, slice};

use ringseal_abi::{export, import};
use wasmtime::{
    Error, Instance, InstancePre, Linker, Memory, ResourceLimiter, Store, Trap, TypedFunc, UpdateDeadline,
    WasmParams, WasmResults,
};

pub(crate) use self::engines::{advance_epochs, get as engine};
use crate::cache::{CompiledModule, Lookup};
use crate::deadline::is_due;
use crate::guest::{self, Fault, GET_ELEM_ANSWER, Plan, READ_ELEMS_ANSWER};
use crate::validate::one_line;
use crate::{EngineError, ExtensionEngine, Limits, Module, Program, Runtime};

const RUNTIME: Runtime = Runtime::Wasmtime;

pub(crate) fn program(
    module: Module,
    name: &str,
    lookup: Lookup,
    limits: &Limits,
) -> Result<Box<dyn Program>, EngineError> {
    let plan = Plan::new(RUNTIME, name, &module, limits)?;
    match prepare(&module, lookup, limits) {
        Ok(instance) => Ok(Box::new(Compiled { module, plan: Arc::new(plan), instance })),
        Err(error) => Err(EngineError::Compile {
            runtime: RUNTIME,
            module: module.label().to_owned(),
            reason: reason(&error),
        }),
    }
}

struct Compiled {
    module: Module,
    plan: Arc<Plan>,
    instance: InstancePre<Memories>,
}

/// Compiles `module`, unless it was found, and links the host's functions to it.
fn prepare(module: &Module, lookup: Lookup, limits: &Limits) -> Result<InstancePre<Memories>, Error> {
    let engine = engine(limits.stack)?;
    let compiled = lookup
        .or_compile(|| wasmtime::Module::from_binary(engine, module.bytes()).map(CompiledModule::from))?;
    let compiled = compiled.wasmtime().ok_or_else(|| Error::msg("it was compiled for another runtime"))?;
    let mut linker = Linker::new(compiled.engine());
    linker.func_wrap(import::MODULE, import::GET_ELEM, |_: u32, _: u32| GET_ELEM_ANSWER)?;
    linker.func_wrap(import::MODULE, import::READ_ELEMS, |_: u32, _: u32| READ_ELEMS_ANSWER)?;
    linker.instantiate_pre(compiled)
}

impl Program for Compiled {
    fn runtime(&self) -> Runtime {
        RUNTIME
    }

    fn module(&self) -> Option<&Module> {
        Some(&self.module)
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        let guest =
            Guest::new(&self.instance, self.plan.memory).map_err(|error| EngineError::Instantiate {
                runtime: RUNTIME,
                module: self.module.label().to_owned(),
                reason: reason(&error),
            })?;
        Ok(Box::new(guest::Engine::start(guest, &self.plan)?))
    }
}

/// Bounds an instance's memory.
struct Memories {
    len_max: u64,
    was_refused: bool,
}

impl ResourceLimiter for Memories {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool, Error> {
        let allowed = desired as u64 <= self.len_max;
        self.was_refused |= !allowed;
        Ok(allowed)
    }

    /// `validate::check` has bounded them, and no instruction that a module may have makes them grow.
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(true)
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
    /// Where the memory is, and how long it was when a buffer was last asked for: it neither moves (see
    /// `engines::config`) nor becomes shorter, and asking wasmtime twice a run costs a fifth of it.
    known: (*mut u8, usize),
}

// SAFETY: `known` points into the store's memory, which moves with the store if at all.
unsafe impl Send for Guest {}

impl Guest {
    fn new(pre: &InstancePre<Memories>, memory_len_max: u64) -> Result<Self, Error> {
        let memories = Memories { len_max: memory_len_max, was_refused: false };
        let mut store = Store::new(pre.module().engine(), memories);
        store.limiter(|memories| memories);
        // Whatever thread has ticked: the one that runs this instance knows whether it is due.
        store.epoch_deadline_callback(|_| {
            Ok(if is_due() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        let instance = pre.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, export::MEMORY);
        Ok(Self {
            memory: memory.ok_or_else(|| Error::msg("it has no memory"))?,
            init: function(&instance, &mut store, export::INIT)?,
            finit: function(&instance, &mut store, export::FINIT)?,
            malloc: function(&instance, &mut store, export::MALLOC)?,
            run: function(&instance, &mut store, export::RUN)?,
            reset: function(&instance, &mut store, export::RESET)?,
            known: (ptr::null_mut(), 0),
            store,
        })
    }
}

fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<Memories>,
    name: &str,
) -> Result<TypedFunc<P, R>, Error> {
    instance.get_typed_func(store, name)
}

impl guest::Guest for Guest {
    const CAN_BE_INTERRUPTED: bool = true;
    type Backup = tracked::Tracked;

    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    #[inline]
    fn bytes(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        let (start, len) = self.known;
        if range.start > range.end || range.end > len {
            return None;
        }
        // SAFETY: the range is within the memory, which the store keeps as long as it lives, and which nobody uses while
        // the store is borrowed.
        Some(unsafe { slice::from_raw_parts_mut(start.add(range.start), range.len()) })
    }

    fn init(&mut self) -> Result<(), Fault> {
        self.init.call(&mut self.store, ()).map_err(fault)
    }

    fn finit(&mut self) -> Result<(), Fault> {
        self.finit.call(&mut self.store, ()).map_err(fault)
    }

    fn malloc(&mut self, len: u32) -> Result<u32, Fault> {
        let place = self.malloc.call(&mut self.store, len).map_err(fault)?;
        let memory = self.memory();
        self.known = (memory.as_mut_ptr(), memory.len());
        Ok(place)
    }

    #[inline]
    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, Fault> {
        self.run.call(&mut self.store, (name_ptr, kind, arg_ptr)).map_err(fault)
    }

    #[inline]
    fn reset(&mut self) -> Result<(), Fault> {
        self.reset.call(&mut self.store, ()).map_err(fault)
    }

    fn was_refused_memory(&mut self) -> bool {
        std::mem::take(&mut self.store.data_mut().was_refused)
    }
}

#[cold]
fn fault(error: Error) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Deadline,
        _ => Fault::Trap(reason(&error)),
    }
}

/// What is at the bottom of `error`: the trap, if it is one.
fn reason(error: &Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => one_line(&trap.to_string()),
        None => one_line(&error.root_cause().to_string()),
    }
}
