//! What the programs say on standard error: lines of text as `program: message`, or an object of JSON a line.
//!
//! Everybody says it by `tracing`'s macros. A child that has a parent to speak for it hands its lines on instead, and the
//! parent passes them to [`relay`].

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::{one_line, progress};

/// How much is said on standard error, and how.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Say nothing on standard error but errors: no warnings, no progress
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Messages on standard error")]
    pub quiet: bool,
    /// Say more: what is attached, compiled, fetched, swapped, restored, taken over. -vv: what libraries say, too
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Messages on standard error")]
    pub verbose: u8,
    /// Lines of text, or an object of JSON a line: timestamp, level, role, message, and more
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        help_heading = "Messages on standard error"
    )]
    pub log_format: LogFormat,
}

/// The form of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `program: message`
    #[default]
    Text,
    /// An object a line
    Json,
}

/// A message on its way from a child to the standard error of its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// As `tracing` names it: `ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE`.
    pub level: String,
    /// For people: all that matters is in it.
    pub message: String,
    /// The same for machines, and more.
    pub fields: Map<String, Value>,
}

/// Crates whose messages are ours; of others' we hear with `-vv` alone.
const OURS: [&str; 6] =
    ["ringseal_cli", "producer", "signer", "consumer", "extension_engine", "control_protocol"];

impl LogOptions {
    /// The arguments that say the same.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--verbose".to_owned(); self.verbose.into()];
        if self.quiet {
            arguments.push("--quiet".to_owned());
        }
        if self.log_format == LogFormat::Json {
            arguments.extend(["--log-format".to_owned(), "json".to_owned()]);
        }
        arguments
    }

    fn level(&self) -> LevelFilter {
        match self.verbose {
            _ if self.quiet => LevelFilter::ERROR,
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }
}

/// Where this process's lines go, and in which form.
struct Log {
    program: &'static str,
    format: LogFormat,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// From now on, what this process says is printed on standard error, as `options` ask for. The first call is the one that
/// counts.
pub fn start(program: &'static str, options: &LogOptions) {
    let _ = LOG.set(Log { program, format: options.log_format });
    listen(options, relay);
}

/// As [`start()`], but what this process says is handed to `tell`, for somebody else to [`relay`].
pub fn start_in_child(options: &LogOptions, tell: impl Fn(Line) + Send + Sync + 'static) {
    listen(options, tell);
}

fn listen(options: &LogOptions, tell: impl Fn(Line) + Send + Sync + 'static) {
    let ear = Ear { level: options.level(), hears_all: options.verbose > 1, tell };
    // Tests may come here twice in a process: what was first goes on.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ear));
}

/// Prints `line` on standard error. Nothing is left to be done about one that is closed.
pub fn relay(line: Line) {
    let Some(log) = LOG.get() else { return };
    print(&log.text_of(line));
}

/// Says what was taken over from dead members of `ring`, if anything was: `counts` is how many slots were voided, returned and
/// failed, and `recovered` the same in words.
pub fn taken_over(ring: impl fmt::Display, counts: [u64; 3], recovered: impl fmt::Display) {
    let [voided, returned, failed] = counts;
    if counts != [0; 3] {
        tracing::debug!(voided, returned, failed, "{ring}: taken over from dead members: {recovered}");
    }
}

/// Prints a program's last word: also if it has failed before it has come to [`start()`].
pub(crate) fn last_word(program: &str, exit: u8, message: &str) {
    match LOG.get() {
        Some(_) => tracing::error!(exit_code = exit, "{message}"),
        None => print(&format!("{program}: {message}\n")),
    }
}

/// How the line `message` is to be printed by who can format nothing at that moment, such as a signal's handler. It wipes the
/// end of what progress there is.
#[must_use]
pub fn prepared(message: &str) -> Option<String> {
    let log = LOG.get()?;
    let line = Line { level: Level::ERROR.to_string(), message: message.to_owned(), fields: Map::new() };
    let wipe = if progress::is_drawable() { "\r\x1b[K" } else { "" };
    Some(format!("{wipe}{}", log.text_of(line)))
}

/// At once, so that lines of several processes don't mix, and not into the middle of the progress.
fn print(text: &str) {
    progress::suspended(|| {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    });
}

impl Log {
    fn text_of(&self, line: Line) -> String {
        let message = one_line(&line.message);
        if self.format == LogFormat::Text {
            return format!("{}: {message}\n", self.program);
        }
        let mut timestamp = String::new();
        // Writing to a string can't fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let head = [
            ("timestamp", timestamp.into()),
            ("level", line.level.into()),
            ("role", self.program.into()),
            ("message", message.into()),
        ];
        let is_other = |name: &str| head.iter().all(|(taken, _): &(_, Value)| *taken != name);
        let more = line.fields.iter().map(|(name, value)| (name.as_str(), value));
        let more = more.filter(|(name, _)| is_other(name));
        // By hand, for a map would sort them: who reads along wants these four first.
        let all = head.iter().map(|(name, value)| (*name, value)).chain(more);
        let all: Vec<_> = all.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
        format!("{{{}}}\n", all.join(","))
    }
}

