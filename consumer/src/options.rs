//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cli::Failure;
use shmem_layout::{RingPath, STALL_SECONDS, VERSION, WaitStrategy, parse_stall_after};

use crate::encoding::Encoding;
use crate::trusted_key::TrustedKey;
use crate::verify::VerifierChoice;

/// Threads that verify, at most.
const THREADS_MAX: u64 = 64;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Consume a ring to its end.
    Consume(Options),
    /// Compare the runs in these folders.
    Compare(Vec<PathBuf>),
}

/// How to consume a ring.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ring.
    pub ring: RingPath,
    /// The folder for the run's files.
    pub out: PathBuf,
    /// The key to trust; needed unless nobody verifies.
    pub key: Option<TrustedKey>,
    /// Who verifies.
    pub verifier: VerifierChoice,
    /// In how many threads; 1 is the thread that reads and writes.
    pub verify_threads: usize,
    /// How signatures are written.
    pub encoding: Encoding,
    /// Whether signatures are written at all.
    pub has_journal: bool,
    /// How to wait for the signer.
    pub wait: WaitStrategy,
    /// How long a record may be pending without anything moving.
    pub stall_after: Duration,
}

/// Verifies what the signer wrote, in sequence, and records latencies.
///
/// Writes signatures.ndjson (a line for each message), summary.json, and HdrHistogram files: a percentile
/// distribution for each stage (queue.hgrm, sign.hgrm, verify.hgrm, end_to_end.hgrm; µs) and latency.hlog
/// (an interval log; ms). Ends when the ring is closed and empty.
///
/// A consumer that was killed or stopped goes on when it is started again with the same ring and folder: each record
/// is in the files exactly once. A folder belongs to its ring from the start (checkpoint.json says to which).
#[derive(Parser)]
#[command(name = "consumer", version = VERSION, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Exit codes: 0 all verified; 1 a record failed or did not verify, or interrupted; \
    2 bad arguments; 3 environment.\n\n\
    Example: consumer --ring /dev/shm/mine/ring --out results --public-key 02ab…")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    consume: Option<Consume>,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Print the runs in these folders side by side: signing and verifying, µs a message, ratio to native
    Compare {
        /// Folders of earlier runs
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct Consume {
    /// The ring: a path, or shm:NAME
    #[arg(long)]
    ring: RingPath,

    /// Folder for the results: a new one, or this ring's own, to go on in
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The key to trust: 66 hexadecimal digits (SEC1, compressed), or a file that holds them
    #[arg(long, value_name = "HEX|FILE")]
    public_key: Option<String>,

    /// Who verifies: secp256k1, k256, a runtime's extension (native, wasmtime, wasmi, wasm3), or none (measurements only)
    #[arg(long, value_name = "NAME", default_value_t)]
    verifier: VerifierChoice,

    /// Threads that verify
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    verify_threads: u64,

    /// How signatures are written: hex, base64 or der (BIP340 signatures have no DER form and stay hex)
    #[arg(long, default_value_t)]
    encoding: Encoding,

    /// ndjson, or none (measurements only; there is nothing to go on from, so the folder must hold no earlier run)
    #[arg(long, default_value = "ndjson", value_parser = ["ndjson", "none"])]
    output: String,

    /// How to wait for the signer: spin, yield, block or adaptive
    #[arg(long, value_name = "STRATEGY", default_value_t)]
    wait: WaitStrategy,

    /// Seconds that something may be pending in the ring without anything moving; then exit code 3. 0: for ever
    #[arg(long, value_name = "SECONDS", default_value = STALL_SECONDS, value_parser = parse_stall_after)]
    stall: Duration,
}

impl Command {
    /// What the process was started with.
    ///
    /// # Errors
    /// Bad arguments, or a public key that is none.
    pub fn from_command_line() -> Result<Self, Failure> {
        let arguments = cli::parse::<Arguments>()?;
        match (arguments.command, arguments.consume) {
            (Some(Subcommands::Compare { folders }), _) => Ok(Self::Compare(folders)),
            (None, Some(consume)) => Ok(Self::Consume(consume.check()?)),
            (None, None) => Err(Failure::bad_input("--ring and --out are needed; see --help")),
        }
    }
}

impl Consume {
    fn check(self) -> Result<Options, Failure> {
        let key = self.public_key.as_deref().map(TrustedKey::from_argument).transpose()?;
        Ok(Options {
            ring: self.ring,
            out: self.out,
            key,
            verifier: self.verifier,
            verify_threads: self.verify_threads as usize,
            encoding: self.encoding,
            has_journal: self.output == "ndjson",
            wait: self.wait,
            stall_after: self.stall,
        })
    }
}
