//! Command lines: clap's parsing, our one line when it fails.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{Error, ErrorKind};

use crate::Failure;

/// The arguments that the process was started with. Prints help or version and ends the process if that is what was
/// asked for.
///
/// # Errors
/// Arguments that are unknown, malformed, missing or contradictory: [`Exit::BadInput`](crate::Exit::BadInput).
pub fn parse<A: Parser>() -> Result<A, Failure> {
    parse_from(std::env::args_os())
}

/// As [`parse`], from `arguments`, of which the first is the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<A: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<A, Failure> {
    A::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => refusal::<A>(&error),
    })
}

/// What clap has to say, without its usage, and with the flags that there are if one was unknown.
fn refusal<A: Parser>(error: &Error) -> Failure {
    let text = error.render().to_string();
    let end = ["\n\nUsage:", "\n\nFor more"].iter().filter_map(|mark| text.find(mark)).min();
    // clap lists what is missing on lines of their own, behind a colon.
    let reason = text[..end.unwrap_or(text.len())].trim_start_matches("error: ").replace(":\n ", ":");
    if error.kind() != ErrorKind::UnknownArgument {
        return Failure::bad_input(format_args!("{reason}\nsee --help"));
    }
    let command = A::command();
    let flags: Vec<_> =
        command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    if flags.is_empty() {
        return Failure::bad_input(format_args!("{reason}\nsee --help"));
    }
    Failure::bad_input(format_args!("{reason}\nthe flags are {}", flags.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Arguments {
        #[arg(long)]
        #[allow(dead_code, reason = "only whether it parses is of interest")]
        ring: String,
    }

    #[test]
    fn a_wrong_command_line_gets_one_line_that_names_the_legal_ones() {
        let refusal = |arguments: &[&str]| parse_from::<Arguments>(arguments).unwrap_err().message;
        assert_eq!(refusal(&["x", "--rong", "r"]).lines().count(), 1);
        assert!(
            refusal(&["x", "--frob"]).contains("'--frob'")
                && refusal(&["x", "--frob"]).contains("are --ring")
        );
        assert!(refusal(&["x"]).contains("not provided: --ring <RING>; see"));
        assert!(parse_from::<Arguments>(["x", "--ring", "r"]).is_ok());
    }
}
