//! Where a run begins: with new files, or with those of a consumer that was killed, put where its checkpoint left them.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use cli::Failure;

use crate::checkpoint::Checkpoint;
use crate::output_folder::{INTERVAL_LOG, JOURNAL, OutputFolder};
use crate::replay::replay;
use crate::ring_end::AnsweredFor;

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

/// Begins a run in `folder` on the ring that says `answered_for`, or goes on with the one that is there.
///
/// The checkpoint is the first file to be there: from then on the folder is this ring's, and a kill between any two
/// steps leaves what the next start takes for a run that has not got far.
///
/// # Errors
/// The folder is another ring's, lacks what the ring says is written, or its files don't fit together: bad input; they
/// are left as they were. A file can't be made, read or written: environment.
pub fn begin_or_resume(folder: &OutputFolder, answered_for: &AnsweredFor) -> Result<Run, Failure> {
    let (mut checkpoint, is_resumed) = match Checkpoint::load(folder, answered_for.ring_id)? {
        Some(checkpoint) => (checkpoint, true),
        None => {
            folder.refuse_earlier_run("there is no checkpoint.json to resume it from")?;
            let checkpoint = Checkpoint::begin(answered_for);
            checkpoint.save(folder)?;
            (checkpoint, false)
        }
    };
    // A finished run that is started again has nothing to do, and says the same again.
    let is_ahead = is_resumed && !checkpoint.is_finished;
    checkpoint.resumed += u64::from(is_ahead);

    let mut journal = folder.open_from(JOURNAL, checkpoint.journal_bytes)?;
    let mut log = folder.open_from(INTERVAL_LOG, checkpoint.log_bytes)?;
    let (from, next_sequence) = (checkpoint.journal_bytes, checkpoint.tally.next_sequence);
    checkpoint.journal_bytes =
        replay(&journal, &folder.path_of(JOURNAL), from, next_sequence, |record| checkpoint.count(record))?;
    if let Some(source) = checkpoint.tally.lacks(answered_for) {
        return Err(Failure::bad_input(format_args!(
            "output folder {} lacks records of source {source:?} that the ring says are written: lines are lost, or another folder has them; choose another folder with --out",
            folder.path().display()
        )));
    }
    // Slots without a record that were freed since then.
    checkpoint.tally.pass(answered_for.below);

    // A line without its newline was torn by a kill: `write` had not returned, so its record was not answered for, and
    // the ring still has it. Intervals behind the checkpoint are not in its totals: their records have just been
    // counted anew.
    for (name, file, bytes) in
        [(JOURNAL, &mut journal, checkpoint.journal_bytes), (INTERVAL_LOG, &mut log, checkpoint.log_bytes)]
    {
        let cut = file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes)));
        cut.map_err(|error| folder.cannot_write(name, &error))?;
    }
    Ok(Run { checkpoint, is_ahead, journal: Some(journal), log })
}

/// Begins a run that keeps no journal.
///
/// # Errors
/// The folder holds files of an earlier run: bad input. The interval log can't be made: environment.
pub fn begin_without_journal(folder: &OutputFolder, answered_for: &AnsweredFor) -> Result<Run, Failure> {
    folder.refuse_earlier_run("--output none resumes none")?;
    let log = folder.open_from(INTERVAL_LOG, 0)?;
    Ok(Run { checkpoint: Checkpoint::begin(answered_for), is_ahead: false, journal: None, log })
}
