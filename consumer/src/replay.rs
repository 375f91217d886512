//! Reading a journal back: the lines after a checkpoint, up to the one that a kill tore.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use cli::Failure;
use serde::Deserialize;

use crate::record::{Outcome, Times};
use crate::tally::Counted;

/// More bytes than any line has: the longest holds a signature of 4 KiB in hexadecimal. A file that was never a
/// journal must not be read into memory as one line.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 18;

/// What is counted of a line. The rest of it was for others.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    source: String,
    position: u64,
    method: String,
    message_bytes: u64,
    verified: Option<bool>,
    status: Option<String>,
    runtime: String,
    times: Times,
}

impl Line {
    fn counted(&self) -> Result<Counted<'_>, String> {
        let method = self.method.parse().ok();
        let outcome = match (&self.status, self.verified) {
            (None, Some(true)) => Outcome::Verified,
            (None, Some(false)) => Outcome::NotVerified,
            (None, None) => Outcome::Unchecked,
            // Which failure it was is not counted.
            (Some(_), _) => Outcome::Failed(0),
        };
        Ok(Counted {
            sequence: self.seq,
            source: &self.source,
            position: self.position,
            outcome,
            method: method.ok_or_else(|| format!("no method is called {:?}", self.method))?,
            runtime: &self.runtime,
            message_bytes: self.message_bytes,
            times: self.times,
        })
    }
}

/// Hands the lines of `journal` from byte `from` on to `count`, whose sequences must ascend from `next_sequence` on.
/// Returns the byte where the last line ends: what stands behind it lacks its newline.
///
/// # Errors
/// A whole line is none, or out of order: bad input that names the byte it begins at. The file can't be read:
/// environment.
pub fn replay(
    journal: &File,
    path: &Path,
    from: u64,
    mut next_sequence: u64,
    mut count: impl FnMut(&Counted<'_>),
) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        Failure::environment(format_args!("journal {}: {error}; resume when it can be read", path.display()))
    };
    let mut reader = BufReader::with_capacity(READ_BYTES, journal);
    reader.seek(SeekFrom::Start(from)).map_err(failed)?;
    let (mut end, mut bytes) = (from, Vec::new());
    loop {
        bytes.clear();
        let len = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(failed)? as u64;
        if bytes.last() != Some(&b'\n') {
            if len == LINE_BYTES_MAX {
                return Err(no_line(path, end, &format_args!("longer than {LINE_BYTES_MAX} bytes")));
            }
            return Ok(end);
        }
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| no_line(path, end, &error))?;
        let counted = line.counted().map_err(|error| no_line(path, end, &error))?;
        if counted.sequence < next_sequence {
            let error = format!("seq {} where {next_sequence} or more was due", counted.sequence);
            return Err(no_line(path, end, &error));
        }
        next_sequence = counted.sequence.saturating_add(1);
        count(&counted);
        end += len;
    }
}

fn no_line(path: &Path, byte: u64, error: &dyn Display) -> Failure {
    Failure::bad_input(format_args!(
        "journal {}: at byte {byte} is no line to resume from: {error}; put the file back as it was, or choose another folder with --out",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cli::Exit;

    use super::*;

    fn line(sequence: u64) -> String {
        let times = r#"{"intended_ns":1,"written_ns":2,"claimed_ns":3,"signed_ns":4,"verified_ns":5}"#;
        format!(
            "{{\"seq\":{sequence},\"source\":\"\\u0000\\\"é\",\"position\":1,\"method\":\"ecdsa\",\"message_bytes\":9,\"verified\":true,\
             \"runtime\":\"native\",\"times\":{times}}}\n"
        )
    }

    /// The sequences that are replayed from byte `from` of a journal with `text`, and the byte where they end.
    fn replayed(text: &[u8], from: u64, next_sequence: u64) -> Result<(Vec<u64>, u64), Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        let mut sequences = Vec::new();
        let count = |counted: &Counted<'_>| sequences.push(counted.sequence);
        let end = replay(file.as_file(), file.path(), from, next_sequence, count)?;
        assert_eq!(fs::read(&file).unwrap(), text, "reading changes nothing");
        Ok((sequences, end))
    }

    #[test]
    fn a_torn_line_does_not_count_wherever_it_was_torn() {
        let whole = [line(3), line(5)].concat();
        let torn = line(6);
        for len in 0..torn.len() {
            let torn = &torn.as_bytes()[..len];
            let text = [whole.as_bytes(), torn].concat();
            assert_eq!(replayed(&text, 0, 0).unwrap(), (vec![3, 5], whole.len() as u64), "{len}");
            assert_eq!(replayed(torn, 0, 0).unwrap(), (vec![], 0), "{len}");
        }
    }

    #[test]
    fn only_what_stands_behind_the_checkpoint_is_read() {
        let text = ["not a line\n", &line(7)].concat();
        assert_eq!(replayed(text.as_bytes(), 11, 7).unwrap(), (vec![7], text.len() as u64));
        assert!(replayed(text.as_bytes(), text.len() as u64, 8).unwrap().0.is_empty());
    }

    #[test]
    fn a_whole_line_that_is_none_is_named_by_its_byte() {
        let byte = line(1).len();
        let endless = [line(1).into_bytes(), vec![b'x'; 1 << 16]].concat();
        let others = ["\n", "{}\n", "\0\n", "{\"seq\":2}\n"].map(|other| (line(1) + other).into_bytes());
        let unknown = line(1) + &line(2).replace("ecdsa", "rot13");
        let falling = line(1) + &line(1);
        for text in others.into_iter().chain([endless, unknown.into(), falling.into()]) {
            let failure = replayed(&text, 0, 0).unwrap_err();
            assert_eq!(failure.exit, Exit::BadInput);
            assert!(failure.message.contains(&format!("at byte {byte} ")), "{failure}");
        }
    }
}
