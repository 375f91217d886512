//! The signer: a supervisor, and worker processes that sign the records of a ring in place.
//!
//! The supervisor reads the key, starts the workers by executing itself again, hands each of them the key over a
//! socket, and starts those again that die. It never maps the ring. A worker signs in one thread: it claims a batch of
//! records, copies each message once from the ring into private memory, runs the batch through an extension, and
//! answers each record in place.
//!
//! # Changes
//! What signs a method may change while it signs: see `supervisor/change.rs` for swaps, keys and limits, `prepare.rs` and
//! `known_answers.rs` for what a module has to pass first, `installer.rs` for a worker's second thread, which makes it
//! ready, `store.rs` for what is remembered, and `control.rs` for how an operator asks.
//!
//! Each record carries what signed it: the first eight bytes of the module's SHA-256, the runtime, and the *generation*,
//! the last swap that its worker knew of. Generations count the swaps of one control directory from 1; those of a worker
//! never go back, and a worker that is started knows of every swap that was committed.
//!
//! # Statuses
//! An answered record carries a status. 0 is a signature. Positive numbers are the extension's own
//! ([`extension_engine::Status`]); negative ones are the signer's:
//!
//! | status | meaning |
//! |---|---|
//! | [`status::NO_ENGINE`], −1 | the record asks for a method that this signer doesn't know |
//! | [`status::ENGINE_FAILED`], −2 | the extension trapped on this record alone, or refused it |
//! | [`status::BAD_ANSWER`], −3 | the extension answered what no extension may |
//! | [`status::NOT_VERIFIED`], −4 | the signature was held back: `--verify-before-release` found it wrong |
//! | [`status::DEADLINE`], −5 | the extension was interrupted: it took more CPU time over this record than it may |
//! | [`status::OUT_OF_MEMORY`], −6 | the extension had no memory for this record |
//!
//! A record whose extension can't be interrupted takes its worker along, and is tried again, up to the ring's attempts.
//!
//! # Times
//! `claimed_ns` is read once for each claimed batch and `signed_ns` once for each run of an extension, so that the
//! records of one batch share them.
//!
//! # Example
//! ```
//! use std::ffi::OsString;
//!
//! use signer::KeySource;
//!
//! // A key is named by a file or an open descriptor; it never stands in an argument itself.
//! assert!(matches!(KeySource::from(OsString::from("key.pem")), KeySource::File(_)));
//! assert!(matches!(KeySource::from(OsString::from("fd:3")), KeySource::Descriptor(3)));
//! ```

mod assignment;
mod cache_command;
mod control;
mod ctl;
mod descriptors;
mod engines;
mod inbox;
mod installer;
mod key;
mod keygen;
mod kin;
mod known_answers;
mod limits;
mod manner;
mod memory_lock;
mod metrics;
mod options;
mod orders;
mod overdue;
mod pace;
mod prepare;
mod ration;
mod release_check;
mod report;
mod stats;
pub mod status;
mod store;
mod supervisor;
mod worker;

use std::io;

use cli::{Exit, Failure, LogOptions};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

pub use cache_command::{CacheArguments, CacheCommand};
pub use ctl::CtlOptions;
pub use key::{KeyError, KeySource};
pub use metrics::Address as MetricsAddress;
pub use options::{Options, SupervisorOptions, WorkOptions, WorkerOptions};
pub use prepare::PrepareOptions;

/// What messages begin with.
const NAME: &str = "signer";

/// Does what the command line asked for.
///
/// # Errors
/// With an exit code and one line that says what went wrong, where, and what to do.
pub fn run(options: Options) -> Result<Exit, Failure> {
    match &options {
        Options::Supervise(options) => cli::log::start(NAME, &options.work.log),
        Options::Prepare(options) => cli::log::start(NAME, &options.log),
        // A worker lets its supervisor speak for it.
        Options::Work(_) => {}
        _ => cli::log::start(NAME, &LogOptions::default()),
    }
    // While we may still look at ourselves: it is forbidden next.
    extension_engine::prepare_process();
    forbid_core_dumps()
        .map_err(|error| Failure::environment(format_args!("can't forbid core dumps: {error}")))?;
    match options {
        Options::Supervise(options) => supervisor::run(&options),
        Options::Work(options) => worker::run(&options),
        Options::Prepare(options) => prepare::run(&options),
        Options::Cache(command) => cache_command::run(&command),
        Options::Keygen(path) => cli::print(&format!("{}\n", keygen::generate(&path)?)).map(|()| Exit::Done),
        Options::Ctl(options) => ctl::run(&options),
        Options::PublicKey(source) => {
            let public_key = keygen::public_key(&source.read()?.to_secret().map_err(Failure::bad_input)?);
            cli::print(&format!("{public_key}\n")).map(|()| Exit::Done)
        }
    }
}

/// Keeps the key out of core files, and other processes of this user from reading it out of our memory.
fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
