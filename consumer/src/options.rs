//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use cli::{Failure, LogOptions, Placement};
use shmem_layout::{RingPath, STALL_SECONDS, VERSION, WaitStrategy, parse_stall_after};

use crate::encoding::Encoding;
use crate::report::{PlotFormat, ReportOptions};
use crate::trusted_key::TrustedKey;
use crate::verify::VerifierChoice;

/// Threads that verify, at most.
const THREADS_MAX: u64 = 64;

/// Keys to trust, at most: a wrong signature costs a verification under each.
const KEYS_MAX: usize = 8;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Consume a ring to its end.
    Consume(Options),
    /// Compare the runs in these folders.
    Compare(Vec<PathBuf>),
    /// Make a page about runs.
    Report(ReportOptions),
}

/// How to consume a ring.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ring.
    pub ring: RingPath,
    /// The folder for the run's files.
    pub out: PathBuf,
    /// The keys to trust; one is needed unless nobody verifies.
    pub keys: Vec<TrustedKey>,
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
    /// Where it runs.
    pub placement: Placement,
    /// What it shows of how far it is.
    pub progress: ProgressOptions,
    /// What it says.
    pub log: LogOptions,
}

/// What the consumer shows of how far it is.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressOptions {
    /// What to show on a terminal, while it runs
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        default_value_t,
        help_heading = "Messages on standard error"
    )]
    pub progress: Progress,
    /// Messages that are expected in all: tells how much time is left
    #[arg(long, value_name = "COUNT", help_heading = "Messages on standard error")]
    pub expect: Option<u64>,
}

/// Whose progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// The consumer's own, while it is in the terminal's foreground
    #[default]
    Auto,
    /// A line for each role, from the ring; others' messages, if standard input is a pipe with them, are printed above
    All,
    /// None
    None,
}

const EXAMPLES: &str = "\
Examples:
  Trust the key in key.pub, and write what a run leaves into the folder results:
    consumer --ring /dev/shm/mine/ring --out results --public-key key.pub
  Two keys, as while they are rotated, and two threads:
    consumer --ring /dev/shm/mine/ring --out results \\
      --public-key old.pub --public-key new.pub --verify-threads 2
  Earlier runs, side by side:
    consumer compare native wasmtime

Exit codes:
  0  all verified
  1  a record failed or did not verify, or interrupted
  2  bad arguments or input
  3  environment: no usable ring or folder, or nothing moves in the ring";

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
#[command(after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    consume: Option<Consume>,
    // Not one of those: clap takes a group with a group in it for one that wasn't given.
    #[command(flatten)]
    placement: Placement,
    #[command(flatten)]
    progress: ProgressOptions,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Print earlier runs side by side: signing and verifying, µs a message, ratio to native
    Compare {
        /// Folders of earlier runs
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
    },
    /// Make a page with pictures about the run in a folder, or about several side by side, and print where it is
    Report {
        /// Folders of earlier runs
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,

        /// The page [default: report.html, in DIR if there is one, and here if there are several]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,

        /// Each picture as a file beside the page, too: svg or png
        #[arg(long, value_name = "FORMAT", value_parser = plots())]
        plots: Option<PlotFormat>,
    },
}

#[derive(Args)]
struct Consume {
    /// The ring: a file, or shm:NAME
    ///
    /// A file lies in a folder of yours with mode 700; shm:NAME is a POSIX shared memory segment. `ringctl create` makes either
    #[arg(long, help_heading = "Ring")]
    ring: RingPath,

    /// Folder for the results: a new one, or this ring's own, to go on in
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// A public key to trust: 66 hexadecimal digits, or a file that holds them; up to 8, each with its flag
    ///
    /// It is what `signer public-key` prints: compressed SEC1. A signature by any of the keys is good, as while they are rotated
    #[arg(long = "public-key", value_name = "HEX|FILE", help_heading = "Verification")]
    public_keys: Vec<String>,

    /// Who verifies: a library (secp256k1, k256), an extension on a runtime, or none, for measurements only
    ///
    /// libsecp256k1 takes half the time of the others, and shares no code with what signs
    #[arg(long, value_name = "NAME", default_value_t, help_heading = "Verification", value_parser = cli::one_of::<VerifierChoice>(VerifierChoice::NAMES))]
    verifier: VerifierChoice,

    /// Threads that verify, 1 to 64
    #[arg(long, value_name = "COUNT", help_heading = "Verification", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    verify_threads: u64,

    /// How signatures are written: hex, base64 or der
    ///
    /// Schnorr signatures have no DER form and stay hex
    #[arg(long, value_name = "FORM", default_value_t, help_heading = "Output", value_parser = cli::one_of::<Encoding>(Encoding::ALL.map(Encoding::name)))]
    encoding: Encoding,

    /// Whether signatures are written: ndjson, a line each, or none, for measurements only
    ///
    /// With none there is nothing to go on from after a restart, so the folder must hold no earlier run
    #[arg(long, value_name = "WHAT", default_value = "ndjson", value_parser = ["ndjson", "none"], help_heading = "Output")]
    output: String,

