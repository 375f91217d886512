//! What a compilation asks of a cache.

use super::{CacheAction, CacheError, CacheKey, CacheWarning, CompiledModule, ModuleCache, Reservation};

/// A module that was looked up, and is there or about to be compiled by us alone.
pub(crate) struct Lookup<'a> {
    cache: &'a dyn ModuleCache,
    key: Option<CacheKey>,
    found: Option<CompiledModule>,
    reservation: Reservation,
}

impl<'a> Lookup<'a> {
    /// Looks up `key`, if there is one. If somebody else is compiling the module, waits and looks again.
    pub(crate) fn start(cache: &'a dyn ModuleCache, key: Option<CacheKey>) -> Self {
        let mut lookup = Self { cache, key, found: None, reservation: Reservation::default() };
        if let Some(key) = &lookup.key {
            lookup.found = load(cache, key);
            if lookup.found.is_none() {
                lookup.reservation = cache.reserve(key);
                if lookup.reservation.waited {
                    lookup.found = load(cache, key);
                }
            }
        }
        lookup
    }

    /// Whether the module is there. It has passed every check, or it would not have been compiled.
    pub(crate) fn is_hit(&self) -> bool {
        self.found.is_some()
    }

    /// The module, compiled and kept if it wasn't there.
    pub(crate) fn or_compile<E>(
        self,
        compile: impl FnOnce() -> Result<CompiledModule, E>,
    ) -> Result<CompiledModule, E> {
        if let Some(found) = self.found {
            return Ok(found);
        }
        let compiled = compile()?;
        if let Some(key) = &self.key
            && let Err(error) = self.cache.save(key, &compiled)
        {
            self.cache.warn(&CacheWarning::new(CacheAction::Save, error));
        }
        drop(self.reservation);
        Ok(compiled)
    }
}

fn load(cache: &dyn ModuleCache, key: &CacheKey) -> Option<CompiledModule> {
    match cache.load(key) {
        // Another runtime's would be a defect of the cache, which is whoever made it.
        Ok(found) => (found.runtime() == key.runtime).then_some(found),
        Err(CacheError::Missing) => None,
        Err(error) => {
            cache.warn(&CacheWarning::new(CacheAction::Load, error));
            None
        }
    }
}
