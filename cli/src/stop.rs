//! Ctrl-C and SIGTERM as a flag that loops look at, and Ctrl-Z as another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGTSTP};
use signal_hook::flag;

/// A flag that SIGINT or SIGTERM sets. A second signal ends the process at once, as it would without us.
///
/// # Errors
/// The handlers could not be installed.
pub fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the default action runs only when the flag was set by an earlier signal.
        flag::register_conditional_default(signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A flag that Ctrl-Z sets, for who has a terminal to give back before it stops.
///
/// # Errors
/// The handler could not be installed.
pub fn pause_on_signal() -> io::Result<Arc<AtomicBool>> {
    let pause = Arc::new(AtomicBool::new(false));
    flag::register(SIGTSTP, Arc::clone(&pause))?;
    Ok(pause)
}
