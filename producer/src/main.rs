//! `producer`: writes messages into the ring.

use std::io::{self, Write};
use std::process::ExitCode;

use cli::{Exit, Failure};
use producer::Options;
use shmem_layout::Waiting;

fn main() -> ExitCode {
    cli::finish("producer", start())
}

fn start() -> Result<Exit, Failure> {
    let options = Options::from_command_line()?;
    let stop = cli::stop_on_signals()
        .map_err(|error| Failure::environment(format_args!("can't catch Ctrl-C: {error}")))?;
    let summary =
        producer::run(&options, &Waiting { strategy: options.wait, stop, stall_after: options.stall_after })?;
    if let Some(note) = summary.note() {
        // Nothing is left to be done about a closed standard error.
        let _ = writeln!(io::stderr(), "producer: {note}");
    }
    Ok(Exit::Done)
}
