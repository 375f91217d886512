//! The consumer: reads the ring in sequence, verifies, journals, frees, and records latencies.
//!
//! [`pipeline`] is the whole of it; [`ring_end`] is all that knows the ring. The rest knows records: verifying them,
//! the journal of signatures, histograms and the files they end in, the summary, and the comparison of several runs.
//!
//! After a kill, [`resume`] goes on from the [`checkpoint`] and the journal's lines behind it.

pub mod checkpoint;
pub mod compare;
pub mod encoding;
pub mod hgrm;
pub mod histogram_text;
pub mod histograms;
pub mod hlog;
pub mod hlog_reader;
pub mod journal;
pub mod machine;
pub mod options;
pub mod output_folder;
pub mod pipeline;
mod progress;
pub mod record;
pub mod recorder;
pub mod replay;
pub mod report;

pub mod resume;
pub mod ring_end;
pub mod run_folder;
pub mod summary;
pub mod table;
pub mod tally;
pub mod trusted_key;
pub mod verifier_lanes;
pub mod verify;
mod verify_extension;
