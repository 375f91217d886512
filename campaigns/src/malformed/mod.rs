//! Malformed and invalid modules: none gets past the validator, and none takes its runtime down.
//!
//! First the official tests: what they call malformed or invalid must be refused as just that, by every runtime's rules. To be
//! sure that nothing else stands in its way, what is there as text is tried with the exports of an extension as well. Then
//! damaged versions of good modules, in processes of their own, for a runtime may crash.

mod child;
mod corpus;
mod mutant;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};
use extension_engine::{EngineError, Module, Refusal, Runtime, Settings, Variant, compile};
use rustix::process::Signal;

use crate::support::process::{Process, manner};
use crate::support::session::{Common, Session};
use child::Notes;
use corpus::{Case, Corpus, Verdict};

pub use child::{ChildOptions, run as run_child};

/// What the campaign is told.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Damaged modules for each runtime
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    mutants: u64,
    /// Who is given them
    #[arg(long, value_name = "RUNTIMES", value_delimiter = ',', default_value = "wasmtime,wasmi")]
    runtimes: Vec<Runtime>,
}

/// How long a mutant may take, all in all, before its process is killed: it loops.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a process may take to begin: it reads the whole corpus.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How many complaints are told in words.
const TOLD_MAX: u64 = 10;

/// Valid modules of the tests that must come through as extensions, so that it is known that they can.
const ACCEPTED_MIN: u64 = 100;

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("malformed", &options.common)?;
    let corpus = Corpus::read();
    session.say(format_args!(
        "{} modules of the tests; {} more are malformed as text alone, {} can't be encoded; {} files can't be read",
        corpus.cases.len(),
        corpus.text_only,
        corpus.not_encoded,
        corpus.unread
    ));
    let mut counts = Vec::new();
    for runtime in options.runtimes.iter().filter(|runtime| **runtime != Runtime::Native) {
        runtime.is_available().map_err(Failure::bad_input)?;
        let of_tests = give_tests(&session, *runtime, &corpus);
        let of_mutants = give_mutants(&session, *runtime, options.mutants)?;
        counts.push(format!("{runtime}: {of_tests}; {of_mutants}"));
    }
    session.finish(counts.join(" | "))
}

/// Whether it was refused for what it is, and not for what it lacks.
fn is_refused_as_invalid(error: &EngineError) -> bool {
    matches!(error, EngineError::Module { refusal: Refusal::Invalid { .. } | Refusal::NotWasm, .. })
}

/// Why `bytes` are refused; none if they aren't.
fn refusal(runtime: Runtime, origin: &str, bytes: &[u8]) -> Option<EngineError> {
    let module = Module::unvalidated(origin, bytes.to_vec());
    compile(runtime, "ecdsa", Some(&module), &Settings::default()).err()
}

/// Whether `case` is to be refused by the rules of modules of `variant`: later versions of the language allow what the
/// first did not.
fn is_wrong_for(case: &Case, variant: Variant) -> bool {
    case.verdict != Verdict::Valid && (variant == Variant::Base || case.suite != "wasm-v1")
}

/// Gives the tests' modules to `runtime`.
fn give_tests(session: &Session, runtime: Runtime, corpus: &Corpus) -> String {
    let Some(variant) = runtime.best_variant() else { return String::new() };
    let (mut given, mut refused, mut valid, mut accepted) = (0, 0, 0_u64, 0_u64);
    let mut by_suite: BTreeMap<&str, u64> = BTreeMap::new();
    for case in &corpus.cases {
        let forms = [Some(&case.bytes), case.as_extension.as_ref()];
        for (form, bytes) in ["", " as an extension"].into_iter().zip(forms) {
            let Some(bytes) = bytes else { continue };
            let origin = format!("{}{form}", case.origin);
            let answer = refusal(runtime, &origin, bytes);
            if is_wrong_for(case, variant) {
                given += 1;
                match answer {
                    Some(error) if is_refused_as_invalid(&error) => refused += 1,
                    other => {
                        *by_suite.entry(&case.suite).or_default() += 1;
                        tell(
                            session,
                            given - refused,
                            format_args!(
                                "{runtime} was given {origin}, which is {:?}: {}",
                                case.verdict,
                                other.map_or("it was accepted".to_owned(), |error| error.to_string())
                            ),
                        );
                    }
                }
            } else if case.verdict == Verdict::Valid {
                valid += u64::from(form.is_empty() && is_no_extension(answer.as_ref()));
                accepted += u64::from(answer.is_none());
            }
        }
    }
    if accepted < ACCEPTED_MIN || valid < ACCEPTED_MIN {
        session.complain(format_args!(
            "{runtime}: of the valid modules {valid} were told that they are no extensions, and {accepted} accepted as ones: \
             refusals prove nothing"
        ));
    }
    format!(
        "{given} wrong modules given, {refused} refused as such, {} otherwise; control: {accepted} valid ones accepted",
        given - refused
    )
}

