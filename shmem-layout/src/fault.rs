//! Faults: whoever touches bytes of a ring that a peer has cut off or punched out gets SIGBUS.
//!
//! There is nothing to go on with then. The process says so in one prepared line and ends with exit code 3, instead of
//! dying of a signal. A SIGBUS anywhere else keeps the meaning that it had.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// Exit code: the environment doesn't let us go on.
const ENVIRONMENT: libc::c_int = 3;

/// Rings that one process can have guarded at once. More are not guarded.
const GUARDED_MAX: usize = 64;

/// A stretch of mapped bytes, and what to say when it faults. Free while `base` is 0.
struct Entry {
    base: AtomicUsize,
    len: AtomicUsize,
    line: AtomicPtr<u8>,
    line_len: AtomicUsize,
}

static GUARDED: [Entry; GUARDED_MAX] = [const {
    Entry {
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        line: AtomicPtr::new(ptr::null_mut()),
        line_len: AtomicUsize::new(0),
    }
}; GUARDED_MAX];

/// Stands in an entry's `base` while the rest is written: no mapping is there.
const RESERVED: usize = 1;

/// Where the line goes.
static REPORT_TO: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);

/// Bytes at a line's start that name the program. Whoever reads another descriptor knows it.
static PROGRAM_LEN: AtomicUsize = AtomicUsize::new(0);

/// What was done about SIGBUS before.
static mut PREVIOUS: MaybeUninit<libc::sigaction> = MaybeUninit::uninit();

/// How the line is worded.
static WORDING: OnceLock<fn(&str) -> Option<String>> = OnceLock::new();

/// Lets `wording` make the lines about rings that fault, of those that are attached to from now on: all that is to be printed,
/// its newline included. Where it gives none, and without it, a line is `program: message`. The first call is the one that
/// counts.
pub fn word_faults(wording: fn(&str) -> Option<String>) {
    let _ = WORDING.set(wording);
}

/// Lets the line about a ring that faults go to `descriptor` instead of standard error. It has to stay open for the rest of the
/// process's life.
pub fn report_faults_to(descriptor: RawFd) {
    REPORT_TO.store(descriptor, Ordering::Relaxed);
}

/// Guards a mapping for as long as it lives.
pub(crate) struct FaultGuard {
    entry: Option<&'static Entry>,
    /// What the entry points to.
    _line: Box<[u8]>,
}

impl FaultGuard {
    /// Guards `len` bytes at `base`, which belong to the ring called `name`.
    ///
    /// # Errors
    /// The kernel takes no handler.
    pub fn new(base: usize, len: usize, name: &str) -> io::Result<Self> {
        install()?;
        let program = std::env::args_os().next().map(std::path::PathBuf::from);
        let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
        let message = format!("{name}: it was cut short or its memory is full; make a new ring");
        let worded = WORDING.get().and_then(|wording| wording(&message));
        // Whoever reads another descriptor words it himself.
        let program = format!("{}: ", program.display());
        PROGRAM_LEN.store(if worded.is_some() { 0 } else { program.len() }, Ordering::Relaxed);
        let line = worded.unwrap_or_else(|| format!("{program}{message}\n"));
        let line = line.into_bytes().into_boxed_slice();
        let is_free = |entry: &&Entry| {
            entry.base.compare_exchange(0, RESERVED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let entry = GUARDED.iter().find(is_free);
        if let Some(entry) = entry {
            entry.len.store(len, Ordering::Relaxed);
            entry.line.store(line.as_ptr().cast_mut(), Ordering::Relaxed);
            entry.line_len.store(line.len(), Ordering::Relaxed);
            entry.base.store(base, Ordering::Release);
        }
        Ok(Self { entry, _line: line })
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            entry.base.store(0, Ordering::Release);
        }
    }
}

fn install() -> io::Result<()> {
    static INSTALLED: Once = Once::new();
    let mut result = Ok(());
    INSTALLED.call_once(|| {
        // SAFETY: zeros are a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for and calls only
        // what may be called in a handler; PREVIOUS is written here alone, once, before the handler can run that reads it
        // (the handler is in place only after the same call has filled it).
        let rc = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, ptr::null(), (&raw mut PREVIOUS).cast());
            libc::sigaction(libc::SIGBUS, &action, ptr::null_mut())
        };
        if rc != 0 {
            result = Err(io::Error::last_os_error());
        }
    });
    result
}

/// The handler. Only calls that are safe in one: `write`, `_exit`, `sigaction`, `signal`, `raise`.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO; for SIGBUS it has an address.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    let is_sent = code <= 0;
    for entry in GUARDED.iter().filter(|_| !is_sent) {
        let base = entry.base.load(Ordering::Acquire);
        if base > RESERVED && (base..base + entry.len.load(Ordering::Relaxed)).contains(&address) {
            let line = entry.line.load(Ordering::Relaxed);
            // SAFETY: the line lives as long as its guard, and that as long as the mapping, which this thread was just
            // touching.
            unsafe {
                let to = REPORT_TO.load(Ordering::Relaxed);
                let skip = if to == libc::STDERR_FILENO { 0 } else { PROGRAM_LEN.load(Ordering::Relaxed) };
                libc::write(to, line.add(skip).cast(), entry.line_len.load(Ordering::Relaxed) - skip);
                libc::_exit(ENVIRONMENT);
            }
        }
    }
    // SAFETY: PREVIOUS was filled before this handler was in place; `signal` accepts SIG_DFL for SIGBUS. The access that faulted
    // is done again when we return; a signal that somebody has sent is not, so it is sent again, and to nobody's handler:
    // Rust's own would swallow it.
    unsafe {
        if is_sent {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        } else {
            libc::sigaction(signal, (&raw const PREVIOUS).cast(), ptr::null_mut());
        }
    }
}
