//! The process that writes messages into the ring.
//!
//! Messages are generated from a seed, or are the lines of a file or of standard input, and they are sent as fast as
//! the ring takes them or on a schedule. Message `n` of a source has position `n`, in the ring as in the input, so a
//! producer that is started again goes on where the ring says that its source has got.
//!
//! [`run`] is all of it; what it is asked for are [`Options`], which the command line fills.
//!
//! ```
//! use producer::{Format, InputOptions};
//!
//! let lines = InputOptions { path: "-".into(), format: Format::Lines, skip_oversize: false };
//! assert!(lines.is_stdin(), "which can't be gone on with after a restart");
//! ```

mod generator;
mod input;
mod options;
mod progress;
mod report;
mod schedule;

use cli::Failure;
use shmem_layout::{JoinError, Message, Producer, PublishError, WaitError, Waiting, now_ns};

use generator::Generator;
use input::{Input, Next};
use progress::Sent;
use report::{Report, ReportFile};
use schedule::Schedule;

pub use options::{Content, Format, InputOptions, Options};

/// Messages after which sleeping signers are woken, if nothing else has woken them.
const BURST: u64 = 64;

/// What a producer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The position in the source that it went on from.
    pub resumed_at: u64,
    /// Messages written into the ring.
    pub sent: u64,
    /// Lines left out because their messages were too long.
    pub skipped: u64,
}

impl Summary {
    /// What somebody who expected all messages to be sent should know.
    pub fn note(&self) -> Option<String> {
        match *self {
            Self { skipped: 1.., .. } => Some(self.to_string()),
            Self { sent: 0, resumed_at: 1.., .. } => Some(format!(
                "nothing to send: {} messages of this source were delivered before",
                self.resumed_at
            )),
            _ => None,
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "messages sent: {}", self.sent)?;
        if self.skipped > 0 {
            write!(f, "; left out as too long for the ring: {}", self.skipped)?;
        }
        Ok(())
    }
}

/// Why sending ended before its end.
enum Halt {
    /// The stop flag was set.
    Interrupted,
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends what `options` ask for, until `waiting`'s flag stops it.
///
/// # Errors
/// 1: interrupted, or the ring was full and waiting is not wanted; 2: bad input, all before which is sent; 3: the
/// ring can't be used.
pub fn run(options: &Options, waiting: &Waiting) -> Result<Summary, Failure> {
    options.placement.pin()?;
    // Before anything is sent, so that nothing is sent in vain.
    let report = options.report.as_deref().map(ReportFile::create).transpose()?;
    let ring = shmem_layout::attach(&options.ring).map_err(|error| unusable(options, &error))?;
    if options.placement.prefault {
        ring.prefault().map_err(|error| unusable(options, &error))?;
    }
    let producer = ring.join_producer(&options.source).map_err(|error| match error {
        JoinError::SourceName { .. } => Failure::bad_input(format_args!("--source: {error}")),
        _ => unusable(options, &error),
    })?;
    let summary = Summary { resumed_at: producer.resume_position(), ..Summary::default() };
    let member = producer.ring().member();
    let slots = producer.ring().spec().capacity;
    tracing::debug!(
        ring = %options.ring, slots, member = member.index, generation = member.generation, resumed_at = summary.resumed_at,
        "{}: attached, {slots} slots; member {}.{}, source {:?} goes on at {}",
        options.ring, member.index, member.generation, options.source, summary.resumed_at
    );
    let messages =
        Messages::open(options, producer.ring().spec().message_capacity, summary.resumed_at, waiting)?;
    let schedule = options.rate.map(|rate| Schedule::new(rate, waiting.strategy));
    let sent = Sent::default();
    let mut sending = Sending { options, waiting, producer, messages, schedule, summary, sent: sent.clone() };

    let drawing = progress::start(options, sent, summary.resumed_at);
    let halt = sending.send().err();
    sending.flush();
    drop(drawing);
    let recovered = sending.producer.ring().recovered();
    cli::log::taken_over(&options.ring, [recovered.voided, recovered.returned, recovered.failed], recovered);
    let failure = halt.map(|halt| match halt {
        Halt::Interrupted => Failure::failed(format_args!("interrupted; {}", sending.summary)),
        Halt::Failed(failure) => failure,
    });
    let is_complete = failure.is_none();
    let written =
        report.map_or(Ok(()), |file| file.write(&Report::new(options, &sending.summary, is_complete)));
    [failure, written.err(), sending.close().err()]
        .into_iter()
        .flatten()
        .reduce(|first, second| Failure {
            exit: first.exit.max(second.exit),
            message: format!("{first}; {second}"),
        })
        .map_or(Ok(sending.summary), Err)
}

fn unusable(options: &Options, error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format_args!("{}: {error}", options.ring))
}

