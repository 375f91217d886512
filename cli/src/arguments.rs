//! Command lines: clap's parsing, our one line when it fails, and what every program's command line has.

use std::ffi::OsString;
use std::fmt::Display;
use std::process;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{Error, ErrorKind};
use clap::{Command, CommandFactory, Parser};

use crate::{Exit, Failure, finish, generate};

/// Columns that help takes at most: text as wide as a screen can't be read.
const COLUMNS_MAX: usize = 80;

/// The arguments that the process was started with. Prints help, version or what `--generate` names, and ends the process, if
/// that is what was asked for.
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
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let command = command::<A>();
    if let Some(artefact) = generate::asked_for(&arguments) {
        let name = command.get_name().to_owned();
        let printed = generate::text(artefact, command).and_then(|text| crate::print(&text));
        end(&name, printed);
    }
    let parsed = command.try_get_matches_from(&arguments).and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            end(A::command().get_name(), print_rendered(&error))
        }
        _ => refusal(A::command().arg(generate::flag()), &arguments, &error),
    })
}

/// The command line of a program: its own, and what every program has.
fn command<A: CommandFactory>() -> Command {
    // `-1` is a value that is refused in the words of its flag, and no unknown flag.
    let command = A::command().mut_args(|argument| argument.allow_negative_numbers(true));
    command.max_term_width(COLUMNS_MAX).arg(generate::flag())
}

/// Prints help or version: in colour on a terminal alone.
fn print_rendered(error: &Error) -> Result<(), Failure> {
    match error.print() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format_args!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Ends the process, which had nothing to do but to print.
fn end(program: &str, printed: Result<(), Failure>) -> ! {
    let code = match printed {
        Ok(()) => Exit::Done,
        Err(failure) => {
            let exit = failure.exit;
            finish(program, Err(failure));
            exit
        }
    };
    process::exit(code as i32)
}

/// A parser for a flag with few legal values, which help, completions and refusals then list. A value's other names are
/// legal too, and not listed.
pub fn one_of<T>(
    values: impl IntoIterator<Item = impl Into<PossibleValue>>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(values).try_map(|value| value.parse::<T>().map_err(|error| error.to_string()))
}

/// The commands among the examples of a program's help and of its subcommands', as words: for its tests. They stand on lines of
/// their own, indented by four and gone on with behind a backslash, and the program is what comes behind the last `|`.
pub fn examples<A: CommandFactory>() -> Vec<Vec<String>> {
    let command = A::command();
    let of_ours = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let words: Vec<_> = line.rsplit("| ").next()?.split_whitespace().map(str::to_owned).collect();
        (words.first()? == command.get_name()).then_some(words)
    };
    help_texts(&command).replace("\\\n", " ").lines().filter_map(of_ours).collect()
}

/// What stands behind the long help of `command` and of each of its subcommands.
fn help_texts(command: &Command) -> String {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    command.get_subcommands().fold(text, |text, subcommand| text + "\n" + &help_texts(subcommand))
}

/// What clap has to say, without its usage, and with the flags that there are if one was unknown and resembles none.
fn refusal(mut command: Command, arguments: &[OsString], error: &Error) -> Failure {
    if let ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand = error.kind() {
        command.build();
        let commands = meant(&command, arguments).get_subcommands().filter(|command| !command.is_hide_set());
        let commands: Vec<_> = commands.map(Command::get_name).collect();
        return Failure::bad_input(format_args!(
            "a command is missing: one of {}\nsee --help",
            commands.join(", ")
        ));
    }
    let text = error.render().to_string();
    let end = ["\n\nUsage:", "\n\nFor more"].iter().filter_map(|mark| text.find(mark)).min();
    // clap lists what is missing on lines of their own, behind a colon.
    let reason = text[..end.unwrap_or(text.len())].trim_start_matches("error: ").replace(":\n ", ":");
    let reason = match reason.split_once("\n  [possible values: ") {
        Some((wrong, legal)) => format!("{wrong}: legal are {}", legal.replacen(']', "", 1)),
        None => reason,
    };
    // The standard library's words for what is no number.
    let reason = reason.replace("invalid digit found in string", "a whole number is expected");
    if error.kind() != ErrorKind::UnknownArgument || reason.contains("tip: ") {
        return Failure::bad_input(format_args!("{reason}\nsee --help"));
    }
    command.build();
    let command = meant(&command, arguments);
    let flags: Vec<_> =
        command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    if flags.is_empty() {
        return Failure::bad_input(format_args!("{reason}\nsee --help"));
    }
    Failure::bad_input(format_args!("{reason}\nthe flags are {}", flags.join(", ")))
}

/// The subcommand that `arguments` name.
fn meant<'a>(command: &'a Command, arguments: &[OsString]) -> &'a Command {
    arguments.iter().skip(1).fold(command, |command, word| {
        word.to_str().and_then(|word| command.find_subcommand(word)).unwrap_or(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Arguments {
        #[arg(long)]
        #[allow(dead_code, reason = "only whether it parses is of interest")]
        ring: String,
        #[arg(long, value_parser = ["fast"])]
        #[allow(dead_code, reason = "as above")]
        mode: Option<String>,
        #[arg(long)]
        #[allow(dead_code, reason = "as above")]
        size: Option<u32>,
        #[command(subcommand)]
        #[allow(dead_code, reason = "as above")]
        below: Option<Below>,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Below {
        Below {
            #[arg(long)]
            #[allow(dead_code, reason = "as above")]
            depth: Option<u8>,
            #[command(subcommand)]
            #[allow(dead_code, reason = "as above")]
            deeper: Option<Deeper>,
        },
    }

    #[derive(clap::Subcommand, Debug)]
    enum Deeper {
        #[command(subcommand)]
        Deeper(Deepest),
    }

    #[derive(clap::Subcommand, Debug)]
    enum Deepest {
        Deepest,
    }

    #[test]
    fn a_wrong_command_line_gets_one_line_that_names_the_legal_ones() {
        let refusal = |arguments: &[&str]| parse_from::<Arguments>(arguments).unwrap_err().message;
        assert_eq!(refusal(&["x", "--rong", "r"]).lines().count(), 1);
        assert!(
            refusal(&["x", "--frob"]).contains("'--frob'")
                && refusal(&["x", "--frob"]).contains("are --ring")
        );
        assert!(refusal(&["x", "--ring", "r", "--size", "-1"]).contains("'-1' for '--size <SIZE>'"));
        assert!(refusal(&["x", "below", "deeper"]).contains("a command is missing: one of deepest, help"));
        assert!(refusal(&["x", "--rin", "r"]).contains("'--ring'; see --help"));
        assert!(
            refusal(&["x", "--ring", "r", "--mode", "slow"]).contains("'--mode <MODE>': legal are fast; see")
        );
        assert!(refusal(&["x", "--ring", "r", "--mode", "fas"]).contains("legal are fast; tip:"));
        assert!(refusal(&["x", "below", "--frob"]).ends_with("the flags are --depth, --help"));
        assert!(refusal(&["x"]).contains("not provided: --ring <RING>; see"));
        assert!(parse_from::<Arguments>(["x", "--ring", "r"]).is_ok());
    }
}