    /// How to wait for the other roles: `block` sleeps, `spin` and `yield` never do, `adaptive` learns
    ///
    /// `adaptive` spins where records come within 8 µs of each other, goes on without sleep up to 130 µs, and sleeps where they
    /// come more seldom.
    /// `spin` and `yield` take a processor each for as long as the role runs
    #[arg(long, value_name = "STRATEGY", default_value_t, value_parser = cli::one_of::<WaitStrategy>(WaitStrategy::ALL.map(WaitStrategy::name)))]
    #[arg(help_heading = "Ring")]
    wait: WaitStrategy,

    /// Seconds in which something is pending in the ring and nothing moves, before giving up with exit code 3; 0: never
    #[arg(long, value_name = "SECONDS", help_heading = "Ring", default_value = STALL_SECONDS, value_parser = parse_stall_after)]
    stall: Duration,
}

impl Command {
    /// What the process was started with.
    ///
    /// # Errors
    /// Bad arguments, or a public key that is none.
    pub fn from_command_line() -> Result<Self, Failure> {
        let arguments = cli::parse::<Arguments>()?;
        let Arguments { command, consume, placement, progress, log } = arguments;
        match (command, consume) {
            (Some(Subcommands::Compare { folders }), _) => Ok(Self::Compare(folders)),
            (Some(Subcommands::Report { folders, to, plots }), _) => {
                Ok(Self::Report(ReportOptions { folders, to, plots }))
            }
            (None, Some(consume)) => {
                Ok(Self::Consume(Options { placement, progress, log, ..consume.check()? }))
            }
            (None, None) => Err(Failure::bad_input("--ring and --out are needed; see --help")),
        }
    }
}

fn plots() -> impl TypedValueParser<Value = PlotFormat> {
    PossibleValuesParser::new(["svg", "png"])
        .map(|name| if name == "png" { PlotFormat::Png } else { PlotFormat::Svg })
}

/// The keys of all `arguments`, each of them once.
fn trusted_keys(arguments: &[String]) -> Result<Vec<TrustedKey>, Failure> {
    let mut keys = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let key = TrustedKey::from_argument(argument)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.len() > KEYS_MAX {
        return Err(Failure::bad_input(format_args!(
            "--public-key was given {} keys; at most {KEYS_MAX} are trusted at once",
            keys.len()
        )));
    }
    Ok(keys)
}

impl Consume {
    fn check(self) -> Result<Options, Failure> {
        let keys = trusted_keys(&self.public_keys)?;
        Ok(Options {
            ring: self.ring,
            out: self.out,
            keys,
            verifier: self.verifier,
            verify_threads: self.verify_threads as usize,
            encoding: self.encoding,
            has_journal: self.output == "ndjson",
            wait: self.wait,
            stall_after: self.stall,
            placement: Placement::default(),
            progress: ProgressOptions::default(),
            log: LogOptions::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public keys of the numbers 1 to 9.
    const KEYS: [&str; 9] = [
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        "02e493dbf1c10d80f3581e4904930b1404cc6c13900ee0758474fa94abe8c4cd13",
        "022f8bde4d1a07209355b4a7250a5c5128e88b84bddc619ab7cba8d569b240efe4",
        "03fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556",
        "025cbdf0646e5db4eaa398f365f2ea7a0e3d419b7e0330e39ce92bddedcac4f9bc",
        "022f01e5e15cca351daff3843fb70f3c2f0a1bdd05e5af888a67784ef3e10a2a01",
        "03acd484e2f0c7f65309ad178a9f559abde09796974c57e714c35f110dfc27ccbe",
    ];

    fn trusted(arguments: &[&str]) -> Result<Vec<String>, Failure> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(trusted_keys(&arguments)?.iter().map(|key| hex::encode(key.compressed())).collect())
    }

    #[test]
    fn the_helps_examples_are_accepted() {
        let examples = cli::examples::<Arguments>();
        assert_eq!(examples.len(), 3);
        for example in examples {
            cli::parse_from::<Arguments>(&example).map_err(|failure| (example, failure)).unwrap();
        }
    }

    #[test]
    fn up_to_eight_keys_are_trusted_in_the_order_in_which_they_were_given() {
        assert_eq!(trusted(&[]).unwrap(), [""; 0]);
        assert_eq!(trusted(&KEYS[..8]).unwrap(), KEYS[..8]);
        assert_eq!(trusted(&[KEYS[1], KEYS[0], KEYS[1]]).unwrap(), [KEYS[1], KEYS[0]], "each counts once");
        let failure = trusted(&KEYS).unwrap_err();
        assert!(failure.exit == cli::Exit::BadInput && failure.message.contains("at most 8"), "{failure}");
        let failure = trusted(&[KEYS[0], "no/such/file"]).unwrap_err();
        assert!(failure.message.contains("no/such/file"), "{failure}");
    }
}
