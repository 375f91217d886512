//! What Ringseal's binaries say alike: command lines, exit codes, one-line errors, messages and progress, signing methods and
//! statuses, Ctrl-C.
//!
//! A `main` is `cli::finish("program", cli::parse().and_then(run))`: [`parse`] answers `--help`, `--version` and `--generate`, and
//! [`finish`] turns a [`Failure`] into one line and an exit code.
//!
//! ```
//! # use ringseal_cli as cli;
//! use clap::Parser;
//! use cli::{Exit, MethodChoice};
//!
//! #[derive(Parser, Debug)]
//! struct Arguments {
//!     /// How to sign
//!     #[arg(long, value_parser = cli::one_of::<MethodChoice>(["ecdsa", "schnorr"]))]
//!     method: MethodChoice,
//! }
//!
//! let parsed: Arguments = cli::parse_from(["program", "--method", "schnorr"])?;
//! assert_eq!(parsed.method.to_string(), "schnorr");
//! let refused = cli::parse_from::<Arguments>(["program", "--method", "schnor"]).unwrap_err();
//! assert_eq!(refused.exit, Exit::BadInput);
//! assert!(refused.message.contains("legal are ecdsa, schnorr; tip:"));
//! # Ok::<(), cli::Failure>(())
//! ```

mod arguments;
pub mod figures;
mod generate;
pub mod log;
mod method;
mod placement;
pub mod progress;
mod status;
mod stop;

use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

pub use arguments::{examples, one_of, parse, parse_from};
pub use log::{LogFormat, LogOptions};
pub use method::{Method, MethodChoice};
pub use placement::{Cpus, Placement};
pub use progress::ProgressOptions;
pub use status::SignerStatus;
pub use stop::{pause_on_signal, stop_on_signals};

/// The runtimes' names: number `n` in a ring is the one at `n - 1`.
pub const RUNTIME_NAMES: [&str; 4] = ["native", "wasmtime", "wasmi", "wasm3"];

/// How a binary ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// 0: everything asked for was done.
    Done = 0,
    /// 1: it ran, but something failed, did not verify, or was interrupted.
    Failed = 1,
    /// 2: bad arguments or bad input.
    BadInput = 2,
    /// 3: the environment (no memory, no permission, peer or ring unusable).
    Environment = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a binary stops early: its exit code, and one line that says what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line, without the program's name and without a full stop.
    pub message: String,
}

impl Failure {
    /// Something ran and failed: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: one_line(message) }
    }

    /// Bad arguments or input: exit code 2.
    pub fn bad_input(message: impl fmt::Display) -> Self {
        Self { exit: Exit::BadInput, message: one_line(message) }
    }

    /// The environment doesn't let us: exit code 3.
    pub fn environment(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Environment, message: one_line(message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Messages of libraries may span lines; ours never do.
fn one_line(message: impl fmt::Display) -> String {
    let text = message.to_string();
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Ends `main`: prints a failure on standard error, as `program: message` or as its log is written, and turns it into an exit
/// code.
pub fn finish(program: &str, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            log::last_word(program, failure.exit as u8, &failure.message);
            failure.exit.into()
        }
    }
}

/// Writes `text` to standard output. A reader that went away (`| head`) is no error.
///
/// # Errors
/// Any other failure to write, as [`Exit::Environment`].
pub fn print(text: &str) -> Result<(), Failure> {
    print_more(text).map(drop)
}

/// As [`print()`], for who has more to write: `Break` once the reader has gone away.
///
/// # Errors
/// As [`print()`].
pub fn print_more(text: &str) -> Result<ControlFlow<()>, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::environment(format_args!("standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_a_library_said() {
        let failure = Failure::bad_input("first\n  second\n\n third");
        assert_eq!(failure.to_string(), "first; second; third");
    }

    #[test]
    fn a_worse_exit_is_greater() {
        assert!(
            Exit::Done < Exit::Failed && Exit::Failed < Exit::BadInput && Exit::BadInput < Exit::Environment
        );
    }
}
