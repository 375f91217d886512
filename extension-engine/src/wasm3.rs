//! wasm3: a small interpreter in C, for WebAssembly 1.0.
//!
//! The C interface is called directly (`wasm3_sys`), not through the crate's wrapper, which finds functions by names
//! that two exports of one function can't both have, and can't compile ahead or bound the memory.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use wasm3::wasm3_sys as ffi;

use crate::deadline::{Watch, ticks_in};
use crate::guest::{self, Fault, GET_ELEM_ANSWER, Plan, READ_ELEMS_ANSWER};
use crate::validate::{Functions, one_line};
use crate::{EngineError, ExtensionEngine, Limits, Module, PAGE_LEN, Program, Runtime, module};

const RUNTIME: Runtime = Runtime::Wasm3;

/// wasm3 recurses on the native stack beside its own, for each call and each loop that is entered. So many bytes of the
/// native one stand for one of its own; whichever ends first ends the call (see `m3_Yield`).
const NATIVE_STACK_FACTOR: u32 = 8;

thread_local! {
    /// The lowest address that the native stack may reach in a call.
    static STACK_END: Cell<usize> = const { Cell::new(0) };
}

/// wasm3 calls this before each call of a function, and stops if it gets an error. Its own does nothing, and is weak.
#[unsafe(no_mangle)]
extern "C" fn m3_Yield() -> *const c_char {
    let here = 0_u8;
    if ptr::from_ref(&here).addr() >= STACK_END.get() {
        return ptr::null();
    }
    // SAFETY: nobody writes to this variable of wasm3's.
    unsafe { ffi::m3Err_trapStackOverflow }
}

/// wasm3 numbers its code pages by a global variable without a lock. All pages are made while an instance is.
static LOADING: Mutex<()> = Mutex::new(());

pub(crate) fn program(
    module: Module,
    name: &str,
    functions: Functions,
    limits: &Limits,
) -> Result<Box<dyn Program>, EngineError> {
    let plan = Plan::new(RUNTIME, name, &module, limits)?;
    Ok(Box::new(Loaded { module, plan: Arc::new(plan), functions, limits: limits.clone() }))
}

/// A module for wasm3, which compiles anew for each instance.
struct Loaded {
    module: Module,
    plan: Arc<Plan>,
    functions: Functions,
    limits: Limits,
}

impl Program for Loaded {
    fn runtime(&self) -> Runtime {
        RUNTIME
    }

    fn module(&self) -> Option<&Module> {
        Some(&self.module)
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionEngine>, EngineError> {
        let label = self.module.label();
        let notice = module::overdue(label, &self.limits);
        let watch =
            Watch::start(ticks_in(self.limits.compile), false, &notice).map_err(EngineError::Timer)?;
        let guest = Guest::new(&self.module, &self.functions, &self.limits);
        drop(watch);
        let guest = guest.map_err(|reason| EngineError::Instantiate {
            runtime: RUNTIME,
            module: label.to_owned(),
            reason,
        })?;
        Ok(Box::new(guest::Engine::start(guest, &self.plan)?))
    }
}

type Function = NonNull<ffi::M3Function>;
// SAFETY: what an instance points to (environment, interpreter, module) is its own, and wasm3 keeps no state of the
// thread. What it does keep, the number of the next code page, changes under `LOADING`.
unsafe impl Send for Guest {}

type HostFunction = unsafe extern "C" fn(ffi::IM3Runtime, *mut u64, *mut c_void) -> *const c_void;

/// An instance with its functions, which are looked up once. Fields are dropped in this order: the interpreter's
/// functions and types are the environment's, and all of them point into the module's bytes.
struct Guest {
    init: Function,
    finit: Function,
    malloc: Function,
    run: Function,
    reset: Function,
    interpreter: Interpreter,
    _environment: Environment,
    _module: Module,
    /// Bytes of memory that it had at first, and may have.
    memory_len: (u64, u64),
}

struct Environment(NonNull<ffi::M3Environment>);

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: it is ours, and what was made in it is gone (see `Guest`).
        unsafe { ffi::m3_FreeEnvironment(self.0.as_ptr()) }
    }
}

/// wasm3 calls this a runtime: stack, memory, code, and the modules that were loaded into it.
struct Interpreter {
    runtime: NonNull<ffi::M3Runtime>,
    /// Bytes of its own stack.
    stack_len: u32,
}

impl Interpreter {
    /// Zeroes the stack, where the last calls have left their intermediate values.
    fn wipe_stack(&mut self) {
        // SAFETY: it was made with this length, and nothing runs on it now.
        unsafe { (*self.runtime.as_ptr()).stack.cast::<u8>().write_bytes(0, self.stack_len as usize) }
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.wipe_stack();
        // SAFETY: it is ours, and its environment still lives.
        unsafe { ffi::m3_FreeRuntime(self.runtime.as_ptr()) }
    }
}

