//! `ringctl`: makes, shows, watches, checks, closes and removes rings.

mod check;
mod show;
mod top;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use cli::{Exit, Failure};
use shmem_layout::{
    AttachError, CreateError, Ring, RingOptions, RingPath, VERSION, WaitError, WaitStrategy, Waiting, attach,
    create, remove,
};

const EXAMPLES: &str = "\
Examples:
  A ring for messages of up to 4 KiB, in memory:
    mkdir -m 700 /dev/shm/mine
    ringctl create /dev/shm/mine/ring --message-capacity 4096
  What goes on in it:
    ringctl top /dev/shm/mine/ring
  Let everyone finish, and remove it:
    ringctl close /dev/shm/mine/ring
    ringctl rm /dev/shm/mine/ring

Exit codes:
  0  done
  1  interrupted; check: the ring is damaged
  2  bad arguments
  3  environment: no usable ring, or somebody uses it";

/// Makes, shows, watches, checks, closes and removes rings.
///
/// RING is a file in a folder of yours with mode 700, or shm:NAME for a POSIX shared memory segment.
#[derive(Parser)]
#[command(name = "ringctl", version = VERSION, arg_required_else_help = false, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new ring
    Create {
        /// Where: a path, or shm:NAME
        ring: RingPath,
        /// Slots: a power of two
        #[arg(long, value_name = "SLOTS", default_value_t = RingOptions::default().capacity)]
        capacity: u32,
        /// Bytes of message that a slot holds
        #[arg(long, value_name = "BYTES", default_value_t = RingOptions::default().message_capacity)]
        message_capacity: u32,
        /// Bytes of signature that a slot holds
        #[arg(long, value_name = "BYTES", default_value_t = RingOptions::default().signature_capacity)]
        signature_capacity: u32,
        /// Signers that may die with a record in hand before it is answered as failed, 1 to 15
        #[arg(long, value_name = "N", default_value_t = RingOptions::default().max_attempts)]
        max_attempts: u8,
        /// Put it on huge pages, of 2 MiB each: a large ring in memory is met by fewer faults then
        #[arg(long)]
        huge_pages: bool,
    },
    /// Print spec, hints, slots by stage, members and sources
    Show {
        /// The ring
        ring: RingPath,
        /// Again and again, every second or so many (--watch=5; 0.01 to 86400), until the ring is removed or Ctrl-C
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = seconds)]
        watch: Option<Duration>,
    },
    /// Watch a ring at work: members, stages, rates, whom the others wait for, what signs. Only reads, never writes
    #[command(
        after_help = "On a terminal it redraws a page until Ctrl-C, which ends it with exit code 0. In a pipe, or on a \
        terminal that can't be drawn on, it prints one page after the other.\n\n\
        Exit codes: 0 done; 2 bad arguments; 3 no ring that can be read, or not any more."
    )]
    Top(top::TopArguments),
    /// Say what the dead have left, what a recovery would make of it, and what is damaged. Changes nothing
    #[command(after_help = "Exit codes:\n  0  sound\n  1  damaged\n  3  no ring that can be read")]
    Check {
        /// The ring
        ring: RingPath,
    },
    /// End the stream: what was written before is still signed and consumed
    Close {
        /// The ring
        ring: RingPath,
    },
    /// Remove a ring that nobody uses
    Rm {
        /// The ring
        ring: RingPath,
        /// Remove it even if members live, or if it is no ring that could be asked
        #[arg(long)]
        force: bool,
    },
}

fn main() -> ExitCode {
    cli::finish("ringctl", cli::parse::<Arguments>().and_then(|arguments| run(arguments.command)))
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create {
            ring,
            capacity,
            message_capacity,
            signature_capacity,
            max_attempts,
            huge_pages,
        } => {
            let options =
                RingOptions { capacity, message_capacity, signature_capacity, max_attempts, huge_pages };
            create(&ring, &options).map_err(|error| {
                let is_bad_input =
                    matches!(error, CreateError::Spec(_) | CreateError::TooSmallForHugePages { .. });
                let say = if is_bad_input { Failure::bad_input } else { environment };
                say(format!("{ring}: {error}"))
            })?;
        }
        Command::Show { ring, watch } => show(&ring, watch)?,
        Command::Top(arguments) => return top::run(&arguments),
        Command::Check { ring } => {
            let open = open(&ring)?;
            let snapshot = open.snapshot().map_err(|error| at(&ring, &error))?;
            let (text, is_sound) = check::report(&ring, &snapshot);
            cli::print(&text)?;
            return Ok(if is_sound { Exit::Done } else { Exit::Failed });
        }
        Command::Close { ring } => {
            let stop = cli::stop_on_signals().map_err(|error| at(&ring, &error))?;
            let waiting = Waiting { stop, ..Waiting::new(WaitStrategy::Block) };
            open(&ring)?.close(&waiting).map_err(|error| match error {
                WaitError::Stopped => Failure::failed(format!("{ring}: interrupted; it is not closed")),
                other => at(&ring, &other),
            })?;
        }
        Command::Rm { ring, force } => {
            if !force {
                refuse_if_alive(&ring)?;
            }
            remove(&ring).map_err(|error| at(&ring, &error))?;
        }
    }
    Ok(Exit::Done)
}

fn show(ring: &RingPath, watch: Option<Duration>) -> Result<(), Failure> {
    let open = open(ring)?;
    let text = || {
        let snapshot = open.snapshot().map_err(|error| at(ring, &error))?;
        Ok(show::text(ring, open.spec(), &snapshot))
    };
    let Some(every) = watch else { return cli::print(&text()?) };
    let stop = cli::stop_on_signals().map_err(|error| at(ring, &error))?;
    let is_terminal = io::stdout().is_terminal();
    while !stop.load(Ordering::Relaxed) && ring.file_path().exists() {
        let text = text()?;
        // A terminal shows one at a time, from its top; whoever reads a pipe gets one after the other.
        let page = if is_terminal { format!("\x1b[H\x1b[J{text}") } else { format!("{text}\n") };
        if cli::print_more(&page)?.is_break() {
            break;
        }
        let next = Instant::now() + every;
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            // A signal interrupts the handler's thread alone, so that the flag is looked at now and then.
            thread::sleep(every.min(Duration::from_millis(50)));
        }
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "0.01 to 86400 seconds are expected".to_owned())
}

fn refuse_if_alive(ring: &RingPath) -> Result<(), Failure> {
    let open = attach(ring).map_err(|error| match error {
        AttachError::Absent => at(ring, &"no such ring"),
        other => at(ring, &format_args!("{other}; --force removes it all the same")),
    })?;
    let members = open.members().map_err(|error| at(ring, &error))?;
    let mut alive = members.iter().filter(|member| member.is_alive);
    match alive.next() {
        None => Ok(()),
        Some(member) => {
            let role = member.role.map_or("member", |role| role.name());
            let more = alive.count();
            Err(at(
                ring,
                &format_args!(
                    "a {role} (pid {}) and {more} more still use it; stop them, or --force",
                    member.pid
                ),
            ))
        }
    }
}

fn open(ring: &RingPath) -> Result<Ring, Failure> {
    attach(ring).map_err(|error| at(ring, &error))
}

fn at(ring: &RingPath, error: &dyn std::fmt::Display) -> Failure {
    environment(format!("{ring}: {error}"))
}

fn environment(message: String) -> Failure {
    Failure::environment(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helps_examples_are_accepted() {
        let examples = cli::examples::<Arguments>();
        assert_eq!(examples.len(), 4);
        for example in examples {
            cli::parse_from::<Arguments>(&example).map_err(|failure| (example, failure)).unwrap();
        }
    }
}
