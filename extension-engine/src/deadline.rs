//! Deadlines in CPU time, at no cost to a run: no system call, no reading of a clock.
//!
//! A thread that runs extensions has a timer of the kernel's, which counts the CPU time of that thread alone and, every
//! [`TICK`] of it, interrupts it by a signal. The handler counts the ticks of its thread, and advances the epochs of
//! wasmtime's engines. Whoever starts something that may not last for ever notes at which tick it is *due*, and at which
//! it is *overdue*. What can be interrupted asks [`is_due`] now and then; what can't is ended by the handler together with
//! its process. A thread that is stopped, or waits, doesn't tick.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{Relaxed, Release},
    compiler_fence,
};
use std::time::Duration;
use std::{io, mem, ptr};

/// Between two ticks: deadlines are kept to this much CPU time, or two of it.
pub(crate) const TICK: Duration = Duration::from_millis(10);

const NEVER: u64 = u64::MAX;

struct Clock {
    is_armed: Cell<bool>,
    ticks: AtomicU64,
    /// The tick at which what can be interrupted is.
    due: AtomicU64,
    /// The tick at which the process is ended.
    overdue: AtomicU64,
    /// What is said then.
    notice: AtomicPtr<String>,
}

thread_local! {
    /// For the handler too: it is made of constants and has nothing to drop, so that it is there from the thread's first
    /// instruction to its last.
    static CLOCK: Clock = const {
        Clock {
            is_armed: Cell::new(false),
            ticks: AtomicU64::new(0),
            due: AtomicU64::new(NEVER),
            overdue: AtomicU64::new(NEVER),
            notice: AtomicPtr::new(ptr::null_mut()),
        }
    };

    /// Ends the timer with its thread, and the stack after it; the handler knows nothing of them.
    static TIMER: Cell<Option<(Timer, Option<SignalStack>)>> = const { Cell::new(None) };
}

/// The most that a record may have: three hundred years. A batch of them, twice, is still a number, so that no call has to
/// look for one that isn't.
const TICKS_MAX: u64 = 1 << 40;

/// How many ticks `time` is, rounded up.
pub(crate) fn ticks_in(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).map_or(TICKS_MAX, |ticks| ticks.min(TICKS_MAX))
}

/// What happens to the thread while it lives: its time is limited.
pub(crate) struct Watch<'a>(PhantomData<(&'a String, *const ())>);

impl<'a> Watch<'a> {
    /// From now on, the thread may use `ticks` of CPU time, or almost one or two more, until it [`is_due`] if it
    /// `can_be_interrupted`; otherwise, or after as much time again, the process is ended with `notice`. One watch at a
    /// time.
    ///
    /// # Errors
    /// The thread has no timer yet, and can't get one.
    #[inline]
    pub(crate) fn start(ticks: u64, can_be_interrupted: bool, notice: &'a String) -> io::Result<Self> {
        CLOCK.with(|clock| {
            if !clock.is_armed.get() {
                arm(clock)?;
            }
            clock.notice.store(ptr::from_ref(notice).cast_mut(), Relaxed);
            // The handler runs on this very thread: the compiler alone could show it things out of order.
            compiler_fence(Release);
            let now = clock.ticks.load(Relaxed);
            let due = now + ticks + 1;
            clock.due.store(due, Relaxed);
            clock.overdue.store(due + if can_be_interrupted { ticks + 1 } else { 0 }, Relaxed);
            Ok(Self(PhantomData))
        })
    }
}

impl Drop for Watch<'_> {
    #[inline]
    fn drop(&mut self) {
        CLOCK.with(|clock| {
            clock.overdue.store(NEVER, Relaxed);
            clock.due.store(NEVER, Relaxed);
        });
    }
}

/// Whether what this thread is doing should be over.
#[cfg(any(feature = "wasmtime", feature = "wasmi"))]
pub(crate) fn is_due() -> bool {
    CLOCK.with(|clock| clock.ticks.load(Relaxed) >= clock.due.load(Relaxed))
}

