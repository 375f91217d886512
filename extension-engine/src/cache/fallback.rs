//! Two tiers as one.

use std::sync::Arc;

use super::{
    CacheAction, CacheError, CacheKey, CacheWarning, CompiledModule, ModuleCache, Reservation, TierCounts,
    WarningSink,
};

/// A cache that looks into `first`, then into `second`. What it finds in the second it also saves in the first; what it is
/// given it saves in both. Either may be such a chain itself.
///
/// What fails, and is made up for by the other tier, is a warning to `warnings`. If neither has the module, the first
/// one's error is the one that is returned, and the second one's is a warning unless it is [`CacheError::Missing`].
pub fn with_fallback(
    first: Arc<dyn ModuleCache>,
    second: Arc<dyn ModuleCache>,
    warnings: WarningSink,
) -> Arc<dyn ModuleCache> {
    Arc::new(Fallback { first, second, warnings })
}

struct Fallback {
    first: Arc<dyn ModuleCache>,
    second: Arc<dyn ModuleCache>,
    warnings: WarningSink,
}

impl Fallback {
    /// Tells of an error that is not returned.
    fn swallow(&self, action: CacheAction, error: CacheError) {
        if !error.is_miss() {
            self.warn(&CacheWarning::new(action, error));
        }
    }
}

impl ModuleCache for Fallback {
    fn load(&self, key: &CacheKey) -> Result<CompiledModule, CacheError> {
        let first = match self.first.load(key) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        match self.second.load(key) {
            Ok(found) => {
                self.swallow(CacheAction::LoadFirst, first);
                if let Err(error) = self.first.save(key, &found) {
                    self.swallow(CacheAction::Promote, error);
                }
                Ok(found)
            }
            Err(error) => {
                self.swallow(CacheAction::Load, error);
                Err(first)
            }
        }
    }

    /// Fails if no tier has taken the module.
    fn save(&self, key: &CacheKey, module: &CompiledModule) -> Result<(), CacheError> {
        match (self.first.save(key, module), self.second.save(key, module)) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => {
                self.swallow(CacheAction::Save, error);
                Ok(())
            }
            (Err(first), Err(second)) => {
                self.swallow(CacheAction::Save, second);
                Err(first)
            }
        }
    }

    fn reserve(&self, key: &CacheKey) -> Reservation {
        self.first.reserve(key).and(self.second.reserve(key))
    }

    fn counts(&self) -> Vec<TierCounts> {
        let mut counts = self.first.counts();
        counts.extend(self.second.counts());
        counts
    }

    fn warn(&self, warning: &CacheWarning) {
        (self.warnings)(warning);
    }
}
