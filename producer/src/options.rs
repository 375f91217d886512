//! The command line, checked once.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use cli::{Failure, MethodChoice, Placement};
use shmem_layout::{
    MESSAGE_CAPACITY_MAX, RingPath, STALL_SECONDS, VERSION, WaitStrategy, WhenFull, parse_stall_after,
};

/// What a producer is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The ring to write into.
    pub ring: RingPath,
    /// The name to write under.
    pub source: String,
    /// How each message is to be signed.
    pub method: MethodChoice,
    /// What generated messages and random methods are drawn from.
    pub seed: u64,
    /// Positions of the source to stop before.
    pub messages: u64,
    /// Where messages come from.
    pub content: Content,
    /// Messages a second of an open loop; as fast as the ring takes them without.
    pub rate: Option<f64>,
    /// What a full ring does.
    pub when_full: WhenFull,
    /// Whether to close the ring at the end.
    pub close: bool,
    /// How to wait for the ring.
    pub wait: WaitStrategy,
    /// How long a full ring may go without moving.
    pub stall_after: Duration,
    /// Where it runs.
    pub placement: Placement,
    /// Where the summary goes.
    pub report: Option<PathBuf>,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Random bytes, so many.
    Generated(RangeInclusive<usize>),
    /// Lines.
    Input(InputOptions),
}

/// What lines are read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOptions {
    /// A file, or [`InputOptions::STDIN`].
    pub path: PathBuf,
    /// What a line holds.
    pub format: Format,
    /// Whether messages that are too long for the ring are left out and counted.
    pub skip_oversize: bool,
}

impl InputOptions {
    /// The path that means standard input.
    pub const STDIN: &str = "-";

    /// Whether to read standard input.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new(Self::STDIN)
    }
}

/// What a line of input holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The message itself: the bytes before the newline, a carriage return included
    #[default]
    Lines,
    /// The message's bytes as hex digits
    Hex,
}

const EXAMPLES: &str = "\
Examples:
  A steady load, each message timed from when it was due:
    producer --ring ring --messages 100000 --rate 5000 --close
  The lines of a file, gone on with if started again:
    producer --ring ring --source orders --input orders.txt
  Lines as they come:
    tail -f audit.log | producer --ring ring --input - --when-full fail

Exit codes: 0 done; 1 interrupted, or the ring was full; 2 bad arguments or input; 3 ring unusable.";

/// Writes messages into a ring, for a signer to sign.
///
/// The messages are generated, or are the lines of --input. A producer that is started again for the same source goes
/// on where it stopped.
#[derive(Parser)]
#[command(name = "producer", version = VERSION, after_help = EXAMPLES)]
struct Arguments {
    /// The ring: a path, or shm:NAME
    #[arg(long, help_heading = "Ring")]
    ring: RingPath,

    /// The name to write under: positions are kept for each, and one live producer writes for each
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Ring")]
    source: String,

    /// When every slot is taken: wait for the consumer, or fail with exit code 1
    #[arg(long, value_name = "ACTION", default_value = "wait", help_heading = "Ring", value_parser = when_full())]
    when_full: WhenFull,

    /// Close the ring at the end, also after bad input and on Ctrl-C (then only if it is not full): the last producer
    /// does this, and lets the others finish. Not when refused at the start
    #[arg(long, help_heading = "Ring")]
    close: bool,

    /// How to wait for the ring. With --rate, `block` sleeps until a message is due, which makes it up to 50 µs late;
    /// the others wake up earlier and poll
    #[arg(long, value_name = "STRATEGY", default_value = "adaptive", help_heading = "Ring", value_parser = wait())]
    wait: WaitStrategy,

    /// Seconds that the ring may be full without anything moving; then exit code 3. 0: for ever
    #[arg(long, value_name = "SECONDS", default_value = STALL_SECONDS, help_heading = "Ring", value_parser = parse_stall_after)]
    stall: Duration,

    /// ecdsa (1), schnorr (0), random (2: one of them, drawn for each message), or null (measurements only)
    #[arg(long, default_value = "ecdsa", help_heading = "Messages")]
    method: MethodChoice,

    /// Messages of the source in all, what was delivered before a restart included [default: 1024; all of --input]
    #[arg(long, value_name = "COUNT", help_heading = "Messages")]
    messages: Option<u64>,

    /// Messages a second, each timed from when it was due, however late it is read or sent [default: all the ring takes]
    #[arg(long, value_parser = rate, help_heading = "Messages")]
    rate: Option<f64>,

