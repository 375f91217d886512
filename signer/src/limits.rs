//! What a module may use, as the command line and a file of limits say it.

use std::ffi::OsString;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cli::Failure;
use extension_engine::Limits;
use serde::Deserialize;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// The flags' heading in the help.
const LIMITS: &str = "What a module may use";

/// The flags that bound what a module may use.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LimitArguments {
    /// Memory of an extension, 1 to 4096 MiB [default: 64]
    #[arg(long, value_name = "MIB", help_heading = LIMITS)]
    memory_limit: Option<u64>,
    /// CPU time of an extension for a record, 20 to 3600000 ms [default: 500]
    #[arg(long, value_name = "MS", help_heading = LIMITS)]
    deadline: Option<u64>,
    /// Stack of an extension's calls, 16 to 1024 KiB [default: 512]
    #[arg(long, value_name = "KIB", help_heading = LIMITS)]
    stack_limit: Option<u64>,
    /// Length of a module's file, 1 to 65536 KiB [default: 4096]
    #[arg(long, value_name = "KIB", help_heading = LIMITS)]
    module_limit: Option<u64>,
    /// CPU time for compiling a module, 1 to 3600 seconds [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = LIMITS)]
    compile_limit: Option<u64>,
    /// A TOML file of the same limits; flags win
    ///
    /// Its keys, each of them optional: memory_mib, deadline_ms, stack_kib, module_kib, compile_seconds
    #[arg(long, value_name = "FILE", help_heading = LIMITS)]
    limits: Option<PathBuf>,
}

/// What a file of limits may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFile {
    memory_mib: Option<u64>,
    deadline_ms: Option<u64>,
    stack_kib: Option<u64>,
    module_kib: Option<u64>,
    compile_seconds: Option<u64>,
}

impl LimitArguments {
    /// The limits that flags, file and defaults give together.
    ///
    /// # Errors
    /// Bad input: the file can't be read, has an unknown key or no number, or a limit is out of its range.
    pub(crate) fn check(&self) -> Result<Limits, Failure> {
        let file = self.limits.as_deref().map(read).transpose()?.unwrap_or_default();
        let flags =
            [self.memory_limit, self.deadline, self.stack_limit, self.module_limit, self.compile_limit];
        let keys = [file.memory_mib, file.deadline_ms, file.stack_kib, file.module_kib, file.compile_seconds];
        let (mut values, most) = (in_units(&Limits::default()), in_units(&Limits::MAX));
        for (i, (flag, key, least)) in NAMES.into_iter().enumerate() {
            let limit = Limit {
                flag: (flag, flags[i]),
                key: (key, keys[i]),
                default: values[i],
                range: least..=most[i],
            };
            values[i] = limit.value(self.limits.as_deref())?;
        }
        let [memory, deadline, stack, module_len, compile] = values;
        Ok(Limits {
            memory: memory * MIB,
            deadline: Duration::from_millis(deadline),
            stack: (stack * KIB) as u32,
            module_len: module_len * KIB,
            compile: Duration::from_secs(compile),
        })
    }
}

/// The flag and the file's key of each limit, and the least that it may be, in the order of [`in_units`].
const NAMES: [(&str, &str, u64); 5] = [
    ("--memory-limit", "memory_mib", 1),
    ("--deadline", "deadline_ms", 20),
    ("--stack-limit", "stack_kib", 16),
    ("--module-limit", "module_kib", 1),
    ("--compile-limit", "compile_seconds", 1),
];

/// `limits`, each in the unit in which users give it.
fn in_units(limits: &Limits) -> [u64; 5] {
    [
        limits.memory / MIB,
        limits.deadline.as_millis() as u64,
        u64::from(limits.stack) / KIB,
        limits.module_len / KIB,
        limits.compile.as_secs(),
    ]
}

