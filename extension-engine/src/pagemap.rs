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

#[cfg(feature = "wasmtime")]
pub(crate) use scan::{Region, private_pages};

#[cfg(feature = "wasmtime")]
mod scan {
    use std::io;
    use std::os::fd::AsRawFd;

    use super::pagemap;

    /// Contiguous pages: `page_region` in linux/fs.h.
    #[derive(Clone, Copy, Default)]
    #[repr(C)]
    pub(crate) struct Region {
        /// The address of the first byte.
        pub(crate) start: u64,
        /// The address after the last one.
        pub(crate) end: u64,
        categories: u64,
    }

    /// `pm_scan_arg` in linux/fs.h.
    #[derive(Default)]
    #[repr(C)]
    struct ScanArgument {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    /// `_IOWR('f', 16, struct pm_scan_arg)`: Linux has it since 6.7.
    const PAGEMAP_SCAN: libc::Ioctl =
        (3 << 30 | (size_of::<ScanArgument>() as u32) << 16 | 0x66 << 8 | 16) as _;

    const PAGE_IS_FILE: u64 = 1 << 2;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    const PAGE_IS_SWAPPED: u64 = 1 << 4;

    /// Calls `each` with the regions between `start` and `end` whose pages are this process's own: in a private mapping
    /// of a file, those that were written. `room` is what the kernel writes its answers to.
    ///
    /// # Errors
    /// The kernel is older than 6.7, or doesn't let the process see its own page map.
    pub(crate) fn private_pages(
        start: u64,
        end: u64,
        room: &mut [Region],
        mut each: impl FnMut(Region),
    ) -> io::Result<()> {
        let pagemap = pagemap().ok_or(io::ErrorKind::Unsupported)?;
        let mut argument = ScanArgument {
            size: size_of::<ScanArgument>() as u64,
            start,
            end,
            vec: room.as_mut_ptr().addr() as u64,
            vec_len: room.len() as u64,
            category_inverted: PAGE_IS_FILE,
            category_mask: PAGE_IS_FILE,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: PAGE_IS_FILE,
            ..ScanArgument::default()
        };
        while argument.start < end {
            room.as_mut_ptr().expose_provenance();
            // SAFETY: the argument has the layout that this request has, and `room` has as much room as it says.
            let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut argument) };
            let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
            room[..found].iter().copied().for_each(&mut each);
            argument.start = argument.walk_end;
        }
        Ok(())
    }
}