    /// Bytes of a generated message: a number, or MIN..MAX, both included, to draw from
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = sizes, conflicts_with = "input")]
    #[arg(help_heading = "Messages")]
    size: RangeInclusive<usize>,

    /// What generated messages and random methods are drawn from
    #[arg(long, default_value_t = 1, help_heading = "Messages")]
    seed: u64,

    /// Real messages instead, one a line: a file, or - for standard input, which can't be resumed. The last line needs
    /// no newline, and an empty line is an empty message
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    input: Option<PathBuf>,

    /// What a line holds
    #[arg(long, value_enum, default_value_t, requires = "input", help_heading = "Input")]
    format: Format,

    /// Count messages that are longer than the ring's may be and go on, instead of stopping there with exit code 2
    #[arg(long, requires = "input", help_heading = "Input")]
    skip_oversize: bool,

    /// Write a summary of what was asked for and sent, in JSON
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    report: Option<PathBuf>,

    #[command(flatten)]
    placement: Placement,
}

impl Options {
    /// The options that the process was started with. Prints the help and ends the process if that is asked for.
    ///
    /// # Errors
    /// Arguments that are unknown, malformed or contradictory.
    pub fn from_command_line() -> Result<Self, Failure> {
        cli::parse::<Arguments>().map(Self::from)
    }
}

impl From<Arguments> for Options {
    fn from(arguments: Arguments) -> Self {
        let Arguments {
            ring,
            source,
            method,
            seed,
            rate,
            when_full,
            close,
            wait,
            stall: stall_after,
            placement,
            report,
            ..
        } = arguments;
        let (content, all) = match arguments.input {
            None => (Content::Generated(arguments.size), 1024),
            Some(path) => {
                let Arguments { format, skip_oversize, .. } = arguments;
                (Content::Input(InputOptions { path, format, skip_oversize }), u64::MAX)
            }
        };
        let messages = arguments.messages.unwrap_or(all);
        Self {
            ring,
            source,
            method,
            seed,
            messages,
            content,
            rate,
            when_full,
            close,
            wait,
            stall_after,
            placement,
            report,
        }
    }
}

fn when_full() -> impl TypedValueParser<Value = WhenFull> {
    PossibleValuesParser::new(["wait", "fail"])
        .map(|action| if action == "fail" { WhenFull::Fail } else { WhenFull::Wait })
}

fn wait() -> impl TypedValueParser<Value = WaitStrategy> {
    PossibleValuesParser::new(WaitStrategy::ALL.map(WaitStrategy::name)).try_map(|name| name.parse())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
        _ => Err("not a number of messages a second above 0".into()),
    }
}

fn sizes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let size = |text: &str| text.parse().ok().filter(|size| *size <= MESSAGE_CAPACITY_MAX as usize);
    match (size(min), size(max)) {
        (Some(min), Some(max)) if min <= max => Ok(min..=max),
        _ => Err(format!("not BYTES or MIN..MAX, from 0 to {MESSAGE_CAPACITY_MAX} and in order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, String> {
        let arguments = ["producer", "--ring", "r"].into_iter().chain(arguments.split_whitespace());
        cli::parse_from::<Arguments>(arguments).map(Options::from).map_err(|failure| failure.message)
    }

    #[test]
    fn clap_finds_no_fault_in_the_flags() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_flags_the_defaults_hold() {
        let options = parse("").unwrap();
        assert_eq!((options.messages, options.seed, options.source.as_str()), (1024, 1, "default"));
        assert_eq!(options.content, Content::Generated(64..=64));
        assert_eq!(parse("--input f").unwrap().messages, u64::MAX);
        assert_eq!(parse("--input f --messages 5").unwrap().messages, 5);
    }

    #[test]
    fn flags_that_contradict_are_refused() {
        for arguments in
            ["--input f --size 64", "--format hex", "--format lines", "--skip-oversize", "--seed 1 --seed 2"]
        {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_the_legal_ones() {
        for (arguments, legal) in [
            ("--method 3", "schnorr (0)"),
            ("--wait sleep", "spin, yield, block, adaptive"),
            ("--when-full drop", "wait, fail"),
            ("--input f --format json", "lines, hex"),
            ("--rate 0", "above 0"),
            ("--rate -1", "'-1'"),
            ("--rate inf", "above 0"),
            ("--rate nan", "above 0"),
            ("--size 9..8", "MIN..MAX"),
            ("--size 1..2000000", "1048576"),
            ("--size -1", "'-1'"),
            ("--messages many", "'many'"),
            ("--colour", "the flags are --ring, --source"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(
                error.contains(legal) && !error.contains('\n') && !error.contains("Usage"),
                "{arguments}: {error}"
            );
        }
    }

    #[test]
    fn sizes_are_a_number_or_a_range() {
        assert_eq!(parse("--size 0").unwrap().content, Content::Generated(0..=0));
        assert_eq!(parse("--size 3..70").unwrap().content, Content::Generated(3..=70));
    }
}
