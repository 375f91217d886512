//! Keeping a worker's memory out of the swap space: what a module makes of the key in its own memory is as secret as the
//! key.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::key::Key;

/// How much of a process's memory is never swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// None of it: the limit of locked memory (`ulimit -l`) is used up.
    Nothing = 1,
    /// The page that holds the key. What engines make of it isn't.
    KeyPage,
    /// All that there is, and all that will be.
    All,
}

impl Locked {
    /// All three.
    const EACH: [Self; 3] = [Self::Nothing, Self::KeyPage, Self::All];

    /// The one of this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::EACH.into_iter().find(|locked| *locked as u64 == number)
    }

    /// The one of several workers that holds for all of them.
    pub fn weakest(numbers: impl Iterator<Item = u64>) -> Option<Self> {
        numbers.filter_map(Self::from_number).min_by_key(|locked| *locked as u64)
    }

    /// In words, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::KeyPage => "the key's page",
            Self::All => "all",
        }
    }
}

/// Locks all memory of this process, present and future, in so far as it is used, if that is without limit; and says
/// what is locked now.
///
/// With a limit it must not be tried: each mapping would count in full from then on, and a runtime reserves GiB that it
/// never touches. From here on `madvise(MADV_DONTNEED)` fails on private memory.
pub(crate) fn lock_memory(key: &Key) -> Locked {
    if is_without_limit()
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
    {
        return Locked::All;
    }
    if key.is_locked() { Locked::KeyPage } else { Locked::Nothing }
}

fn is_without_limit() -> bool {
    let is_capable = |sets: rustix::thread::CapabilitySets| sets.effective.contains(CapabilitySet::IPC_LOCK);
    getrlimit(Resource::Memlock).current.is_none() || capabilities(None).is_ok_and(is_capable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_all_workers_is_what_holds_for_the_weakest() {
        let weakest = |numbers: &[u64]| Locked::weakest(numbers.iter().copied()).map(Locked::name);
        assert_eq!(weakest(&[3, 3]), Some("all"));
        assert_eq!(weakest(&[3, 2, 3]), Some("the key's page"));
        assert_eq!(weakest(&[2, 1, 3]), Some("nothing"));
        assert_eq!(weakest(&[0, 3]), Some("all"), "a worker that has not come that far doesn't count");
        assert_eq!(weakest(&[0]), None);
    }
}