/// Hears what is said by the macros.
struct Ear<T> {
    level: LevelFilter,
    hears_all: bool,
    tell: T,
}

fn is_ours(target: &str) -> bool {
    OURS.contains(&target.split("::").next().unwrap_or_default())
}

impl<S: Subscriber, T: Fn(Line) + Send + Sync + 'static> Layer<S> for Ear<T> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level && (self.hears_all || is_ours(metadata.target()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line =
            Line { level: metadata.level().to_string(), message: String::new(), fields: Map::new() };
        event.record(&mut line);
        if !is_ours(metadata.target()) {
            line.message = format!("{}: {}", metadata.target(), line.message);
        }
        (self.tell)(line);
    }
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => drop(self.fields.insert(name.to_owned(), text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is heard of what `say` says.
    fn heard(options: &LogOptions, say: impl FnOnce()) -> Vec<Line> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let tell = {
            let lines = Arc::clone(&lines);
            move |line| lines.lock().unwrap().push(line)
        };
        let ear = Ear { level: options.level(), hears_all: options.verbose > 1, tell };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(ear), say);
        lines.lock().unwrap().clone()
    }

    fn say_some_of_each() {
        tracing::error!("an error");
        tracing::warn!(worker = 3, label = "a \"b\"", "a warning of {}", "two\nlines");
        tracing::debug!("a detail");
        tracing::debug!(target: "h2::codec", "a library's");
    }

    #[test]
    fn quiet_leaves_errors_and_verbose_adds_details_of_ours_and_then_of_libraries() {
        let messages = |quiet, verbose| {
            let options = LogOptions { quiet, verbose, log_format: LogFormat::Text };
            heard(&options, say_some_of_each).into_iter().map(|line| line.message).collect::<Vec<_>>()
        };
        let all = ["an error", "a warning of two\nlines", "a detail", "h2::codec: a library's"];
        assert_eq!(messages(true, 0), all[..1]);
        assert_eq!(messages(false, 0), all[..2]);
        assert_eq!(messages(false, 1), all[..3]);
        assert_eq!(messages(false, 2), all);
    }

    #[test]
    fn a_message_is_one_line_of_text_or_one_object() {
        let lines = heard(&LogOptions::default(), say_some_of_each);
        let log = |format| Log { program: "signer", format };
        assert_eq!(log(LogFormat::Text).text_of(lines[1].clone()), "signer: a warning of two; lines\n");
        let text = log(LogFormat::Json).text_of(lines[1].clone());
        assert_eq!(text.lines().count(), 1);
        let object: Value = serde_json::from_str(&text).unwrap();
        assert!(object["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{text}");
        let others = [("level", "WARN"), ("role", "signer"), ("message", "a warning of two; lines")];
        for (name, value) in others {
            assert_eq!(object[name], value);
        }
        assert_eq!((&object["worker"], &object["label"]), (&3.into(), &"a \"b\"".into()));
    }

    #[test]
    fn a_line_survives_its_way_from_a_child() {
        let line = heard(&LogOptions::default(), say_some_of_each).remove(1);
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }

    #[test]
    fn a_child_is_told_what_its_parent_was() {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            log: LogOptions,
        }
        for arguments in [&["x"][..], &["x", "-q"], &["x", "-vv", "--log-format", "json"]] {
            let said = crate::parse_from::<Arguments>(arguments).unwrap().log;
            let again = ["x".to_owned()].into_iter().chain(said.to_arguments());
            assert_eq!(crate::parse_from::<Arguments>(again).unwrap().log, said);
        }
        crate::parse_from::<Arguments>(["x", "-q", "-v"]).err().unwrap();
    }
}
