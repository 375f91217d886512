//! `signer`: signs the records of a ring in place.

use std::process::ExitCode;

use signer::{Options, run};

fn main() -> ExitCode {
    cli::finish("signer", Options::from_command_line().and_then(run))
}
