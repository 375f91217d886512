//! `producer`: writes messages into the ring.

use std::process::ExitCode;

use cli::{Exit, Failure};
use producer::Options;
use shmem_layout::Waiting;

fn main() -> ExitCode {
    cli::finish("producer", start())
}

fn start() -> Result<Exit, Failure> {
    let options = Options::from_command_line()?;
    cli::log::start("producer", &options.log);
    shmem_layout::word_faults(cli::log::prepared);
    let stop = cli::stop_on_signals()
        .map_err(|error| Failure::environment(format_args!("can't catch Ctrl-C: {error}")))?;
    let summary =
        producer::run(&options, &Waiting { strategy: options.wait, stop, stall_after: options.stall_after })?;
    if let Some(note) = summary.note() {
        tracing::warn!(sent = summary.sent, skipped = summary.skipped, "{note}");
    }
    Ok(Exit::Done)
}