/// What a valid module that lacks the ABI is told.
fn is_no_extension(answer: Option<&EngineError>) -> bool {
    matches!(answer, Some(EngineError::Module { refusal: Refusal::NoAbiVersion, .. }))
}

fn tell(session: &Session, nth: u64, what: impl std::fmt::Display) {
    if nth <= TOLD_MAX {
        session.complain(what);
    }
}

/// Gives mutants to `runtime`, in one process after the other.
fn give_mutants(session: &Session, runtime: Runtime, mutants: u64) -> Result<String, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::environment)?;
    let own = std::env::current_exe().map_err(Failure::environment)?;
    let (mut total, mut next, mut crashes, mut looped) = (Notes::default(), 0, 0, 0);
    while next < mutants {
        let notes = folder.path().join(format!("notes-{next}"));
        let file = File::create(&notes).and_then(|_| File::open(&notes)).map_err(Failure::environment)?;
        let arguments = [
            "malformed-child".to_owned(),
            "--runtime".into(),
            runtime.to_string(),
            "--seed".into(),
            session.seed().to_string(),
            "--from".into(),
            next.to_string(),
            "--to".into(),
            mutants.to_string(),
            "--notes".into(),
            notes.display().to_string(),
        ];
        let name = format!("{runtime} from mutant {next}");
        let mut process = Process::start(name, &own, arguments, folder.path().join("said"))?;
        let status = attend(&mut process, &file)?;
        let noted = Notes::read(&file);
        total.invalid += noted.invalid;
        total.no_extension += noted.no_extension;
        total.compiled += noted.compiled;
        total.ran += noted.ran;
        next = noted.at.max(next) + 1;
        match status {
            None => looped += 1,
            Some(status) if status.success() => break,
            Some(status) if is_crash(status) => {
                crashes += 1;
                tell(
                    session,
                    crashes,
                    format_args!(
                        "{runtime}: mutant {} of seed {}: {}: {}",
                        noted.at,
                        session.seed(),
                        manner(status),
                        process.last_words()
                    ),
                );
            }
            // Its engine has ended it, since it could not be interrupted otherwise.
            Some(_) if noted.at > 0 => looped += 1,
            Some(status) => {
                let words = process.last_words();
                return Err(Failure::environment(format_args!(
                    "{}: {}: {words}",
                    process.name(),
                    manner(status)
                )));
            }
        }
    }
    Ok(format!(
        "{mutants} mutants, {} invalid, {} no extensions, {} compiled, {} run, {looped} looped, {crashes} crashes",
        total.invalid, total.no_extension, total.compiled, total.ran
    ))
}

/// Waits for a child's end; kills it, and gives none, if one mutant takes too long.
fn attend(process: &mut Process, notes: &File) -> Result<Option<std::process::ExitStatus>, Failure> {
    let (mut at, mut since) = (Notes::default(), Instant::now());
    loop {
        if let Some(status) = process.wait_for(Duration::from_millis(50))? {
            return Ok(Some(status));
        }
        let noted = Notes::read(notes);
        if noted != at {
            (at, since) = (noted, Instant::now());
        }
        let limit = if at == Notes::default() { START_LIMIT } else { LIMIT };
        if since.elapsed() > limit {
            process.signal(Signal::KILL);
            process.wait_for(limit)?;
            return Ok(None);
        }
    }
}

/// Whether a process died of what a mutant did to it, by a fault or by a panic.
fn is_crash(status: std::process::ExitStatus) -> bool {
    let faults = [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::ABORT, Signal::TRAP];
    status.code() == Some(101)
        || status.signal().is_some_and(|signal| faults.iter().any(|f| f.as_raw() == signal))
}
