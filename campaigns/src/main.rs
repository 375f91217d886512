//! Campaigns against the real programs: what `./test.sh crash`, `pause`, `hostile`, … run.
//!
//! Each prints its seed, and ends with one line of verdict. With the same seed it has the same plan; when which process
//! runs is the kernel's to say, so that a failure need not come again.

mod attach;
mod batch;
mod cache;
mod crash;
mod gallery;
mod hostile;
mod keyscan;
mod malformed;
mod mutator;
mod pause;
mod poison;
mod sigbus;
mod steps;
mod support;
mod swap;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{Exit, Failure};

/// Runs one campaign against the programs in a folder.
#[derive(Parser)]
#[command(
    name = "campaign",
    version,
    after_help = "Exit codes: 0 all well; 1 the programs failed; 2 bad arguments; 3 environment."
)]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// The message is read once: signatures while another process flips a bit of the message
    Hostile(hostile::HostileOptions),
    /// A ring that somebody writes into costs messages at most: rounds of the three programs and a mutator
    Mutate(mutator::MutateOptions),
    /// Who starts when somebody is there already, or nobody is left
    Attach(attach::AttachOptions),
    #[command(hide = true)]
    Starter(attach::starter::StarterOptions),
    #[command(hide = true)]
    Flipper(hostile::flipper::FlipperOptions),
    #[command(hide = true)]
    DoubleReader(hostile::double_reader::DoubleReaderOptions),
    #[command(hide = true)]
    Mutator(mutator::writes::MutatorOptions),
    /// SIGKILL at every step of every transition
    Steps(steps::Options),
    /// Random SIGKILL of each role under load
    Crash(crash::Options),
    /// SIGSTOP of each role for up to half a minute under load
    Pause(pause::Options),
    /// Signatures made in batches are those that k256 makes one by one
    Batch(batch::Options),
    /// Files of compiled modules that were changed, cut, exchanged; a crowd of processes at one cache
    Cache(cache::Options),
    #[command(hide = true)]
    CacheMember(cache::MemberOptions),
    /// Records that kill whoever signs them
    Poison(poison::Options),
    /// A ring that is cut or punched under running processes
    Sigbus(sigbus::Options),
    /// Hostile modules, on every runtime
    Gallery(gallery::Options),
    /// Modules are swapped under load, and somebody is killed meanwhile
    Swap(swap::Options),
    /// The key, in every form, wherever it must not be
    Keyscan(keyscan::Options),
    /// Malformed, invalid and damaged modules
    Malformed(malformed::Options),
    /// Where mutants meet a runtime
    #[command(hide = true)]
    MalformedChild(malformed::ChildOptions),
    /// The signer of `poison`
    #[command(hide = true)]
    DoomedSigner(poison::DoomedOptions),
}

fn main() -> ExitCode {
    cli::finish("campaign", cli::parse::<Arguments>().and_then(run))
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.campaign {
        Campaign::Hostile(options) => hostile::run(&options),
        Campaign::Mutate(options) => mutator::run(&options),
        Campaign::Attach(options) => attach::run(&options),
        Campaign::Starter(options) => attach::starter::run(&options),
        Campaign::Flipper(options) => hostile::flipper::run(&options),
        Campaign::DoubleReader(options) => hostile::double_reader::run(&options),
        Campaign::Mutator(options) => mutator::writes::run(&options),
        Campaign::Steps(options) => steps::run(&options),
        Campaign::Crash(options) => crash::run(&options),
        Campaign::Pause(options) => pause::run(&options),
        Campaign::Batch(options) => batch::run(&options),
        Campaign::Cache(options) => cache::run(&options),
        Campaign::CacheMember(options) => cache::run_member(&options),
        Campaign::Poison(options) => poison::run(&options),
        Campaign::Keyscan(options) => keyscan::run(&options),
        Campaign::Malformed(options) => malformed::run(&options),
        Campaign::MalformedChild(options) => malformed::run_child(&options),
        Campaign::DoomedSigner(options) => poison::run_doomed(&options),
        Campaign::Gallery(options) => gallery::run(&options),
        Campaign::Swap(options) => swap::run(&options),
        Campaign::Sigbus(options) => sigbus::run(&options),
    }
}
