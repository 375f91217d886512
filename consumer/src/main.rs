//! `consumer`: verifies what the signer wrote and records latencies.

use std::process::ExitCode;

use cli::{Exit, Failure};
use consumer::compare;
use consumer::options::Command;
use consumer::pipeline;
use consumer::report;
use shmem_layout::Waiting;

fn main() -> ExitCode {
    cli::finish("consumer", Command::from_command_line().and_then(run))
}

fn run(command: Command) -> Result<Exit, Failure> {
    let options = match command {
        Command::Compare(folders) => {
            cli::print(&compare::of_runs(&folders)?)?;
            return Ok(Exit::Done);
        }
        Command::Report(options) => {
            let page = report::write(&options)?;
            cli::print(&format!("{}\n", page.display()))?;
            return Ok(Exit::Done);
        }
        Command::Consume(options) => options,
    };
    cli::log::start("consumer", &options.log);
    shmem_layout::word_faults(cli::log::prepared);
    let stop = cli::stop_on_signals()
        .map_err(|error| Failure::environment(format_args!("can't catch Ctrl-C: {error}")))?;
    let outcome =
        pipeline::run(&options, &Waiting { strategy: options.wait, stop, stall_after: options.stall_after })?;
    cli::print(&outcome.table)?;
    if outcome.is_interrupted {
        let done = outcome.summary.counts.records;
        return Err(Failure::failed(format_args!("interrupted after {done} messages; the files hold these")));
    }
    Ok(outcome.summary.exit())
}