impl Guest {
    fn new(module: &Module, functions: &Functions, limits: &Limits) -> Result<Self, String> {
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let module = module.clone();
        // SAFETY: it has no preconditions.
        let environment = NonNull::new(unsafe { ffi::m3_NewEnvironment() }).ok_or("no memory")?;
        let environment = Environment(environment);
        let stack_len = limits.stack / NATIVE_STACK_FACTOR;
        // SAFETY: the environment lives.
        let interpreter = unsafe { ffi::m3_NewRuntime(environment.0.as_ptr(), stack_len, ptr::null_mut()) };
        let interpreter = NonNull::new(interpreter).ok_or("no memory")?;
        let interpreter = Interpreter { runtime: interpreter, stack_len };
        // SAFETY: all three live, and the module's bytes, whose place doesn't move with it, live as long as the
        // interpreter does: on failure, locals are dropped in the reverse of their order.
        let loaded = unsafe { load(&environment, &interpreter, module.bytes(), limits) }?;
        // SAFETY: the module was loaded.
        unsafe { link(loaded) }?;
        // SAFETY: the module was loaded and linked.
        unsafe { compile(loaded) }?;
        // SAFETY: `validate::check` took the indices from the exports of these very bytes, and a module's functions
        // don't move once it is loaded.
        let function =
            |index: u32| unsafe { NonNull::new_unchecked((*loaded).functions.add(index as usize)) };
        // SAFETY: a memory was made when the module was loaded (see `memory`).
        let memory_len = unsafe { (*(*interpreter.runtime.as_ptr()).memory.mallocated).length } as u64;
        Ok(Self {
            init: function(functions.init),
            finit: function(functions.finit),
            malloc: function(functions.malloc),
            run: function(functions.run),
            reset: function(functions.reset),
            interpreter,
            _environment: environment,
            _module: module,
            memory_len: (memory_len, limits.memory_pages() * PAGE_LEN),
        })
    }

    /// Calls `function`, and returns its result, if it has one.
    ///
    /// # Safety
    /// `function` must be one of the fields of `self`, and have N parameters, all of type i32.
    unsafe fn call<const N: usize>(&mut self, function: Function, args: [u32; N]) -> Result<u32, Fault> {
        let interpreter = self.interpreter.runtime.as_ptr();
        let here = 0_u8;
        let native_len = self.interpreter.stack_len as usize * NATIVE_STACK_FACTOR as usize;
        STACK_END.set(ptr::from_ref(&here).addr().saturating_sub(native_len));
        // SAFETY: the interpreter lives and isn't running. Arguments and result are passed in slots of 64 bits at the
        // bottom of its stack, which is longer than that. A function that was compiled (see `compile`) begins with
        // the operation to jump to; this is how wasm3's own `Call` does it.
        unsafe {
            let stack = (*interpreter).stack.cast::<u64>();
            for (i, arg) in args.into_iter().enumerate() {
                stack.add(i).write(arg.into());
            }
            let code = (*function.as_ptr()).compiled;
            let Some(operation) = code.cast::<ffi::IM3Operation>().read() else {
                return Err(Fault::Trap("the function was not compiled".to_owned()));
            };
            let trap = operation(code.add(1), stack.cast(), (*interpreter).memory.mallocated, 0, 0.0);
            said(trap.cast()).map_err(Fault::Trap)?;
            Ok(stack.cast::<u32>().read())
        }
    }
}

/// Parses `bytes` and makes them the interpreter's module.
///
/// # Safety
/// `bytes` must have passed `validate::check`, and stay where they are as long as the interpreter lives; it must have
/// been made in `environment`.
unsafe fn load(
    environment: &Environment,
    interpreter: &Interpreter,
    bytes: &[u8],
    limits: &Limits,
) -> Result<ffi::IM3Module, String> {
    let len = u32::try_from(bytes.len()).map_err(|_| "it is too large")?;
    let mut module = ptr::null_mut();
    // SAFETY: the caller's promise; if it fails, it has freed the module.
    said(unsafe { ffi::m3_ParseModule(environment.0.as_ptr(), &mut module, bytes.as_ptr(), len) })?;
    let interpreter = interpreter.runtime.as_ptr();
    let pages_max = u32::try_from(limits.memory_pages()).unwrap_or(u32::MAX);
    // SAFETY: the module was parsed and is nobody else's.
    unsafe {
        let most = &mut (*module).memoryInfo.maxPages;
        if *most == 0 || *most > pages_max {
            *most = pages_max;
        }
    }
    // SAFETY: both live, in the same environment.
    let result = unsafe { ffi::m3_LoadModule(interpreter, module) };
    if !result.is_null() {
        // SAFETY: the interpreter frees the modules in its list. This one is not there: without a start function,
        // which `validate::check` refuses, nothing can fail once it is.
        unsafe { ffi::m3_FreeModule(module) };
    }
    said(result)?;
    Ok(module)
}

