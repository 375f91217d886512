//! What a guest exports, over any [`Scheme`]: [`export_extension!`](crate::export_extension) makes a module of one.

use core::arch::wasm32;
use core::cell::UnsafeCell;

use crate::Status;
use crate::batch::Buffers;
use crate::scheme::Scheme;

#[cfg(target_feature = "atomics")]
compile_error!("an instance has one thread");

const PAGE_LEN: u32 = 65536;

unsafe extern "C" {
    // The bounds of the shadow stack, which grows downwards: symbols of the linker's.
    static __stack_low: u8;
    static mut __stack_high: u8;
}

/// The state of an instance: the installed key and the host's buffers. Runs use no more than `STACK_LEN` bytes of the
/// shadow stack.
pub struct Instance<S, const STACK_LEN: usize>(UnsafeCell<State<S>>);

struct State<S> {
    key: Option<S>,
    buffers: Buffers,
    /// Whether `WasmInit` has run: where the module was built, if it was baked.
    is_ready: bool,
}

// SAFETY: an instance has one thread (see above).
unsafe impl<S, const STACK_LEN: usize> Sync for Instance<S, STACK_LEN> {}

impl<S: Scheme, const STACK_LEN: usize> Instance<S, STACK_LEN> {
    /// An instance without key and buffers.
    #[allow(clippy::new_without_default, reason = "made in a static, which needs a const function")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(State { key: None, buffers: Buffers::NONE, is_ready: false }))
    }

    /// `WasmInit`: builds the tables, on a stack deeper than any batch needs, and leaves nothing on it. In a module that
    /// was baked this has happened, and tables and state are in its data.
    pub fn init(&self) {
        if self.with(|state| core::mem::replace(&mut state.is_ready, true)) {
            return;
        }
        S::warm();
        wipe_stack((&raw const __stack_high).addr() - (&raw const __stack_low).addr());
    }

    /// `WasmMalloc`: new pages at the end of memory, zeroed by the runtime; 0 if there are none.
    ///
    /// The host asks when it makes an instance and gives nothing back, so that growing the memory is all the
    /// allocator that is needed.
    pub fn malloc(&self, size: u32) -> u32 {
        let pages = size.div_ceil(PAGE_LEN).max(1);
        let page = wasm32::memory_grow::<0>(pages as usize);
        if page == usize::MAX {
            return 0;
        }
        let start = page as u32 * PAGE_LEN;
        let len = u64::from(pages) * u64::from(PAGE_LEN);
        self.with(|state| match state.buffers.end() {
            0 => {
                let base = core::ptr::with_exposed_provenance_mut(start as usize);
                // SAFETY: the pages are new: only the host will know of them. They are aligned to their length.
                state.buffers = unsafe { Buffers::new(base, start, len) };
                start
            }
            end if end == u64::from(start) => {
                // SAFETY: as above, and they follow the ones before.
                unsafe { state.buffers.extend(len) };
                start
            }
            // An allocator of the module's own has taken the pages in between.
            _ => 0,
        })
    }

    /// `WasmRun`.
    pub fn run(&self, name_ptr: u32, kind: u32, arg_ptr: u32) -> i32 {
        let result = self.with(|state| state.buffers.run(&mut state.key, name_ptr, kind, arg_ptr));
        result.err().unwrap_or(Status::Ok) as i32
    }

    /// `WasmReset`: wipes what batches left in the host's buffers and on the shadow stack.
    pub fn reset(&self) {
        self.with(|state| state.buffers.wipe());
        wipe_stack(STACK_LEN);
    }

    /// `WasmFinit`: drops the key, which wipes itself, and resets.
    pub fn finit(&self) {
        self.with(|state| state.key = None);
        self.reset();
    }

    fn with<T>(&self, work: impl FnOnce(&mut State<S>) -> T) -> T {
        // SAFETY: one thread, and no export is entered while another one works on the state: the host enters a
        // module that calls it through `WasmOnRead` alone, which doesn't come here.
        work(unsafe { &mut *self.0.get() })
    }
}

/// Zeroes the upper `len` bytes of the shadow stack, where the calls before this one have had their frames. To be
/// called at the end of an export, when no frame is needed any more.
fn wipe_stack(len: usize) {
    let from = (&raw mut __stack_high).wrapping_sub(len);
    // SAFETY: the linker reserves at least `len` bytes below `__stack_high` for the stack, and the callers return to
    // the host without reading any of it.
    unsafe { from.write_bytes(0, len) }
}

/// Makes a module of a [`Scheme`]: its exports and, since it has no standard library, its panic handler.
///
/// `stack_len` is how many bytes of shadow stack its runs may use: `WasmReset` wipes that many.
#[macro_export]
macro_rules! export_extension {
    ($scheme:ty, stack_len: $stack_len:expr) => {
        #[allow(non_snake_case, reason = "the names are the ABI's")]
        const _: () = {
            use $crate::guest::Instance;

            static INSTANCE: Instance<$scheme, { $stack_len }> = Instance::new();

            #[unsafe(no_mangle)]
            extern "C" fn WasmAbiVersion_1_0() {}

            #[unsafe(no_mangle)]
            extern "C" fn WasmInit() {
                INSTANCE.init();
            }

            #[unsafe(no_mangle)]
            extern "C" fn WasmFinit() {
                INSTANCE.finit();
            }

            #[unsafe(no_mangle)]
            extern "C" fn WasmMalloc(size: u32) -> u32 {
                INSTANCE.malloc(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn WasmRun(name_ptr: u32, kind: u32, arg_ptr: u32) -> i32 {
                INSTANCE.run(name_ptr, kind, arg_ptr)
            }

            #[unsafe(no_mangle)]
            extern "C" fn WasmReset() {
                INSTANCE.reset();
            }

            #[unsafe(no_mangle)]
            extern "C" fn WasmOnRead(_ctx_id: u32, _key_ptr: u32, _element_ptr: u32) {}

            #[panic_handler]
            fn trap(_: &core::panic::PanicInfo) -> ! {
                core::arch::wasm32::unreachable()
            }
        };
    };
}
