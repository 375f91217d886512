//! `--generate`: a program's man page and completions, out of what its parser knows.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::Failure;

const NAME: &str = "generate";

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Artefact {
    /// A man page with a section for each subcommand.
    Man,
    /// A script for a shell's completion.
    Completion(Shell),
}

impl ValueEnum for Artefact {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Man,
            Self::Completion(Shell::Bash),
            Self::Completion(Shell::Zsh),
            Self::Completion(Shell::Fish),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Man => "man",
            Self::Completion(Shell::Bash) => "complete-bash",
            Self::Completion(Shell::Zsh) => "complete-zsh",
            Self::Completion(Shell::Fish) => "complete-fish",
            Self::Completion(_) => return None,
        }))
    }
}

/// The flag, as help and completions show it, and as it is refused beside others.
pub(crate) fn flag() -> Arg {
    Arg::new(NAME)
        .long(NAME)
        .value_name("WHAT")
        .value_parser(clap::value_parser!(Artefact))
        .action(ArgAction::Set)
        .exclusive(true)
        .display_order(1000)
        .hide_short_help(true)
        .help("Print a man page, or completions for a shell, and end")
        .long_help(
            "Print a man page, or completions for a shell, and end\n\n\
             For this shell: `source <(PROGRAM --generate complete-bash)`",
        )
}

/// What `arguments` ask for, if it is this and nothing else: then nothing that is otherwise required is missing.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<Artefact> {
    let words: Vec<_> = arguments.iter().skip(1).map(OsString::as_os_str).map(OsStr::to_str).collect();
    let value = match words[..] {
        [Some("--generate"), Some(value)] => value,
        [Some(word)] => word.strip_prefix("--generate=")?,
        _ => return None,
    };
    Artefact::from_str(value, false).ok()
}

/// The text of `artefact` for the program `command`.
///
/// # Errors
/// None that is known of: memory takes what is written to it.
pub(crate) fn text(artefact: Artefact, command: Command) -> Result<String, Failure> {
    let mut out = Vec::new();
    let done = match artefact {
        Artefact::Man => man(command, &mut out),
        Artefact::Completion(shell) => {
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut visible(&command), name, &mut out);
            Ok(())
        }
    };
    let text = done.map(|()| String::from_utf8_lossy(&out).into_owned());
    text.map_err(|error| Failure::environment(format_args!("--generate: {error}")))
}

/// `command` as far as users know it: completions would offer hidden subcommands too.
fn visible(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(command.get_name().to_owned())
        .about(about)
        .disable_help_subcommand(true)
        .disable_version_flag(command.get_version().is_none())
        .version(command.get_version().unwrap_or_default().to_owned())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()))
        .subcommands(shown.map(visible))
}

/// One page: the program's own sections, then one for each subcommand.
fn man(command: Command, out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = with_values_in_words(command.disable_help_subcommand(true));
    command.build();
    let version = format!("Ringseal {}", command.get_version().unwrap_or_default());
    // clap_mangen leaves an empty date out, and what follows takes its place.
    let title = format!(".TH {} 1 \"\" \"{version}\" \"Ringseal\"\n", command.get_name().to_uppercase());
    out.write_all(title.as_bytes())?;
    // Left-aligned, and no word is cut: most of them are flags.
    out.write_all(b".ad l\n.nh\n")?;
    Man::new(command.clone()).render_name_section(out)?;
    sections(&mut command, out)?;
    subcommands(&command, out)
}

/// `command` with the legal values of its flags in their texts: lists of them would take a line for each.
fn with_values_in_words(command: Command) -> Command {
    let in_words = |argument: Arg| {
        let values = argument.get_possible_values();
        let names: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
        if names.is_empty() {
            return argument;
        }
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string);
        let help = format!("{}\n\nOne of {}", help.unwrap_or_default(), names.join(", "));
        argument.long_help(help).hide_possible_values(true)
    };
    command.mut_args(in_words).mut_subcommands(with_values_in_words)
}

fn subcommands(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let mut subcommand = subcommand.clone();
        let name = subcommand.get_bin_name().unwrap_or_default().to_uppercase();
        Roff::new().control("SH", [name.as_str()]).to_writer(out)?;
        let mut below = Vec::new();
        sections(&mut subcommand, &mut below)?;
        let below = String::from_utf8_lossy(&below).replace("\n.SH ", "\n.SS ");
        out.write_all(below.trim_start_matches('\n').as_bytes())?;
        subcommands(&subcommand, out)?;
    }
    Ok(())
}

/// Synopsis, description, options, and what stands behind them in the long help.
fn sections(command: &mut Command, out: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let usage: Vec<_> = usage.lines().map(|line| line.trim_start_matches("Usage:").trim()).collect();
    // A line of its own first, so that each section's title follows a newline: see `subcommands`.
    out.write_all(b"\n")?;
    verbatim("SYNOPSIS", &usage, out)?;
    let page = Man::new(command.clone());
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    for paragraph in after.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (title, text) = paragraph.split_once(':').unwrap_or(("Notes", paragraph));
        let lines: Vec<_> = text.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        verbatim(&title.to_uppercase(), &lines, out)?;
    }
    Ok(())
}

/// A section whose lines stay as they are.
fn verbatim(title: &str, lines: &[&str], out: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]).control("nf", []);
    for line in lines.iter().filter(|line| !line.is_empty()) {
        roff.text([roman(line.trim_end())]);
    }
    roff.control("fi", []);
    // What roff would set up for each piece is at the page's beginning already.
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_is_asked_for_beside_it() {
        let asked_for =
            |words: &[&str]| asked_for(&words.iter().map(OsString::from).collect::<Vec<OsString>>());
        assert_eq!(asked_for(&["x", "--generate", "man"]), Some(Artefact::Man));
        assert_eq!(asked_for(&["x", "--generate=complete-zsh"]), Some(Artefact::Completion(Shell::Zsh)));
        for words in [&["x"][..], &["x", "--generate"], &["x", "--generate", "pdf"], &["x", "--ring", "r"]] {
            assert_eq!(asked_for(words), None);
        }
    }

    #[test]
    fn what_is_hidden_is_not_completed() {
        let command = Command::new("x").version("1").subcommand(Command::new("shown")).arg(flag());
        let command = command.subcommand(Command::new("secret").hide(true));
        let script = text(Artefact::Completion(Shell::Bash), command.clone()).unwrap();
        assert!(script.contains("shown") && script.contains("--generate") && !script.contains("secret"));
        let page = text(Artefact::Man, command).unwrap();
        assert!(page.contains(".SH \"X SHOWN\"") && !page.contains("SECRET"), "{page}");
    }
}
