//! What supervisor and worker say to each other, over the socket that the key has come by: a line of JSON each. A line
//! that is none is a worker's last word, prepared for a moment when nothing can be formatted any more.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use cli::log::Line;
use serde::{Deserialize, Serialize};

use crate::assignment::{Assignment, Assignments};
use crate::ration::Ration;

/// How long a line may wait for the other end to take it. Lines are few and short, and the socket's buffer is long.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// First: what serves. A worker on standby makes everything ready, and waits for `Go` before it claims anything.
    Start {
        /// What serves.
        assignments: Box<Assignments>,
        /// Whether to wait.
        standby: bool,
    },
    /// Begin.
    Go,
    /// Make this ready beside what serves.
    Install(Assignment),
    /// Let what was made ready for this generation serve, from the next batch on.
    Commit(u32),
    /// Drop what was made ready.
    Discard,
}

/// What a worker says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// It has joined the ring, with every method ready.
    Ready,
    /// What was to be installed is ready.
    Installed(u32),
    /// It could not be made ready.
    NotInstalled {
        /// Which.
        generation: u32,
        /// Why, in one line.
        why: String,
    },
    /// The batches from now on are this generation's.
    Switched(u32),
    /// Something that the operator should know, in one line.
    Warning(String),
    /// Anything else that it says, for its supervisor to print.
    Said(Line),
}

/// Writes `line` and its end at once.
pub(crate) fn say(mut to: &UnixStream, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    to.write_all(&text)
}

/// Lets no line wait for ever on a peer that is stopped.
pub(crate) fn bound_writes(socket: &UnixStream) -> io::Result<()> {
    socket.set_write_timeout(Some(PATIENCE))
}

/// A worker's ear.
pub(crate) struct Orders(BufReader<UnixStream>);

impl Orders {
    /// Orders from `control`, after the key.
    pub fn from(control: &UnixStream) -> io::Result<Self> {
        Ok(Self(BufReader::new(control.try_clone()?)))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// The supervisor is gone, or it is none of ours.
    pub fn next(&mut self) -> io::Result<Order> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::Error::other("its supervisor is gone"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// A worker's mouth, for both of its threads.
pub(crate) struct Mouth {
    to: UnixStream,
    /// A module that fails every record must not flood the log.
    warnings: Mutex<Ration>,
}

impl Mouth {
    /// Speaks into `control`.
    pub fn of(control: &UnixStream) -> io::Result<Self> {
        Ok(Self { to: control.try_clone()?, warnings: Mutex::default() })
    }

    /// Says `word`. A supervisor that is gone takes us along; there is nobody to tell of a failure.
    pub fn say(&self, word: &Word) {
        let _ = say(&self.to, word);
    }

    /// Warns, at most once a second: what came in between is counted in the next one.
    pub fn warn(&self, warning: impl FnOnce() -> String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let more = match warnings.take() {
            None => return,
            Some(0) => String::new(),
            Some(more) => format!(" ({more} more warnings since the last one)"),
        };
        self.say(&Word::Warning(warning() + &more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_rationed_and_counted() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mouth = Mouth::of(&ours).unwrap();
        for i in 0..5 {
            mouth.warn(|| format!("warning {i}"));
        }
        std::thread::sleep(Duration::from_millis(1100));
        mouth.warn(|| "last".to_owned());
        drop((ours, mouth));
        let said: Vec<Word> = BufReader::new(theirs)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        let second = "last (4 more warnings since the last one)";
        assert_eq!(said, [Word::Warning("warning 0".to_owned()), Word::Warning(second.to_owned())]);
    }
}
