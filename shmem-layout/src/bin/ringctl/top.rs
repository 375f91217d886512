//! `ringctl top`: a live view of a ring. It maps the ring read-only, and says what is there: allegations, all of them.

mod json;
mod page;
mod screen;
mod sight;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};
use shmem_layout::{RingPath, View, word_faults};

use screen::Screen;
use sight::{Sight, Watch};

/// How soon a signal, or a terminal of another size, is noticed.
const SLICE: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(crate) struct TopArguments {
    /// The ring
    ring: RingPath,
    /// Seconds from one look to the next, 0.01 to 86400
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = crate::seconds)]
    interval: Duration,
    /// Print one look, after an interval to know the rates by, and end
    #[arg(long)]
    once: bool,
    /// An object of JSON a line, for machines
    #[arg(long)]
    json: bool,
}

/// Shows the ring until Ctrl-C, or until there is nobody to show it to.
pub(crate) fn run(arguments: &TopArguments) -> Result<Exit, Failure> {
    let TopArguments { ring, interval, once, json } = arguments;
    let stop = cli::stop_on_signals().map_err(|error| crate::at(ring, &error))?;
    let is_screen = !once && !json && screen::is_there();
    if is_screen {
        // A ring that is cut under us ends us on the spot: the terminal is to be as it was all the same.
        word_faults(screen::worded);
    }
    let view = View::open(ring).map_err(|error| crate::at(ring, &error))?;
    let place = Place::of(ring).map_err(|error| crate::at(ring, &error))?;
    let mut watch = Watch::new(&view);
    let mut look = || {
        place.check(ring)?;
        watch.look().map_err(|error| crate::at(ring, &error))
    };
    let first = look()?;
    if is_screen {
        let screen = Screen::enter(ring)?;
        return show(&screen, first, look, *interval, &stop);
    }
    while sleep(*interval, &stop, || false) {
        let sight = look()?;
        let text = match json {
            true => format!("{}\n", json::object(ring, view.spec(), &sight)),
            false => page::lines(ring, view.spec(), &sight).join("\n") + if *once { "\n" } else { "\n\n" },
        };
        if cli::print_more(&text)?.is_break() || *once {
            break;
        }
    }
    Ok(Exit::Done)
}

/// Shows what `look` sees on a terminal, each time in its present size.
fn show(
    screen: &Screen<'_>,
    first: Sight,
    mut look: impl FnMut() -> Result<Sight, Failure>,
    interval: Duration,
    stop: &AtomicBool,
) -> Result<Exit, Failure> {
    let mut sight = first;
    loop {
        let mut size = screen::size();
        let lines = |sight: &Sight| page::lines(screen.ring, &sight.spec, sight);
        if screen.draw(&lines(&sight), size)?.is_break() {
            break;
        }
        let is_over = !sleep(interval, stop, || {
            screen.pause_if_asked();
            let is_other = screen::size() != size || screen.is_stale();
            if is_other {
                size = screen::size();
                // What can't be drawn now is met again in a moment.
                let _ = screen.draw(&lines(&sight), size);
            }
            false
        });
        if is_over {
            break;
        }
        sight = look()?;
    }
    Ok(Exit::Done)
}

/// Sleeps for `interval`, and calls `meanwhile` now and then, which may end it. False when `stop` was set.
fn sleep(interval: Duration, stop: &AtomicBool, mut meanwhile: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + interval;
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || meanwhile() {
            return true;
        }
        // A signal interrupts the handler's thread alone.
        thread::sleep(left.min(SLICE));
    }
}

/// The file that was opened.
struct Place {
    device: u64,
    inode: u64,
    len: u64,
}

impl Place {
    fn of(ring: &RingPath) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(ring.file_path())?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), len: metadata.len() })
    }

    /// Whether the ring is still there, and as long as it was.
    fn check(&self, ring: &RingPath) -> Result<(), Failure> {
        match Self::of(ring) {
            Ok(Self { device, inode, .. }) if (device, inode) != (self.device, self.inode) => {
                Err(crate::at(ring, &"it was removed, and another file stands in its place"))
            }
            Ok(Self { len, .. }) if len < self.len => {
                Err(crate::at(ring, &"it was cut short; make a new ring"))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(crate::at(ring, &"it was removed")),
            Err(error) => Err(crate::at(ring, &error)),
        }
    }
}
