//! The modules that must not be taken, offered to a signer at work: it goes on with what it has, and no record is lost.

use std::fs;
use std::thread;
use std::time::Duration;

use cli::Failure;

use super::exhibits::{Exhibit, Fate};
use crate::support::journal::Line;
use crate::support::judge::judge_with;
use crate::support::load::{Load, Part, Shape, Totals, Trouble};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::swap::operator::Operator;

/// Messages a second from each of two producers: what the slowest interpreter signs with ease.
const RATE: u64 = 50;

/// Lines for each of them: more than are needed.
const LINES: u64 = 60_000;

/// Offers each of `exhibits` that must be refused; gives how many were, and what became of the records meanwhile.
///
/// # Errors
/// The campaign can't go on.
pub fn offer(
    session: &Session,
    runtime: &str,
    exhibits: &[(&Exhibit, &[u8])],
    rng: &mut Rng,
) -> Result<(u64, Totals), Failure> {
    let shape = Shape {
        runtime: runtime.into(),
        method: "ecdsa",
        signer_arguments: vec!["--deadline".into(), super::DEADLINE.as_millis().to_string()],
        consumer_arguments: Vec::new(),
        workers: 1,
        verify_threads: 1,
        capacity: 64,
        max_attempts: 3,
        sizes: 32..100,
        rate: Some(RATE),
        lines: LINES,
    };
    let mut load = Load::with_control(session, shape, rng)?;
    for part in [Part::Consumer, Part::Signer, Part::Producer(0), Part::Producer(1)] {
        load.start(part)?;
    }
    let operator = Operator::new(session, load.site());
    let mut refused = 0;
    let mut trouble = operator.await_status().map(drop).map_err(Trouble::from);
    for (exhibit, module) in exhibits.iter().filter(|(exhibit, _)| exhibit.fate == Fate::Refused) {
        trouble = trouble.and_then(|()| offer_one(&load, &operator, exhibit, module));
        if trouble.is_err() {
            break;
        }
        refused += 1;
    }
    // Somebody signs after the last one, too.
    thread::sleep(Duration::from_millis(100));
    let totals = load.finish_with(session, trouble, |site, ledgers| {
        let mut inspect = |line: &Line| match (line.generation, line.runtime == runtime) {
            (1, true) => Ok(()),
            _ => Err(format!("signed by generation {} on {}", line.generation, line.runtime)),
        };
        judge_with(&site.out(), site.public_key(), ledgers, "ecdsa", &mut inspect)
    })?;
    Ok((refused, totals))
}

fn offer_one(load: &Load, operator: &Operator, exhibit: &Exhibit, module: &[u8]) -> Result<(), Trouble> {
    let path = load.site().path(&format!("{}.wasm", exhibit.name));
    fs::write(&path, module)
        .map_err(|error| Failure::environment(format_args!("{}: {error}", path.display())))?;
    let path = path.display().to_string();
    let fault = |what: String| Err(Trouble::Fault(format!("{}: {what}", exhibit.name)));
    match operator.swap(&["ecdsa", &path])? {
        Ok(swapped) => fault(format!("it was taken: {:?}", swapped.module)),
        Err(why) => {
            let is_told = exhibit.words.iter().any(|words| why.contains(words.as_str()));
            if !is_told || !why.contains(&path) || why.lines().count() != 1 || why.contains('\x1b') {
                return fault(format!("refused without its name and {:?}: {why:?}", exhibit.words));
            }
            Ok(())
        }
    }
}
