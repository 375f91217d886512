//! The command line, checked once.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use cli::{Failure, LogOptions, MethodChoice, Placement, ProgressOptions};
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
    /// Whether it shows how far it is.
    pub progress: ProgressOptions,
    /// What it says.
    pub log: LogOptions,
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
    producer --ring /dev/shm/mine/ring --messages 100000 --rate 5000 --close
  The lines of a file, gone on with if started again:
    producer --ring /dev/shm/mine/ring --source orders --input orders.txt
  Lines as they come:
    tail -f log | producer --ring /dev/shm/mine/ring --input -

Exit codes:
  0  done
  1  interrupted, or the ring was full with --when-full fail
  2  bad arguments or input
  3  environment: no usable ring, or nothing moves in it";

/// Writes messages into a ring, for a signer to sign.
///
/// The messages are generated, or are the lines of --input. A producer that is started again for the same source goes
/// on where it stopped.
#[derive(Parser)]
#[command(name = "producer", version = VERSION, after_long_help = EXAMPLES)]
struct Arguments {
    /// The ring: a file, or shm:NAME
    ///
    /// A file lies in a folder of yours with mode 700; shm:NAME is a POSIX shared memory segment. `ringctl create` makes either
    #[arg(long, help_heading = "Ring")]
    ring: RingPath,

    /// The name to write under
    ///
    /// Positions are kept for each name, and one live producer writes for each: that is how one goes on after a restart
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Ring")]
    source: String,

    /// When every slot is taken: wait for the consumer, or fail with exit code 1
    #[arg(long, value_name = "ACTION", default_value = "wait", help_heading = "Ring", value_parser = when_full())]
    when_full: WhenFull,

    /// Close the ring at the end, which lets signer and consumer finish
    ///
    /// For the last producer. It closes after bad input too, and on Ctrl-C if the ring is not full; not when it is refused at
    /// the start
    #[arg(long, help_heading = "Ring")]
    close: bool,

    /// How to wait for the other roles: `block` sleeps, `spin` and `yield` never do, `adaptive` learns
    ///
    /// `adaptive` spins where records come within 8 µs of each other, goes on without sleep up to 130 µs, and sleeps where they
    /// come more seldom.
    /// `spin` and `yield` take a processor each for as long as the role runs
    #[arg(long, value_name = "STRATEGY", default_value_t, value_parser = cli::one_of::<WaitStrategy>(WaitStrategy::ALL.map(WaitStrategy::name)))]
    #[arg(help_heading = "Ring")]
    wait: WaitStrategy,

    /// Seconds in which something is pending in the ring and nothing moves, before giving up with exit code 3; 0: never
    #[arg(long, value_name = "SECONDS", default_value = STALL_SECONDS, help_heading = "Ring", value_parser = parse_stall_after)]
    stall: Duration,

    /// How to sign: ecdsa (or 1), schnorr (0), random (2), or null, for measurements only
    ///
    /// `random` draws ecdsa or schnorr for each message, from --seed; `null` signs nothing
    #[arg(long, default_value = "ecdsa", help_heading = "Messages", value_parser = method())]
    method: MethodChoice,

    /// How many messages [default: 1024; all of --input]
    ///
    /// Those of the source in all: what was delivered before a restart counts
    #[arg(long, value_name = "COUNT", help_heading = "Messages")]
    messages: Option<u64>,

    /// Messages a second, each timed from when it was due [default: all the ring takes]
    ///
    /// However late a message is read or sent, its latency counts from the schedule's time, so that a stall shows in every
    /// message that it delayed. With --wait block a message may be sent 50 µs late; the others wake up earlier and poll
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = "Messages")]
    rate: Option<f64>,

    /// Bytes of a generated message: a number, or MIN..MAX, both included, to draw from
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = sizes, conflicts_with = "input")]
    #[arg(help_heading = "Messages")]
    size: RangeInclusive<usize>,

    /// What generated messages and random methods are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Messages")]
    seed: u64,

    /// Your messages instead, one a line: a file, or - for standard input
    ///
    /// The last line needs no newline, and an empty line is an empty message. Standard input can't be gone on with after a
    /// restart
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    input: Option<PathBuf>,

    /// What a line holds
    #[arg(long, value_enum, default_value_t, requires = "input", help_heading = "Input")]
    format: Format,

    /// Leave out messages that are too long for the ring, and count them
    ///
    /// Without it the first one ends the producer with exit code 2; `ringctl create --message-capacity` makes room
    #[arg(long, requires = "input", help_heading = "Input")]
    skip_oversize: bool,

    /// Write a summary of what was asked for and sent, in JSON
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    report: Option<PathBuf>,

    #[command(flatten)]
    placement: Placement,

    #[command(flatten)]
    progress: ProgressOptions,

    #[command(flatten)]
    log: LogOptions,
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
            progress,
            log,
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
            progress,
            log,
            report,
        }
    }
}

fn when_full() -> impl TypedValueParser<Value = WhenFull> {
    PossibleValuesParser::new(["wait", "fail"])
        .map(|action| if action == "fail" { WhenFull::Fail } else { WhenFull::Wait })
}

/// The numbers are legal and not listed: they are for who knows them.
fn method() -> impl TypedValueParser<Value = MethodChoice> {
    let value = |name: &'static str, number: &'static str| PossibleValue::new(name).alias(number);
    let values =
        [value("ecdsa", "1"), value("schnorr", "0"), value("random", "2"), PossibleValue::new("null")];
    cli::one_of(values)
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
    use cli::Method;

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
    fn the_helps_examples_are_accepted() {
        let examples = cli::examples::<Arguments>();
        assert_eq!(examples.len(), 3);
        for example in examples {
            cli::parse_from::<Arguments>(&example).map_err(|failure| (example, failure)).unwrap();
        }
    }

    #[test]
    fn a_method_has_its_number_too() {
        for (number, method) in [("0", Method::Schnorr), ("1", Method::Ecdsa)] {
            let method = MethodChoice::Always(method);
            assert_eq!(parse(&format!("--method {number}")).unwrap().method, method);
        }
        assert_eq!(parse("--method 2").unwrap().method, MethodChoice::Random);
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
            ("--method 3", "ecdsa, schnorr, random, null"),
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
            ("--mehtod ecdsa", "'--method'"),
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
