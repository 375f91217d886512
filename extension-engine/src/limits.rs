//! What a module may use.

use std::time::Duration;

/// Bytes in a page of linear memory.
pub const PAGE_LEN: u64 = 65536;

/// What a module may use. Times are CPU time of the thread that runs it, so that a process which is stopped for half a
/// minute is not taken for one that loops. They are kept to within 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, in whole pages of 64 KiB.
    pub memory: u64,
    /// Time for one record; a batch may take that many times as long as it has records. Every other call of the module
    /// (`WasmInit`, `WasmMalloc`, `WasmReset`, …) may take as long as one record.
    pub deadline: Duration,
    /// Bytes of stack that the module's calls may take. A thread that runs instances needs twice as much.
    pub stack: u32,
    /// Bytes of the module's file.
    pub module_len: u64,
    /// Time to validate and compile it.
    pub compile: Duration,
}

impl Limits {
    /// The most that can be asked for.
    pub const MAX: Limits = Limits {
        memory: 1 << 32,
        deadline: Duration::from_secs(3600),
        stack: 1 << 20,
        module_len: 64 << 20,
        compile: Duration::from_secs(3600),
    };

    /// Pages of linear memory.
    pub(crate) fn memory_pages(&self) -> u64 {
        self.memory.min(Self::MAX.memory) / PAGE_LEN
    }
}

impl Default for Limits {
    /// Enough for a message of 1 MiB on the slowest runtime, which takes a third of the deadline there.
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline: Duration::from_millis(500),
            stack: 512 << 10,
            module_len: 4 << 20,
            compile: Duration::from_secs(10),
        }
    }
}
