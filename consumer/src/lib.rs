//! The consumer: reads the ring in sequence, verifies, journals, frees, and records latencies.
//!
//! [`pipeline`] is the whole of it; [`ring_end`] is all that knows the ring. The rest knows records: verifying them,
//! the journal of signatures, histograms and the files they end in, the summary, and the comparison of several runs.
//!
//! After a kill, [`resume`] goes on from the [`checkpoint`] and the journal's lines behind it.
//!
//! ```
//! use cli::Method;
//! use consumer::encoding::Encoding;
//! use consumer::trusted_key::TrustedKey;
//!
//! // A consumer is told whom to trust; the ring's word is none.
//! let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
//! assert_eq!(TrustedKey::from_argument(key)?.compressed()[0], 2);
//! // And writes signatures in a form of one's choice; those of BIP340 have no DER.
//! let mut text = String::new();
//! assert_eq!(Encoding::Der.write(Method::Schnorr, &[0xab; 64], &mut text), Encoding::Hex);
//! assert_eq!(text, "ab".repeat(64));
//! # Ok::<(), cli::Failure>(())
//! ```

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
pub mod reorder;
pub mod replay;
pub mod report;

pub mod resume;
pub mod ring_end;
pub mod run_folder;
pub mod summary;
pub mod table;
pub mod tally;
pub mod trusted_key;
pub mod verify;
mod verify_extension;
