//! Where a run begins: with new files, or with those of a consumer that was killed, put where its checkpoint left them.

use std::fs::File;

use cli::Failure;

use crate::checkpoint::Checkpoint;
use crate::output_folder::{INTERVAL_LOG, JOURNAL, OutputFolder};
use crate::replay::replay;

/// A run about to go on: how far it is, and its files.
pub struct Run {
    /// How far it is. What was replayed is in the interval, not in the totals.
    pub checkpoint: Checkpoint,
    /// Whether that is further than the folder's own checkpoint says.
    pub is_ahead: bool,
    /// The journal, with the cursor at its end; `None` for a run that keeps none, and so can't be resumed.
    pub journal: Option<File>,
    /// The interval log, cut to what the checkpoint counts.
    pub log: File,
}

/// Begins a run on the ring `ring_id`, or goes on with the one in `folder`. All sequences below `first_unfreed` are
/// answered for.
///
/// The checkpoint is the first file to be there: from then on the folder is this ring's, and a kill between any two
/// steps leaves what the next start takes for a run that has not got far.
///
/// # Errors
/// The folder is another ring's, or its files don't fit together: bad input. A file can't be made, read or written:
/// environment.
pub fn begin_or_resume(folder: &OutputFolder, ring_id: [u8; 16], first_unfreed: u64) -> Result<Run, Failure> {
    let (mut checkpoint, is_resumed) = match Checkpoint::load(folder, ring_id)? {
        Some(checkpoint) => (checkpoint, true),
        None => {
            folder.refuse_earlier_run("there is no checkpoint.json to resume it from")?;
            let checkpoint = Checkpoint::begin(ring_id, first_unfreed);
            checkpoint.save(folder)?;
            (checkpoint, false)
        }
    };
    // A finished run that is started again has nothing to do, and says the same again.
    let is_ahead = is_resumed && !checkpoint.is_finished;
    checkpoint.resumed += u64::from(is_ahead);

    let journal = folder.open_from(JOURNAL, checkpoint.journal_bytes)?;
    // Both before anything is cut: a folder that is refused is left as it was.
    let log = folder.open_from(INTERVAL_LOG, checkpoint.log_bytes)?;
    let (from, next_sequence) = (checkpoint.journal_bytes, checkpoint.tally.next_sequence);
    checkpoint.journal_bytes =
        replay(&journal, &folder.path_of(JOURNAL), from, next_sequence, |record| checkpoint.count(record))?;
    // Slots without a record that were freed since then.
    checkpoint.tally.pass(first_unfreed);

    // Intervals behind the checkpoint are not in its totals: their records have just been counted anew.
    log.set_len(checkpoint.log_bytes).map_err(|error| folder.cannot_write(INTERVAL_LOG, &error))?;
    Ok(Run { checkpoint, is_ahead, journal: Some(journal), log })
}

/// Begins a run that keeps no journal.
///
/// # Errors
/// The folder holds files of an earlier run: bad input. The interval log can't be made: environment.
pub fn begin_without_journal(
    folder: &OutputFolder,
    ring_id: [u8; 16],
    first_unfreed: u64,
) -> Result<Run, Failure> {
    folder.refuse_earlier_run("--output none resumes none")?;
    let log = folder.open_from(INTERVAL_LOG, 0)?;
    Ok(Run { checkpoint: Checkpoint::begin(ring_id, first_unfreed), is_ahead: false, journal: None, log })
}