/// Links the host's functions to those of the module's imports that want them.
///
/// # Safety
/// `module` must have been loaded.
unsafe fn link(module: ffi::IM3Module) -> Result<(), String> {
    let functions: [(&CStr, HostFunction); 2] = [(c"HostGetElem", get_elem), (c"HostReadElems", read_elems)];
    for (name, function) in functions {
        // SAFETY: the strings end with NUL, and the functions have the type that they are said to have.
        let result = unsafe {
            ffi::m3_LinkRawFunction(module, c"env".as_ptr(), name.as_ptr(), c"i(ii)".as_ptr(), Some(function))
        };
        // SAFETY: nobody writes to this variable of wasm3's.
        let not_imported = unsafe { ffi::m3Err_functionLookupFailed };
        if result != not_imported {
            said(result)?;
        }
    }
    Ok(())
}

unsafe extern "C" fn get_elem(_: ffi::IM3Runtime, stack: *mut u64, _: *mut c_void) -> *const c_void {
    // SAFETY: wasm3 passes the arguments' slots, and takes the result from the first of them.
    unsafe { stack.cast::<i32>().write(GET_ELEM_ANSWER) }
    ptr::null()
}

unsafe extern "C" fn read_elems(_: ffi::IM3Runtime, stack: *mut u64, _: *mut c_void) -> *const c_void {
    // SAFETY: as above.
    unsafe { stack.cast::<i32>().write(READ_ELEMS_ANSWER) }
    ptr::null()
}

/// Compiles every function now: wasm3 would do it at the first call, in the middle of a batch.
///
/// # Safety
/// `module` must have been loaded, and the host's functions linked to its imports.
unsafe fn compile(module: ffi::IM3Module) -> Result<(), String> {
    // SAFETY: the module's functions are an array of this length; those that are imported are linked, and count as
    // compiled.
    unsafe {
        for index in 0..(*module).numFunctions {
            let function = (*module).functions.add(index as usize);
            if (*function).compiled.is_null() {
                said(ffi::Compile_Function(function))?;
            }
        }
    }
    Ok(())
}

/// What wasm3 says went wrong, if it did.
fn said(result: *const c_char) -> Result<(), String> {
    if result.is_null() {
        return Ok(());
    }
    // SAFETY: wasm3's results are null or constant strings.
    let text = unsafe { CStr::from_ptr(result) };
    Err(one_line(text.to_string_lossy().trim_start_matches("[trap] ")))
}

impl guest::Guest for Guest {
    const CAN_BE_INTERRUPTED: bool = false;
    type Backup = guest::Copy;

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the interpreter lives and isn't running until the slice is gone. The memory, which every extension
        // has, is a header followed by as many bytes as it says.
        unsafe {
            let header = (*self.interpreter.runtime.as_ptr()).memory.mallocated;
            slice::from_raw_parts_mut(header.add(1).cast(), (*header).length as usize)
        }
    }

    fn init(&mut self) -> Result<(), Fault> {
        // SAFETY: `validate::check` has seen to the types, here and below.
        unsafe { self.call(self.init, []) }.map(|_| ())
    }

    fn finit(&mut self) -> Result<(), Fault> {
        // SAFETY: see `init`.
        unsafe { self.call(self.finit, []) }.map(|_| ())
    }

    fn malloc(&mut self, len: u32) -> Result<u32, Fault> {
        // SAFETY: see `init`.
        unsafe { self.call(self.malloc, [len]) }
    }

    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, Fault> {
        // SAFETY: see `init`.
        unsafe { self.call(self.run, [name_ptr, kind, arg_ptr]) }.map(|status| status as i32)
    }

    fn reset(&mut self) -> Result<(), Fault> {
        // SAFETY: see `init`.
        unsafe { self.call(self.reset, []) }?;
        self.interpreter.wipe_stack();
        Ok(())
    }

    /// wasm3 doesn't say. Who had got as much as was left will have asked for that too.
    fn was_refused_memory(&mut self) -> bool {
        let (at_first, most) = self.memory_len;
        let got = (self.memory().len() as u64).saturating_sub(at_first);
        got > 0 && most - at_first - got <= got
    }
}
