//! Campaigns against the real programs: what `./test.sh crash`, `pause`, `hostile`, … run.
//!
//! Each prints its seed, and ends with one line of verdict.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{Exit, Failure};

/// Runs one campaign against the programs in a folder.
#[derive(Parser)]
#[command(name = "campaign", version)]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {}

fn main() -> ExitCode {
    cli::finish("campaign", cli::parse::<Arguments>().and_then(run))
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.campaign {}
}