/// What ends the process, and says why in the line that it is given. It is called in a signal handler: it may not
/// allocate, lock or return.
type Hook = fn(&str) -> !;

static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what is called when a module is overdue that can't be interrupted: one on wasm3 or in native code, one that is
/// being compiled, and one on wasmtime or wasmi that has used up its time twice. `hook` is given one line that says so.
/// It is called in a signal handler on the thread that is stuck: it may make system calls, and must not allocate, lock
/// or unwind. Without one, the line goes to standard error, and the process exits with code 3.
pub fn on_overdue(hook: fn(&str) -> !) {
    HOOK.store(hook as *mut (), Relaxed);
}

fn say_and_exit(notice: &str) -> ! {
    for text in [notice, "\n"] {
        // SAFETY: it is a string; that it could not be written is nothing that one could do anything about.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    }
    // SAFETY: it may be called anywhere.
    unsafe { libc::_exit(3) }
}

/// Gives this thread its timer.
#[cold]
fn arm(clock: &Clock) -> io::Result<()> {
    static HANDLER: OnceLock<Result<(), i32>> = OnceLock::new();
    HANDLER.get_or_init(install_handler).map_err(io::Error::from_raw_os_error)?;
    let stack = SignalStack::enlarge()?;
    let timer = Timer::start()?;
    // A thread that is about to end has no place for them any more, and ends them at once.
    let _ = TIMER.try_with(|place| place.set(Some((timer, stack))));
    clock.is_armed.set(true);
    Ok(())
}

fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 3
}

fn install_handler() -> Result<(), i32> {
    // SAFETY: all bits zero is a valid action.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_tick as extern "C" fn(_, _, _) as usize;
    // On the alternate stack, if the thread has one: a module may be short of stack. System calls go on afterwards.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `on_tick` has the type that SA_SIGINFO asks for, and is safe in a handler.
    match unsafe { libc::sigaction(signal(), &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or_default()),
    }
}

/// A timer of the thread that made it.
struct Timer(libc::timer_t);

impl Timer {
    fn start() -> io::Result<Self> {
        // SAFETY: all bits zero is a valid event.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        // SAFETY: it may be called anywhere.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = ptr::null_mut();
        // SAFETY: both live.
        checked(unsafe { libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &mut event, &mut timer) })?;
        let timer = Self(timer);
        let tick = libc::timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let times = libc::itimerspec { it_interval: tick, it_value: tick };
        // SAFETY: the timer was made, and nobody wants the earlier times.
        checked(unsafe { libc::timer_settime(timer.0, 0, &times, ptr::null_mut()) })?;
        // SAFETY: all bits zero is a set, which is emptied; the signal is one that there is.
        unsafe {
            let mut signals: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut signals);
            libc::sigaddset(&mut signals, signal());
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &signals, ptr::null_mut());
        }
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// A thread's alternate stack, on which signal handlers run.
///
/// The one that a thread has by default holds two frames, for a frame carries all vector registers. But the kernel makes the
/// frames of all signals that are pending before the first handler runs, and an interrupt from a terminal brings a tick, the
/// terminal's signal and the supervisor's together: a third frame killed the worker.
struct SignalStack(*mut libc::c_void);

impl SignalStack {
    const LEN: usize = 128 * 1024;
    /// Not to be touched, below: who needs even more ends instead of writing into something else.
    const GUARD_LEN: usize = 64 * 1024;

    /// Gives this thread a larger one, unless it has one.
    fn enlarge() -> io::Result<Option<Self>> {
        // SAFETY: all bits zero is a valid stack.
        let mut present: libc::stack_t = unsafe { mem::zeroed() };
        // SAFETY: asks only.
        checked(unsafe { libc::sigaltstack(ptr::null(), &mut present) })?;
        if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= Self::LEN {
            return Ok(None);
        }
        let (len, flags) = (Self::GUARD_LEN + Self::LEN, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, wherever there is room.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(base);
        // SAFETY: within what was just mapped.
        let start = unsafe { base.byte_add(Self::GUARD_LEN) };
        // SAFETY: as above; nobody uses it yet.
        checked(unsafe { libc::mprotect(start, Self::LEN, libc::PROT_READ | libc::PROT_WRITE) })?;
        let ours = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: Self::LEN };
        // SAFETY: it is as long as it says, and stays until `drop`, which takes it away again.
        checked(unsafe { libc::sigaltstack(&ours, ptr::null_mut()) })?;
        Ok(Some(stack))
    }
}

