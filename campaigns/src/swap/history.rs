//! What signed when, as the operator knows it: what the records say is held against it.

use crate::support::journal::Line;

use super::operator::Module;

/// What serves a method from a generation on.
#[derive(Clone, Debug)]
struct Entry {
    generation: u32,
    /// The first eight bytes of the module's SHA-256 in hexadecimal digits, and what runs it.
    origin: (String, String),
    /// What the module answers, if it answers nothing else.
    stamp: Option<u64>,
    /// When the swap was asked for, and when it was known to be made: CLOCK_MONOTONIC, nanoseconds.
    asked_ns: u64,
    made_ns: u64,
}

/// The swaps of one signer: of the method whose records are looked at, and of others, which count too.
#[derive(Debug, Default)]
pub struct History {
    /// In the order of generations.
    entries: Vec<Entry>,
}

impl History {
    /// Notes that `module` serves. A swap of another method changes the generation alone.
    pub fn note(&mut self, module: &Module, is_other: bool, stamp: Option<u64>, asked_ns: u64, made_ns: u64) {
        let last = self.entries.last();
        let (origin, stamp) = match last.filter(|_| is_other) {
            Some(last) => (last.origin.clone(), last.stamp),
            None => {
                let short = module.sha256.get(..16).unwrap_or("0000000000000000");
                ((short.to_owned(), module.runtime.clone()), stamp)
            }
        };
        self.entries.push(Entry { generation: module.generation, origin, stamp, asked_ns, made_ns });
    }

    /// The last generation.
    pub fn generation(&self) -> u32 {
        self.entries.last().map_or(0, |entry| entry.generation)
    }

    /// Whether a line says that it was signed by what signed it, and at a time at which that could be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, line: &Line) -> Result<(), String> {
        let Line { generation, module, runtime, times, .. } = line;
        let at = self.entries.partition_point(|entry| entry.generation < *generation);
        let Some(entry) = self.entries.get(at).filter(|entry| entry.generation == *generation) else {
            return Err(format!("nobody has heard of generation {generation}"));
        };
        let module = if module.is_empty() { "0000000000000000" } else { module };
        if (module, runtime.as_str()) != (entry.origin.0.as_str(), entry.origin.1.as_str()) {
            return Err(format!(
                "generation {generation} is {:?}, and it says {module} on {runtime}",
                entry.origin
            ));
        }
        if let Some(stamp) = entry.stamp {
            let expected = hex::encode(stamp.to_le_bytes());
            if line.signature.as_deref() != Some(&expected) {
                let found = &line.signature;
                return Err(format!("generation {generation} answers {expected}, and this is {found:?}"));
            }
        }
        if times.signed_ns < entry.asked_ns {
            return Err(format!("signed with generation {generation} before anybody asked for that"));
        }
        // The first one that came later.
        if self.entries.get(at + 1).is_some_and(|next| next.made_ns <= times.claimed_ns) {
            return Err(format!("claimed for generation {generation} when the next one served"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn module(generation: u32, sha256: &str) -> Module {
        Module { method: "null".into(), generation, runtime: "wasmi".into(), sha256: sha256.into() }
    }

    fn line(generation: u32, module: &str, signature: &str, claimed_ns: u64, signed_ns: u64) -> Line {
        serde_json::from_value(json!({
            "seq": 1, "source": "alpha", "position": 0, "method": "null", "message_sha256": "", "signature": signature,
            "module": module, "generation": generation, "runtime": "wasmi",
            "times": { "intended_ns": 0, "verified_ns": 0, "claimed_ns": claimed_ns, "signed_ns": signed_ns },
        }))
        .unwrap()
    }

    #[test]
    fn a_record_says_what_signed_it_and_when_that_could_be() {
        let mut history = History::default();
        history.note(&module(1, "aaaaaaaaaaaaaaaa1111"), false, Some(7), 0, 0);
        history.note(&module(2, ""), true, None, 100, 200);
        history.note(&module(3, "bbbbbbbbbbbbbbbb2222"), false, Some(8), 300, 400);
        let (a, b) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        let (seven, eight) = ("0700000000000000", "0800000000000000");
        history.check(&line(1, a, seven, 150, 500)).unwrap();
        history.check(&line(2, a, seven, 399, 500)).unwrap();
        history.check(&line(3, b, eight, 100, 300)).unwrap();
        for (wrong, words) in [
            (line(4, b, eight, 500, 600), "heard of"),
            (line(3, a, eight, 500, 600), "it says"),
            (line(2, b, eight, 250, 260), "it says"),
            (line(3, b, seven, 500, 600), "answers"),
            (line(3, b, eight, 200, 299), "before anybody"),
            (line(2, a, seven, 400, 500), "next one served"),
        ] {
            let why = history.check(&wrong).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
