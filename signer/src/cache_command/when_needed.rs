//! The cache of a signer's process: memory, and a directory that is opened when somebody asks for a module that may lie
//! there.

use std::sync::{Arc, OnceLock};

use extension_engine::Runtime;
use extension_engine::cache::{
    CacheError, CacheKey, CacheLimits, CacheWarning, CompiledModule, MemoryCache, ModuleCache, Reservation,
    TierCounts,
};

use super::{CacheArguments, open_cache};

/// The cache that `arguments` ask for. wasmtime's modules alone have a form for files: who runs none needs no directory.
pub(crate) fn open_cache_when_needed(arguments: &CacheArguments) -> Arc<dyn ModuleCache> {
    let memory = Arc::new(MemoryCache::new(&CacheLimits::default()));
    Arc::new(WhenNeeded { arguments: arguments.clone(), memory, opened: OnceLock::new() })
}

struct WhenNeeded {
    arguments: CacheArguments,
    memory: Arc<MemoryCache>,
    /// With the same memory in front.
    opened: OnceLock<Arc<dyn ModuleCache>>,
}

impl WhenNeeded {
    fn cache_for(&self, key: &CacheKey) -> &dyn ModuleCache {
        if key.runtime != Runtime::Wasmtime {
            return &*self.memory;
        }
        &**self.opened.get_or_init(|| open_cache(Arc::clone(&self.memory), &self.arguments))
    }

    fn present(&self) -> &dyn ModuleCache {
        self.opened.get().map_or(&*self.memory, |opened| &**opened)
    }
}

impl ModuleCache for WhenNeeded {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        self.cache_for(key).load(key)
    }

    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        self.cache_for(key).save(key, module)
    }

    fn reserve(&self, key: &CacheKey) -> Reservation {
        self.cache_for(key).reserve(key)
    }

    fn counts(&self) -> Vec<TierCounts> {
        self.present().counts()
    }

    fn warn(&self, warning: &CacheWarning) {
        self.present().warn(warning);
    }
}
