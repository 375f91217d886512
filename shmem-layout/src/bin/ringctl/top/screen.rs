//! The terminal while `ringctl top` has it: another screen than the user's, who gets his back as it was.

use std::env;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cli::Failure;
use cli::figures::cut;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::tcgetwinsize;
use shmem_layout::RingPath;

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Back, with the cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Whether standard output is a terminal that can draw.
pub(super) fn is_there() -> bool {
    let can_move = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    can_move && io::stdout().is_terminal()
}

/// Columns and rows.
pub(super) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// What is printed when the ring is cut under us: a line, on the user's screen.
pub(super) fn worded(message: &str) -> Option<String> {
    Some(format!("{LEAVE}ringctl: {message}\n"))
}

/// The other screen, until it is dropped.
pub(super) struct Screen<'a> {
    pub ring: &'a RingPath,
    /// Set by Ctrl-Z.
    pause: Arc<AtomicBool>,
    is_stale: AtomicBool,
}

impl<'a> Screen<'a> {
    /// Shows an empty one.
    ///
    /// # Errors
    /// The terminal is gone: environment.
    pub fn enter(ring: &'a RingPath) -> Result<Self, Failure> {
        let pause = cli::pause_on_signal().map_err(|error| crate::at(ring, &error))?;
        let screen = Self { ring, pause, is_stale: AtomicBool::new(false) };
        cli::print(ENTER)?;
        Ok(screen)
    }

    /// Draws as much of `lines` as has a place: nothing is wrapped, nothing scrolls.
    ///
    /// # Errors
    /// The terminal is gone: environment.
    pub fn draw(&self, lines: &[String], size: (usize, usize)) -> Result<ControlFlow<()>, Failure> {
        self.is_stale.store(false, Ordering::Relaxed);
        cli::print_more(&drawn(lines, size))
    }

    /// Whether what was drawn is not there any more.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// After Ctrl-Z: gives the terminal back, stops, and takes it again when somebody continues us.
    pub fn pause_if_asked(&self) {
        if self.pause.swap(false, Ordering::Relaxed) {
            // A terminal that went away is met at the next drawing.
            let _ = cli::print(LEAVE);
            let _ = kill_process(getpid(), Signal::STOP);
            let _ = cli::print(ENTER);
            self.is_stale.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // A terminal that went away is as it is.
        let _ = cli::print(LEAVE);
    }
}

/// `lines` from the top of a terminal of `size`, whatever stood there.
fn drawn(lines: &[String], (columns, rows): (usize, usize)) -> String {
    let fitting: Vec<_> =
        lines.iter().take(rows).map(|line| format!("{}\x1b[K", cut(line, columns))).collect();
    // Behind the last one no newline: on the last row it would scroll.
    format!("\x1b[H{}\x1b[J", fitting.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_is_cut() {
        let lines = ["one two", "three", "four"].map(String::from);
        assert_eq!(drawn(&lines, (5, 2)), "\x1b[Hone t\x1b[K\r\nthree\x1b[K\x1b[J");
        assert_eq!(drawn(&lines[..1], (80, 24)), "\x1b[Hone two\x1b[K\x1b[J");
    }
}
