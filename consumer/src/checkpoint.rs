//! How far a run has got: enough to go on after a kill as if there had been none.
//!
//! The journal is the one truth. A checkpoint holds what its lines up to some byte come to, so that a start reads
//! only the lines after that byte, and counts them by the code that counts a record out of the ring.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use cli::Failure;
use serde::{Deserialize, Serialize};

use crate::histograms::Histograms;
use crate::output_folder::{CHECKPOINT, OutputFolder};
use crate::ring_end::AnsweredFor;
use crate::tally::{Counted, Tally};
use shmem_layout::now_ns;

/// The version of the file's format. Another one is refused.
const FORMAT: u32 = 1;

/// How far a run has got.
#[derive(Serialize, Deserialize)]
pub struct Checkpoint {
    format: u32,
    /// The ring that the folder belongs to, in hexadecimal.
    ring_id: String,
    /// When the run began: nanoseconds since the epoch.
    pub started_unix_ns: u64,
    /// The same moment on CLOCK_MONOTONIC: time 0 of the interval log.
    pub started_ns: u64,
    /// How often the run was resumed.
    pub resumed: u64,
    /// Whether it has come to the ring's end.
    pub is_finished: bool,
    /// Bytes of the journal that are counted here.
    pub journal_bytes: u64,
    /// Bytes of the interval log whose intervals are in the totals here.
    pub log_bytes: u64,
    /// When the interval began that comes after these: CLOCK_MONOTONIC.
    pub interval_from_ns: u64,
    /// What was counted.
    pub tally: Tally,
    /// What was measured.
    pub histograms: Histograms,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Checkpoint {
    /// The beginning of a run now, where the ring has got to.
    pub fn begin(answered_for: &AnsweredFor) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ns = now_ns();
        Self {
            format: FORMAT,
            ring_id: hex::encode(answered_for.ring_id),
            started_unix_ns: since_epoch.as_nanos() as u64,
            started_ns,
            resumed: 0,
            is_finished: false,
            journal_bytes: 0,
            log_bytes: 0,
            interval_from_ns: started_ns,
            tally: Tally::new(answered_for),
            histograms: Histograms::new(),
        }
    }

    /// The checkpoint in `folder`, of a run on the ring `ring_id`. `None` if there is none.
    ///
    /// # Errors
    /// It can't be read: environment. It is none, or another ring's: bad input.
    pub fn load(folder: &OutputFolder, ring_id: [u8; 16]) -> Result<Option<Self>, Failure> {
        let path = folder.path_of(CHECKPOINT);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::environment(format_args!(
                    "output {}: {error}; let it be read, or choose another folder with --out",
                    path.display()
                )));
            }
        };
        let checkpoint: Self = parse(&bytes).map_err(|error| {
            Failure::bad_input(format_args!(
                "output {} is no checkpoint to resume from ({error}); choose another folder with --out",
                path.display()
            ))
        })?;
        if checkpoint.ring_id != hex::encode(ring_id) {
            return Err(Failure::bad_input(format_args!(
                "output folder {} belongs to another ring (id {}); choose another folder with --out, or give that ring",
                folder.path().display(),
                checkpoint.ring_id
            )));
        }
        Ok(Some(checkpoint))
    }

    /// Replaces the checkpoint in `folder`. Only when an interval has just ended: totals are all that is kept.
    ///
    /// # Errors
    /// It can't be written: environment.
    pub fn save(&self, folder: &OutputFolder) -> Result<(), Failure> {
        folder.replace(CHECKPOINT, |out| {
            serde_json::to_writer(&mut *out, self)?;
            io::Write::write_all(out, b"\n")
        })
    }

    /// Counts a record that is in the journal.
    pub fn count(&mut self, record: &Counted<'_>) {
        self.histograms.record(&record.times, record.outcome);
        self.tally.count(record);
    }
}

fn parse(bytes: &[u8]) -> Result<Checkpoint, String> {
    let Format { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("format {format}, and this program knows {FORMAT}"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