/// One limit, in the unit in which users give it.
struct Limit {
    flag: (&'static str, Option<u64>),
    key: (&'static str, Option<u64>),
    default: u64,
    range: RangeInclusive<u64>,
}

impl Limit {
    fn value(self, path: Option<&Path>) -> Result<u64, Failure> {
        let Limit { flag, key, default, range } = self;
        let value = flag.1.or(key.1).unwrap_or(default);
        if range.contains(&value) {
            return Ok(value);
        }
        let (least, most) = range.into_inner();
        let place = match (flag.1, path) {
            (None, Some(path)) => format!("{} in {}", key.0, path.display()),
            _ => flag.0.to_owned(),
        };
        Err(Failure::bad_input(format_args!("{place} is {value}; it may be from {least} to {most}")))
    }
}

fn read(path: &Path) -> Result<LimitFile, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::bad_input(format_args!("--limits {}: {error}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| unusable(&error))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        unusable(&format_args!("line {line}: {}", error.message()))
    })
}

/// `limits` as flags can say them: in whole units, and within their ranges.
///
/// # Errors
/// One of them is out of its range.
pub(crate) fn checked(limits: &Limits) -> Result<Limits, Failure> {
    let [memory_limit, deadline, stack_limit, module_limit, compile_limit] = in_units(limits).map(Some);
    let arguments =
        LimitArguments { memory_limit, deadline, stack_limit, module_limit, compile_limit, limits: None };
    arguments.check()
}

/// The arguments that say `limits`, for a worker.
pub(crate) fn to_arguments(limits: &Limits) -> Vec<OsString> {
    let values = NAMES.into_iter().zip(in_units(limits));
    values.flat_map(|((flag, ..), value)| [flag.into(), value.to_string().into()]).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn check(arguments: &[&str]) -> Result<Limits, Failure> {
        let line = ["signer"].iter().chain(arguments);
        Line::try_parse_from(line).unwrap().limits.check()
    }

    fn with_file(text: &str, arguments: &[&str]) -> Result<Limits, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.toml");
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        check(&[&["--limits", path], arguments].concat())
            .map_err(|failure| failure.message.replace(path, "FILE"))
    }

    #[test]
    fn without_flags_the_limits_are_the_engines_own() {
        assert_eq!(check(&[]).unwrap(), Limits::default());
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let text = "memory_mib = 8\ndeadline_ms = 50\n";
        let limits = with_file(text, &["--deadline", "70", "--stack-limit", "64"]).unwrap();
        let expected = Limits {
            memory: 8 << 20,
            deadline: Duration::from_millis(70),
            stack: 64 << 10,
            ..Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn every_key_of_the_file_is_its_limit() {
        let text = "memory_mib = 1\ndeadline_ms = 21\nstack_kib = 17\nmodule_kib = 2\ncompile_seconds = 3";
        let expected = Limits {
            memory: 1 << 20,
            deadline: Duration::from_millis(21),
            stack: 17 << 10,
            module_len: 2 << 10,
            compile: Duration::from_secs(3),
        };
        assert_eq!(with_file(text, &[]).unwrap(), expected);
    }

    #[test]
    fn the_arguments_for_a_worker_say_the_same() {
        for limits in [
            Limits::default(),
            Limits::MAX,
            Limits { deadline: Duration::from_millis(20), ..Limits::default() },
        ] {
            let arguments = to_arguments(&limits);
            let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
            assert_eq!(check(&arguments).unwrap(), limits);
        }
    }

    #[test]
    fn what_is_out_of_range_or_unknown_is_named() {
        for (flag, value, range) in [
            ("--memory-limit", "0", "1 to 4096"),
            ("--memory-limit", "4097", "1 to 4096"),
            ("--deadline", "19", "20 to 3600000"),
            ("--stack-limit", "15", "16 to 1024"),
            ("--stack-limit", "1025", "16 to 1024"),
            ("--module-limit", "65537", "1 to 65536"),
            ("--compile-limit", "0", "1 to 3600"),
        ] {
            let message = check(&[flag, value]).unwrap_err().message;
            assert_eq!(message, format!("{flag} is {value}; it may be from {range}"));
        }
        let words = |text| with_file(text, &[]).unwrap_err();
        assert_eq!(words("stack_kib = 1"), "stack_kib in FILE is 1; it may be from 16 to 1024");
        let unknown = words("memory_mib = 1\nstack = 1");
        assert!(unknown.starts_with("--limits FILE: line 2: unknown field `stack`"), "{unknown}");
        for text in ["deadline_ms = \"long\"", "deadline_ms = -1", "deadline_ms = 1.5", "deadline_ms"] {
            let message = words(text);
            assert!(message.starts_with("--limits FILE: line 1: "), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
        let missing = check(&["--limits", "/no/such/file"]).unwrap_err().message;
        assert!(missing.starts_with("--limits /no/such/file: "), "{missing}");
    }
}
