//! The tier in this process's memory.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{CacheError, CacheKey, CacheLimits, CompiledModule, ModuleCache, Reservation, TierCounts};

/// How long one thread waits for another that compiles the same module.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Keeps compiled modules ready to run, those used last. Clones are the same cache.
#[derive(Clone)]
pub struct MemoryCache(Arc<Shared>);

struct Shared {
    modules_max: usize,
    state: Mutex<State>,
    /// Somebody has done compiling.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// The one used last comes last.
    modules: Vec<(CacheKey, CompiledModule)>,
    compiling: HashSet<CacheKey>,
    counts: TierCounts,
}

impl MemoryCache {
    /// An empty cache for at most `limits.modules` modules.
    pub fn new(limits: &CacheLimits) -> Self {
        let state =
            State { counts: TierCounts { tier: "memory", ..Default::default() }, ..Default::default() };
        Self(Arc::new(Shared { modules_max: limits.modules, state: Mutex::new(state), done: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleCache for MemoryCache {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        let state = &mut *self.state();
        let Some(place) = state.modules.iter().position(|(held, _)| held == key) else {
            state.counts.misses += 1;
            return Err(CacheError::Missing);
        };
        state.counts.hits += 1;
        state.modules[place..].rotate_left(1);
        state.modules.last().map(|(_, module)| module.clone()).ok_or(CacheError::Missing)
    }

    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        let state = &mut *self.state();
        state.counts.saved += 1;
        state.modules.retain(|(held, _)| held != key);
        state.modules.push((key.clone(), module.clone()));
        let excess = state.modules.len().saturating_sub(self.0.modules_max);
        state.modules.drain(..excess);
        state.counts.evicted += excess as u64;
        Ok(())
    }

    fn reserve(&self, key: &CacheKey) -> Reservation {
        let state = self.state();
        let waited = state.compiling.contains(key);
        let is_taken = |state: &mut State| state.compiling.contains(key);
        let (mut state, _) =
            self.0.done.wait_timeout_while(state, WAIT_MAX, is_taken).unwrap_or_else(PoisonError::into_inner);
        state.compiling.insert(key.clone());
        Reservation::new(waited, Compiling { cache: self.clone(), key: key.clone() })
    }

    fn counts(&self) -> Vec<TierCounts> {
        vec![self.state().counts.clone()]
    }
}

/// A module that is being compiled.
struct Compiling {
    cache: MemoryCache,
    key: CacheKey,
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.cache.state().compiling.remove(&self.key);
        self.cache.0.done.notify_all();
    }
}
