//! A ring on the heap, for tests and fuzz targets: the same bytes without a kernel behind them.

use std::collections::HashMap;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::locks::Locks;

/// Shared bytes and shared locks: clone it, and the clone sees the same ring.
#[derive(Clone)]
pub(crate) struct Heap {
    words: Arc<[AtomicU64]>,
    locks: Arc<Mutex<HashMap<u64, usize>>>,
}

impl Heap {
    pub fn new(len: usize) -> Self {
        Self { words: (0..len / 8).map(|_| AtomicU64::new(0)).collect(), locks: Arc::default() }
    }

    pub fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.words).cast()
    }

    #[cfg(feature = "fuzzing")]
    pub fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    pub fn len(&self) -> usize {
        self.words.len() * 8
    }

    /// The locks as a new holder sees them.
    pub fn holder(&self) -> HeapLocks {
        static HOLDERS: AtomicUsize = AtomicUsize::new(0);
        HeapLocks { holder: HOLDERS.fetch_add(1, Ordering::Relaxed), locks: Arc::clone(&self.locks) }
    }
}

/// Stands in for open-file-description locks; dropped, it lets go of all it holds, as a process does that dies.
pub(crate) struct HeapLocks {
    holder: usize,
    locks: Arc<Mutex<HashMap<u64, usize>>>,
}

impl HeapLocks {
    fn table(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locks for HeapLocks {
    fn take(&self, byte: u64) -> io::Result<bool> {
        Ok(*self.table().entry(byte).or_insert(self.holder) == self.holder)
    }

    fn is_held_by_other(&self, byte: u64) -> io::Result<bool> {
        Ok(self.table().get(&byte).is_some_and(|holder| *holder != self.holder))
    }
}

impl Drop for HeapLocks {
    fn drop(&mut self) {
        let holder = self.holder;
        self.table().retain(|_, held_by| *held_by != holder);
    }
}