/// Where messages come from, opened.
enum Messages {
    Generated(Generator),
    Input(Input),
}

impl Messages {
    fn open(options: &Options, capacity: u32, resume_at: u64, waiting: &Waiting) -> Result<Self, Failure> {
        match &options.content {
            Content::Generated(sizes) if *sizes.end() > capacity as usize => {
                Err(Failure::bad_input(format_args!(
                    "--size {}: the messages of {} have up to {capacity} bytes; \
                     make the ring with a larger --message-capacity",
                    sizes.end(),
                    options.ring,
                )))
            }
            Content::Generated(sizes) => Ok(Self::Generated(Generator::new(options.seed, sizes.clone()))),
            Content::Input(input) => {
                Input::open(input, capacity as usize, resume_at, waiting).map(Self::Input)
            }
        }
    }

    fn next(&mut self, position: u64) -> Result<Next<'_>, Halt> {
        match self {
            Self::Generated(generator) => Ok(Next::Message(generator.message(position))),
            Self::Input(input) => input.next(),
        }
    }

    /// Whether the next message may be long in coming.
    fn may_block(&self) -> bool {
        matches!(self, Self::Input(input) if !input.has_line())
    }
}

/// A producer at work.
struct Sending<'a> {
    options: &'a Options,
    waiting: &'a Waiting,
    producer: Producer,
    messages: Messages,
    schedule: Option<Schedule>,
    summary: Summary,
    /// Those messages that were sent at the last flush, for who watches.
    sent: Sent,
}

impl Sending<'_> {
    /// Wakes signers that sleep.
    fn flush(&self) {
        self.producer.flush();
        self.sent.set(self.summary.sent);
    }

    fn send(&mut self) -> Result<(), Halt> {
        if let Messages::Input(input) = &mut self.messages {
            input.skip_lines(self.summary.resumed_at)?;
        }
        for position in self.summary.resumed_at..self.options.messages {
            if self.messages.may_block() {
                self.flush();
            }
            let bytes = match self.messages.next(position)? {
                Next::Message(bytes) => bytes,
                Next::Oversize => {
                    self.summary.skipped += 1;
                    continue;
                }
                Next::End => break,
            };
            let mut now_ns = now_ns();
            let intended_ns = match &mut self.schedule {
                None => now_ns,
                Some(schedule) => {
                    let due_ns = schedule.due_ns(self.summary.sent);
                    if now_ns < due_ns {
                        self.producer.flush();
                        self.sent.set(self.summary.sent);
                        now_ns = schedule.wait_until(due_ns, self.waiting);
                    }
                    due_ns
                }
            };
            if self.waiting.is_stopped() {
                return Err(Halt::Interrupted);
            }
            let method = self.options.method.of_message(self.options.seed, position) as u32;
            let message = Message { position, method, intended_ns, now_ns, bytes };
            if let Err(error) = self.producer.publish(&message, self.options.when_full, self.waiting) {
                return Err(self.refused(&error));
            }
            self.summary.sent += 1;
            if self.summary.sent.is_multiple_of(BURST) {
                self.flush();
            }
        }
        Ok(())
    }

    fn refused(&self, error: &PublishError) -> Halt {
        let said = format!("{}: {error}; {}", self.options.ring, self.summary);
        match error {
            PublishError::Wait(WaitError::Stopped) => Halt::Interrupted,
            PublishError::Full => Failure::failed(said).into(),
            PublishError::TooLong { .. } => Failure::bad_input(said).into(),
            PublishError::Closed | PublishError::Wait(_) => Failure::environment(said).into(),
        }
    }

    /// Closes the ring if that is asked for. A producer that was stopped doesn't wait for room to do it.
    fn close(&self) -> Result<(), Failure> {
        if !self.options.close {
            return Ok(());
        }
        match self.producer.ring().close(self.waiting) {
            Ok(is_first) => {
                tracing::debug!(ring = %self.options.ring, "{}: {}", self.options.ring, match is_first {
                    true => "closed",
                    false => "was closed before",
                });
                Ok(())
            }
            Err(WaitError::Stopped) => {
                Err(Failure::failed(format_args!("{}: it is full, so it was not closed", self.options.ring)))
            }
            Err(error) => Err(unusable(self.options, &error)),
        }
    }
}
