//! The ledger: what was asked for, outside of the ring. A file of lines for each source, which its producer reads and
//! the judge reads again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use cli::Failure;

use super::rng::Rng;
use super::site::Site;

/// The lines of one source.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The source's name.
    pub source: String,
    /// The file.
    pub path: PathBuf,
    /// How many lines it has.
    pub lines: u64,
}

impl Ledger {
    /// Writes a ledger of `lines` lines: the source, the position, and padding up to a length within `sizes`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(
        site: &Site,
        source: &str,
        lines: u64,
        sizes: Range<u64>,
        rng: &mut Rng,
    ) -> Result<Self, Failure> {
        let ledger = Self { source: source.into(), path: site.path(&format!("{source}.lines")), lines };
        let mut write = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(&ledger.path)?);
            for position in 0..lines {
                let width = rng.within(sizes.clone()) as usize;
                let line = format!("{source} {position} {:x} ", rng.next() as u32);
                writeln!(out, "{line:.<width$}")?;
            }
            out.flush()
        };
        write().map_err(|error| ledger.unusable(&error))?;
        Ok(ledger)
    }

    /// The arguments of a producer that reads it.
    pub fn arguments(&self) -> Vec<String> {
        vec!["--input".into(), self.path.display().to_string()]
    }

    /// Its lines from the first, without their ends.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn reader(&self) -> Result<LedgerReader<'_>, Failure> {
        let file = File::open(&self.path).map_err(|error| self.unusable(&error))?;
        Ok(LedgerReader { ledger: self, reader: BufReader::new(file), next: 0, line: Vec::new() })
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        Failure::environment(format_args!("ledger {}: {error}", self.path.display()))
    }
}

/// Reads a ledger forwards.
pub struct LedgerReader<'a> {
    ledger: &'a Ledger,
    reader: BufReader<File>,
    next: u64,
    line: Vec<u8>,
}

impl LedgerReader<'_> {
    /// The line at `position`, which must not be before one that was read; `None` beyond the end.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn line(&mut self, position: u64) -> Result<Option<&[u8]>, Failure> {
        while self.next <= position {
            self.line.clear();
            let read = self.reader.read_until(b'\n', &mut self.line);
            if read.map_err(|error| self.ledger.unusable(&error))? == 0 {
                return Ok(None);
            }
            self.next += 1;
        }
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}
