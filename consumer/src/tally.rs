//! What is counted of a record, beside its latencies, and what of a record is counted at all.

use std::collections::BTreeMap;

use cli::Method;
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Record, Times};
use crate::ring_end::AnsweredFor;
use crate::summary::{Counts, MessageBytes};

/// What of a record is counted. All of it stands in its journal line, so that a line can be counted in its place.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Its place in the ring's order.
    pub sequence: u64,
    /// The name of its source.
    pub source: &'a str,
    /// Its place in that source.
    pub position: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// How it is signed.
    pub method: Method,
    /// The runtime that signed it.
    pub runtime: &'a str,
    /// Bytes of its message.
    pub message_bytes: u64,
    /// When it passed each stage.
    pub times: Times,
}

impl<'a> From<&'a Record> for Counted<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            sequence: record.sequence,
            source: &record.source,
            position: record.position,
            outcome: record.outcome,
            method: record.method,
            runtime: record.runtime,
            message_bytes: record.message.len() as u64,
            times: record.times,
        }
    }
}

/// Counts of all records so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The sequence after the last that is answered for: each below it, from the run's first, is in the journal or
    /// was void.
    pub next_sequence: u64,
    /// For each source, the position after the last that is answered for.
    pub sources: BTreeMap<String, u64>,
    /// How many records ended how.
    pub counts: Counts,
    /// The names of the methods that occurred.
    pub methods: Vec<String>,
    /// The runtimes that signed.
    pub runtimes: Vec<String>,
    /// The lengths of the messages; `None` for no record.
    pub message_bytes: Option<MessageBytes>,
    /// When the first record was written.
    pub first_written_ns: Option<u64>,
    /// When the last record's verification was done.
    pub last_verified_ns: u64,
    /// Time spent verifying, over all threads. No line tells it: what was spent since the last checkpoint is the one
    /// thing that a kill loses.
    pub verify_busy_ns: u64,
}

impl Tally {
    /// A tally of a run that begins where the ring has got to by then.
    pub fn new(answered_for: &AnsweredFor) -> Self {
        Self {
            next_sequence: answered_for.below,
            sources: answered_for.sources.clone(),
            counts: Counts::default(),
            methods: Vec::new(),
            runtimes: Vec::new(),
            message_bytes: None,
            first_written_ns: None,
            last_verified_ns: 0,
            verify_busy_ns: 0,
        }
    }

    /// Counts a record. Its sequence must not be below [`Tally::next_sequence`].
    pub fn count(&mut self, record: &Counted<'_>) {
        self.pass(record.sequence);
        *match record.outcome {
            Outcome::Verified => &mut self.counts.verified,
            Outcome::NotVerified => &mut self.counts.not_verified,
            Outcome::Failed(_) | Outcome::Exhausted => &mut self.counts.failed,
            Outcome::Unchecked => &mut self.counts.unchecked,
            Outcome::Void => return self.pass(record.sequence.saturating_add(1)),
        } += 1;
        self.next_sequence = record.sequence.saturating_add(1);
        self.counts.records += 1;
        self.note_position(record);
        note(&mut self.methods, record.method.name());
        note(&mut self.runtimes, record.runtime);
        let len = record.message_bytes;
        let bytes = self.message_bytes.get_or_insert(MessageBytes { min: len, max: len, total: 0 });
        let total = bytes.total.saturating_add(len);
        *bytes = MessageBytes { min: bytes.min.min(len), max: bytes.max.max(len), total };
        self.first_written_ns.get_or_insert(record.times.written_ns);
        self.last_verified_ns = record.times.verified_ns;
    }

    fn note_position(&mut self, record: &Counted<'_>) {
        let next_position = record.position.saturating_add(1);
        match self.sources.get_mut(record.source) {
            Some(next) => *next = next_position.max(*next),
            None => drop(self.sources.insert(record.source.to_owned(), next_position)),
        }
    }

    /// The name of a source of which more is answered for than was counted here: somebody else has the records between,
    /// or they are lost.
    pub fn lacks<'a>(&self, answered_for: &'a AnsweredFor) -> Option<&'a str> {
        let counted = |name: &str| self.sources.get(name).copied().unwrap_or(0);
        let mut sources = answered_for.sources.iter();
        sources.find(|(name, next)| counted(name) < **next).map(|(name, _)| name.as_str())
    }

    /// Takes it that all sequences below `sequence` are answered for. Those not counted were void: only a record has a
    /// line in the journal, and every record that was answered for has one.
    pub fn pass(&mut self, sequence: u64) {
        let voids = sequence.saturating_sub(self.next_sequence);
        self.counts.void = self.counts.void.saturating_add(voids);
        self.next_sequence = self.next_sequence.max(sequence);
    }
}

/// Adds `name` to `names` if it isn't there.
fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sequence: u64, outcome: Outcome) -> Counted<'static> {
        let times = Times::default();
        let (method, runtime) = (Method::Ecdsa, "native");
        Counted {
            sequence,
            source: "a",
            position: sequence,
            outcome,
            method,
            runtime,
            message_bytes: 1,
            times,
        }
    }

    fn voids(first_sequence: u64, records: &[(u64, Outcome)], passed: u64) -> u64 {
        let mut tally = Tally::new(&AnsweredFor { below: first_sequence, ..AnsweredFor::default() });
        records.iter().for_each(|(sequence, outcome)| tally.count(&counted(*sequence, *outcome)));
        tally.pass(passed);
        assert_eq!(tally.next_sequence, passed);
        tally.counts.void
    }

    #[test]
    fn voids_are_counted_once_whether_they_are_seen_or_left_out() {
        let seen = [(7, Outcome::Void), (8, Outcome::Verified), (9, Outcome::Void), (10, Outcome::Failed(1))];
        let lines = [seen[1], seen[3]];
        assert_eq!((voids(7, &seen, 11), voids(7, &lines, 11)), (2, 2));
        assert_eq!(voids(7, &seen[..1], 8), 1, "before the first line");
        assert_eq!(voids(7, &lines[..1], 10), 2, "trailing ones");
        assert_eq!(voids(7, &[], 7), 0);
    }
}
