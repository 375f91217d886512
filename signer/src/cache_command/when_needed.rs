//! A cache that is opened when somebody asks for a module.

use std::sync::{Arc, OnceLock};

use extension_engine::cache::{
    CacheError, CacheKey, CacheWarning, CompiledModule, ModuleCache, Reservation, TierCounts,
};

use super::{CacheArguments, open_cache};

/// As [`open_cache`], once somebody asks for a module: native code needs none.
pub(crate) fn open_cache_when_needed(arguments: &CacheArguments) -> Arc<dyn ModuleCache> {
    Arc::new(WhenNeeded { arguments: arguments.clone(), opened: OnceLock::new() })
}

struct WhenNeeded {
    arguments: CacheArguments,
    opened: OnceLock<Arc<dyn ModuleCache>>,
}

impl WhenNeeded {
    fn cache(&self) -> &dyn ModuleCache {
        &**self.opened.get_or_init(|| open_cache(&self.arguments))
    }
}

impl ModuleCache for WhenNeeded {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        self.cache().load(key)
    }

    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        self.cache().save(key, module)
    }

    fn reserve(&self, key: &CacheKey) -> Reservation {
        self.cache().reserve(key)
    }

    fn counts(&self) -> Vec<TierCounts> {
        self.opened.get().map(|cache| cache.counts()).unwrap_or_default()
    }

    fn warn(&self, warning: &CacheWarning) {
        self.cache().warn(warning);
    }
}
