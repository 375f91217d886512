//! Which pages of memory have been written: the kernel knows.

use std::fs::File;
use std::sync::OnceLock;

/// The process's own page map. It stands for the memory of the process that opened it: who forks must execute.
static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();

fn pagemap() -> Option<&'static File> {
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()
}

/// Opens what the engine needs to find out which pages of memory an instance has written.
///
/// A process that makes itself undumpable can't open it any more unless it is root's, and then copies an instance's
/// whole memory where parts of it would have done. So such a process calls this before.
pub fn prepare_process() {
    pagemap();
}