impl Drop for SignalStack {
    /// The thread's first one may be gone by now: it goes without.
    fn drop(&mut self) {
        let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: this thread made it, no handler runs on it now (this is none), and none will.
        unsafe {
            if libc::sigaltstack(&none, ptr::null_mut()) == 0 {
                libc::munmap(self.0, Self::GUARD_LEN + Self::LEN);
            }
        }
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The beginning of a timer's `siginfo_t`, as Linux lays it out on 64-bit machines.
#[repr(C)]
struct TimerInfo {
    signo: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    _padding: libc::c_int,
    timer: libc::c_int,
    overrun: libc::c_int,
}

const _: () = assert!(size_of::<TimerInfo>() <= size_of::<libc::siginfo_t>());

/// Counts a tick. Uses atomics alone, so that it is safe wherever it comes.
extern "C" fn on_tick(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives one, and this signal is a timer's; what anybody else sends with it is a number too.
    let missed = unsafe { (*info.cast::<TimerInfo>()).overrun };
    CLOCK.with(|clock| {
        // Ticks go missing when a virtual core is taken away, which the guest's clocks count as use: a module that is
        // innocent of it lost its record to one pause of the host. One that loops sees the ticks one after another.
        let ticks = clock.ticks.load(Relaxed) + 1 + u64::from(missed > 0);
        clock.ticks.store(ticks, Relaxed);
        #[cfg(feature = "wasmtime")]
        crate::wasmtime::advance_epochs();
        if ticks >= clock.overdue.load(Relaxed) {
            // SAFETY: the watch holds a reference to it, and there is one, or nothing would be overdue.
            let notice = unsafe { (*clock.notice.load(Relaxed)).as_str() };
            let hook = HOOK.load(Relaxed);
            if hook.is_null() {
                say_and_exit(notice);
            }
            // SAFETY: it is a hook, and nothing else (see `on_overdue`).
            unsafe { mem::transmute::<*mut (), Hook>(hook)(notice) }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn do_nothing(_: libc::c_int) {}

    #[test]
    fn many_signals_may_come_at_once() {
        let notice = String::new();
        let _watch = Watch::start(1000, true, &notice).unwrap();
        let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, signal()];
        // SAFETY: all bits zero is a valid action and a valid set; the handler does nothing; this thread is there.
        unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            for signal in signals {
                libc::sigaddset(&mut all, signal);
                if signal != super::signal() {
                    let mut action: libc::sigaction = mem::zeroed();
                    action.sa_sigaction = do_nothing as extern "C" fn(_) as usize;
                    action.sa_flags = libc::SA_ONSTACK;
                    libc::sigaction(signal, &action, ptr::null_mut());
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, ptr::null_mut());
            for signal in signals {
                libc::pthread_kill(libc::pthread_self(), signal);
            }
            // All frames are made before the first handler runs.
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &all, ptr::null_mut());
        }
    }

    #[test]
    fn a_pause_of_the_core_counts_as_two_ticks_at_most() {
        // SAFETY: all bits zero is a valid one.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        for (overrun, ticks) in [(0, 1), (1, 2), (100, 2)] {
            // SAFETY: the beginning of a `siginfo_t` is laid out so.
            unsafe { (*ptr::from_mut(&mut info).cast::<TimerInfo>()).overrun = overrun };
            let before = CLOCK.with(|clock| clock.ticks.load(Relaxed));
            on_tick(signal(), &mut info, ptr::null_mut());
            assert_eq!(CLOCK.with(|clock| clock.ticks.load(Relaxed)) - before, ticks, "overrun {overrun}");
        }
    }
}
