//! Messages from a file or standard input, one a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use cli::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use shmem_layout::{MESSAGE_CAPACITY_MAX, SLEEP_LIMIT, Waiting};

use crate::Halt;
use crate::options::{Format, InputOptions};

/// The longest line that is kept: the longest message that any ring takes, in hex.
const LINE_MAX: usize = 2 * MESSAGE_CAPACITY_MAX as usize;

/// What [`Input::next`] found.
pub(crate) enum Next<'a> {
    /// A message.
    Message(&'a [u8]),
    /// A line to be left out, as its message is longer than the ring's messages may be.
    Oversize,
    /// No more lines.
    End,
}

/// Lines that are read, decoded and held against the ring's message capacity.
pub(crate) struct Input {
    /// What errors call it.
    name: String,
    reader: BufReader<Interruptible>,
    format: Format,
    skip_oversize: bool,
    message_capacity: usize,
    /// Lines read, which is the number of the last one.
    line_number: u64,
    line: Vec<u8>,
    decoded: Vec<u8>,
}

impl Input {
    /// Opens the input of a source that goes on at `resume_at`.
    ///
    /// # Errors
    /// It can't be opened, is a directory, or would have to be resumed and can't be read twice.
    pub fn open(
        options: &InputOptions,
        message_capacity: usize,
        resume_at: u64,
        waiting: &Waiting,
    ) -> Result<Self, Failure> {
        let (name, file) = open(&options.path)?;
        let refuse = |why: &str| Failure::bad_input(format_args!("{name}: {why}"));
        let metadata = file.metadata().map_err(|error| refuse(&error.to_string()))?;
        if metadata.is_dir() {
            return Err(refuse("is a directory; give a file, or - for standard input"));
        }
        if resume_at > 0 && (options.is_stdin() || !metadata.is_file()) {
            return Err(refuse(&format!(
                "can't be read again to go on at line {}, where the source stopped; \
                 give a file, or choose another --source",
                resume_at.saturating_add(1),
            )));
        }
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, Interruptible { file, waiting: waiting.clone() }),
            name,
            format: options.format,
            skip_oversize: options.skip_oversize,
            message_capacity,
            line_number: 0,
            line: Vec::new(),
            decoded: Vec::new(),
        })
    }

    /// Passes over lines that were delivered before.
    pub fn skip_lines(&mut self, count: u64) -> Result<(), Halt> {
        while self.line_number < count && self.reader.skip_until(b'\n').map_err(|e| self.halt(&e))? > 0 {
            self.line_number += 1;
        }
        Ok(())
    }

    /// Whether a whole line has been read already, so that [`Input::next`] waits for nobody.
    pub fn has_line(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// The next line's message. Memory stays bounded however long the line is.
    pub fn next(&mut self) -> Result<Next<'_>, Halt> {
        self.line.clear();
        let mut bounded = self.reader.by_ref().take(LINE_MAX as u64 + 1);
        if bounded.read_until(b'\n', &mut self.line).map_err(|e| self.halt(&e))? == 0 {
            return Ok(Next::End);
        }
        self.line_number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        let is_cut = self.line.len() > LINE_MAX;
        let message = match self.format {
            Format::Hex if !is_cut => {
                decode_hex(&self.line, &mut self.decoded)
                    .map_err(|(column, why)| bad_line(&self.name, self.line_number, column, &why))?;
                &self.decoded
            }
            _ => &self.line,
        };
        if message.len() <= self.message_capacity {
            return Ok(Next::Message(message));
        }
        if !self.skip_oversize {
            let size =
                if is_cut { format!("over {MESSAGE_CAPACITY_MAX}") } else { message.len().to_string() };
            let why = format!(
                "message of {size} bytes is longer than the ring's {}; \
                 make the ring with a larger --message-capacity, or leave such lines out with --skip-oversize",
                self.message_capacity
            );
            return Err(bad_line(&self.name, self.line_number, None, &why).into());
        }
        if is_cut {
            self.reader.skip_until(b'\n').map_err(|error| self.halt(&error))?;
        }
        Ok(Next::Oversize)
    }

    /// What an error of the reader means: a stop is one too.
    fn halt(&self, error: &io::Error) -> Halt {
        if self.reader.get_ref().waiting.is_stopped() {
            return Halt::Interrupted;
        }
        Failure::bad_input(format_args!("{}: can't be read: {error}", self.name)).into()
    }
}

fn open(path: &Path) -> Result<(String, File), Failure> {
    let (name, file) = if path == InputOptions::STDIN {
        ("standard input".into(), io::stdin().as_fd().try_clone_to_owned().map(File::from))
    } else {
        (path.display().to_string(), File::open(path))
    };
    match file {
        Ok(file) => Ok((name, file)),
        Err(error) => Err(Failure::bad_input(match error.kind() {
            io::ErrorKind::NotFound => format!("{name}: no such file"),
            io::ErrorKind::PermissionDenied => format!("{name}: no permission to read it"),
            _ => format!("{name}: can't be opened: {error}"),
        })),
    }
}

/// Decodes a line of hex digits. Of an error: the column, if there is one to point at, and what is wrong.
fn decode_hex(line: &[u8], into: &mut Vec<u8>) -> Result<(), (Option<usize>, String)> {
    into.resize(line.len() / 2, 0);
    hex::decode_to_slice(line, into).map_err(|_| match line.iter().position(|b| !b.is_ascii_hexdigit()) {
        Some(index) => (Some(index + 1), format!("'{}' is no hex digit", line[index].escape_ascii())),
        None => (None, format!("an odd number of hex digits ({})", line.len())),
    })
}

fn bad_line(name: &str, number: u64, column: Option<usize>, why: &str) -> Failure {
    let column = column.map(|column| format!("{column}:")).unwrap_or_default();
    Failure::bad_input(format_args!("{name}:{number}:{column} {why}"))
}

/// A file whose reads wait no longer than until stopped. read(2) alone would not do: it goes on after a signal.
struct Interruptible {
    file: File,
    waiting: Waiting,
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(SLEEP_LIMIT.subsec_nanos()) };
        loop {
            if self.waiting.is_stopped() {
                // Not `Interrupted`, after which std tries again.
                return Err(io::Error::other("stopped"));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_error(line: &[u8]) -> String {
        let (column, why) = decode_hex(line, &mut Vec::new()).unwrap_err();
        bad_line("f", 3, column, &why).to_string()
    }

    #[test]
    fn a_wrong_hex_digit_is_found_wherever_it_is() {
        assert_eq!(hex_error(b"0x00"), "f:3:2: 'x' is no hex digit");
        assert_eq!(hex_error(b"00\r"), "f:3:3: '\\r' is no hex digit");
        assert_eq!(hex_error(b"00g"), "f:3:3: 'g' is no hex digit");
        assert_eq!(hex_error(b"\xFF0"), "f:3:1: '\\xff' is no hex digit");
        assert_eq!(hex_error(b"000"), "f:3: an odd number of hex digits (3)");
    }

    #[test]
    fn hex_is_decoded_in_either_case_and_an_empty_line_is_empty() {
        let mut decoded = vec![1];
        decode_hex(b"00fFAb", &mut decoded).unwrap();
        assert_eq!(decoded, [0x00, 0xFF, 0xAB]);
        decode_hex(b"", &mut decoded).unwrap();
        assert!(decoded.is_empty());
    }
}
