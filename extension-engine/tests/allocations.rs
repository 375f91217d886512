//! A run and a reset allocate nothing, on any runtime.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{batch, subjects};
use extension_engine::ExtensionKind;

/// The system's allocator, and a count of what the thread has asked of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_run_and_a_reset_allocate_nothing() {
    for name in ["null", "ecdsa", "schnorr"] {
        for subject in subjects(name) {
            let mut engine = subject.instance();
            engine.set_key(&[7; 32]).unwrap();
            let mut batch = batch(&[[1; 64], [2; 64]]);
            let mut round = || {
                let before = COUNT.get();
                engine.run(ExtensionKind::Sign, &mut batch).unwrap();
                engine.reset().unwrap();
                COUNT.get() - before
            };
            round();
            let counts: Vec<u64> = (0..10).map(|_| round()).collect();
            assert_eq!(counts, [0; 10], "{name} on {}", subject.label);
        }
    }
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(COUNT.get() - before, 2, "it counts");
}
