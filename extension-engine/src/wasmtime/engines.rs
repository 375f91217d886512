//! wasmtime's engines: one for each limit of stack, for the life of the process.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use wasmtime::{Config, Engine, Error, OptLevel};

/// More limits than a process is ever given.
const ENGINES_MAX: usize = 16;

/// An engine, and the bytes of stack that it was made for.
struct Limited {
    stack: u32,
    engine: Engine,
}

/// In the order in which they were made. They are never dropped: a signal handler walks them.
static ENGINES: [AtomicPtr<Limited>; ENGINES_MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; ENGINES_MAX];

fn engines() -> impl Iterator<Item = &'static Limited> {
    let pointers = ENGINES.iter().map(|place| place.load(Ordering::Acquire));
    // SAFETY: null, or what `get` has made and leaked.
    pointers.map_while(|pointer| unsafe { pointer.as_ref() })
}

/// Lets every running module ask whether it is due. Safe in a signal handler.
pub(crate) fn advance_epochs() {
    for limited in engines() {
        limited.engine.increment_epoch();
    }
}

/// The engine whose modules' calls may take `stack` bytes.
pub(crate) fn get(stack: u32) -> Result<&'static Engine, Error> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = engines().find(|limited| limited.stack == stack) {
        return Ok(&found.engine);
    }
    let place = ENGINES.iter().find(|place| place.load(Ordering::Relaxed).is_null());
    let place = place.ok_or_else(|| Error::msg("this process has had too many limits of stack"))?;
    let limited = Box::leak(Box::new(Limited { stack, engine: Engine::new(&config(stack))? }));
    place.store(limited, Ordering::Release);
    Ok(&limited.engine)
}

fn config(stack: u32) -> Config {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed);
    config.wasm_wide_arithmetic(true).wasm_simd(true);
    // On by default, and not for extensions: the less there is, the less can be wrong with it.
    config.wasm_relaxed_simd(false).wasm_tail_call(false).wasm_multi_memory(false).wasm_memory64(false);
    // A trap's reason is enough: nobody reads the backtrace of a module without names.
    config.wasm_backtrace_max_frames(None).generate_address_map(false);
    // Nor does anybody unwind a module's frames: registering where they are takes 11 µs a module.
    config.native_unwind_info(false);
    // An instance's memory is its own from the start, with no page of a file under it: `tracked` relies on that, which makes
    // it a mapping of its backup soon anyway.
    config.memory_init_cow(false);
    // As much as a memory can have: it stays where it is.
    config.memory_reservation(1 << 32).memory_may_move(false);
    config.max_wasm_stack(stack as usize).epoch_interruption(true);
    config
}
