//! The lock of k256's table: empty, for a guest has one thread.
#![cfg(target_arch = "wasm32")]

struct Lock;
critical_section::set_impl!(Lock);

// SAFETY: without a second thread there is nothing to exclude.
unsafe impl critical_section::Impl for Lock {
    unsafe fn acquire() {}
    unsafe fn release(_: ()) {}
}
