//! Progress on a terminal: some lines at its bottom, redrawn a few times a second, and gone at the end.

use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

use crate::{LogOptions, figures};

/// How often the lines change.
pub const EVERY: Duration = Duration::from_millis(250);

/// Characters of a bar.
const BAR: usize = 20;

/// Characters at a line's end that stay free: a terminal shows Ctrl-C behind it, and the line must not be wrapped for that.
const MARGIN: u16 = 3;

/// The lines that are up, for who wants to print above them. A process has one set of them.
static UP: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Whether a role shows its own progress.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressOptions {
    /// Show progress on a terminal, while in its foreground (auto), or never
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Messages on standard error"
    )]
    pub progress: OwnProgress,
}

/// When a role shows its own progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OwnProgress {
    /// On a terminal, while the program runs in its foreground
    #[default]
    Auto,
    /// Never
    None,
}

impl ProgressOptions {
    /// A line called `name`, if there is to be one.
    #[must_use]
    pub fn line(&self, name: &'static str, log: &LogOptions) -> Option<Lines> {
        let is_wanted = self.progress == OwnProgress::Auto && !log.quiet;
        is_wanted.then(|| Lines::new(&[name], Drawer::Foreground)).flatten()
    }
}

/// Who may draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawer {
    /// A program in the terminal's foreground: one that runs in the background would draw over others' lines.
    Foreground,
    /// One that was told that it is the only one.
    Appointed,
}

/// What a line shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Of how many how many are done, for a bar: none where the end is not known.
    pub part: Option<(u64, u64)>,
    /// What stands behind it. It is cut to the terminal's width.
    pub text: String,
}

/// Lines at the bottom of a terminal. They vanish when it is dropped.
pub struct Lines {
    multi: MultiProgress,
    lines: Vec<(ProgressBar, &'static str)>,
    drawer: Drawer,
}

/// Whether standard error is a terminal that can draw.
#[must_use]
pub fn is_drawable() -> bool {
    let can_move = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    can_move && io::stderr().is_terminal()
}

/// Does `print` while no progress is on the screen.
pub fn suspended<T>(print: impl FnOnce() -> T) -> T {
    let up = UP.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match up {
        Some(lines) => lines.suspend(print),
        None => print(),
    }
}

impl Lines {
    /// A line for each of `names`; none where they can't be drawn.
    #[must_use]
    pub fn new(names: &[&'static str], drawer: Drawer) -> Option<Self> {
        if !is_drawable() {
            return None;
        }
        // As often as we say so: a line that is held back would stand beside newer ones.
        let target = ProgressDrawTarget::term_like(Box::new(Terminal::default()));
        let multi = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("{msg}").ok()?;
        let line = || multi.add(ProgressBar::no_length().with_style(style.clone()));
        let lines = names.iter().map(|name| (line(), *name)).collect();
        *UP.lock().unwrap_or_else(PoisonError::into_inner) = Some(multi.clone());
        Some(Self { multi, lines, drawer })
    }

    /// Has each line show what is given for it.
    pub fn draw(&self, shown: impl IntoIterator<Item = Shown>) {
        if self.drawer == Drawer::Foreground && tcgetpgrp(io::stderr()).ok() != Some(getpgrp()) {
            return;
        }
        let width = size().0.saturating_sub(MARGIN).into();
        for ((line, name), Shown { part, text }) in self.lines.iter().zip(shown) {
            let bar = part.map(|(done, all)| format!("[{}] ", figures::bar(done, all, BAR)));
            let text = format!("{name:<8} {}{text}", bar.unwrap_or_default());
            line.set_message(figures::cut(&text, width).to_owned());
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        *UP.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for (bar, _) in &self.lines {
            bar.finish_and_clear();
        }
        // A terminal that went away is no reason to complain.
        let _ = self.multi.clear();
    }
}

/// Columns and rows.
fn size() -> (u16, u16) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

/// Standard error, for indicatif, which fills the last line up to the terminal's width: that is taken away, or what the terminal
/// shows of Ctrl-C would be a line more. A terminal that went away is no reason to complain.
#[derive(Debug, Default)]
struct Terminal {
    /// What is to be written at once, so that others' lines don't come in between.
    pending: Mutex<String>,
}

impl Terminal {
    fn push(&self, text: &str) -> io::Result<()> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn move_cursor(&self, cells: usize, direction: char) -> io::Result<()> {
        if cells == 0 { Ok(()) } else { self.push(&format!("\x1b[{cells}{direction}")) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        size().0
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(text)?;
        self.push("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let text = mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = io::stderr().lock().write_all(text.trim_end_matches(' ').as_bytes());
        Ok(())
    }
}

/// A thread that draws, until this is dropped.
pub struct Drawing {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drawing {
    /// Draws what `look` sees, which is told the time since the start. Without lines, or a thread to be had, there is no
    /// progress, and nobody is the worse for it.
    #[must_use]
    pub fn start(
        lines: Option<Lines>,
        mut look: impl FnMut(Duration) -> Vec<Shown> + Send + 'static,
    ) -> Option<Self> {
        let lines = lines?;
        let is_over = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let draw = {
            let is_over = Arc::clone(&is_over);
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    lines.draw(look(started.elapsed()));
                    thread::park_timeout(EVERY);
                }
            }
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(draw).ok()?;
        Some(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // One that has panicked draws no more either.
            let _ = thread.join();
        }
    }
}
