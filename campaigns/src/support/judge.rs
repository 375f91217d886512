//! The judge: holds the consumer's journal and summary against the ledgers.
//!
//! It believes none of the programs: each message is the ledger's, and each signature is verified again.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use cli::Failure;
use secp256k1::{Message, PublicKey, ecdsa};
use sha2::{Digest, Sha256};

use super::journal::{Journal, Line, Summary};
use super::ledger::{Ledger, LedgerReader};

/// How many complaints are told in words; the rest is counted.
const TOLD_MAX: usize = 10;

/// What was delivered, and what was not as it should have been.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Lines in the journal.
    pub lines: u64,
    /// Lines of a ledger that are not in the journal.
    pub lost: u64,
    /// Lines in the journal that were there before.
    pub doubled: u64,
    /// Lines whose message or signature is not what it should be.
    pub unverified: u64,
    /// Lines without a signature: source, position, status.
    pub failed: Vec<(String, u64, String)>,
    /// Slots whose producer died while writing, as the consumer has counted them.
    pub void: u64,
    /// Lines that were looked at once more, and were not as they should be.
    pub misattributed: u64,
    /// What is signed.
    method: &'static str,
    /// What is wrong, in words: the first few complaints, figures that don't add up included. None, if all is well.
    pub complaints: Vec<String>,
}

/// A source, and the line that should come next.
struct Source<'a> {
    ledger: &'a Ledger,
    reader: LedgerReader<'a>,
    asked: u64,
    next: u64,
}

/// A signature to be verified, with its place for a complaint.
pub struct Signed {
    /// The SHA-256 of the message.
    pub digest: [u8; 32],
    /// r and s.
    pub signature: [u8; 64],
    /// The place in the ring's order.
    pub seq: u64,
}

/// Judges the consumer's folder `out`: of each ledger the first so many lines must stand in its journal, each once and in
/// order, signed by `public_key`; and its summary must be the summary of just that journal.
///
/// # Errors
/// Journal or ledger can't be read.
pub fn judge(out: &Path, public_key: &str, ledgers: &[(&Ledger, u64)]) -> Result<Judgement, Failure> {
    judge_with(out, public_key, ledgers, "ecdsa", &mut |_| Ok(()))
}

/// The same, of records of `method`, and with another look at each line: `inspect` says what is wrong with it. What
/// `null` signs is verified by nobody.
///
/// # Errors
/// Journal or ledger can't be read.
pub fn judge_with(
    out: &Path,
    public_key: &str,
    ledgers: &[(&Ledger, u64)],
    method: &'static str,
    inspect: &mut dyn FnMut(&Line) -> Result<(), String>,
) -> Result<Judgement, Failure> {
    let key = parse_key(public_key)?;
    let mut judgement = Judgement { method, ..Judgement::default() };
    let mut sources = Vec::new();
    for (ledger, asked) in ledgers {
        sources.push(Source { ledger, reader: ledger.reader()?, asked: *asked, next: 0 });
    }
    let mut signed = Vec::new();
    let (mut last_seq, mut end_to_end_ns) = (None, 0.0);
    if let Some(mut journal) = Journal::open(out)? {
        while let Some(line) = journal.next()? {
            judgement.lines += 1;
            match line {
                Err(why) => judgement.complain(why),
                Ok(line) => {
                    if last_seq.is_some_and(|last| last >= line.seq) {
                        judgement.complain(format!("sequence {} comes after {last_seq:?}", line.seq));
                    }
                    last_seq = Some(line.seq);
                    end_to_end_ns += line.times.verified_ns.saturating_sub(line.times.intended_ns) as f64;
                    judgement.take(&line, &mut sources, &mut signed)?;
                    if let Err(why) = inspect(&line) {
                        judgement.misattributed += 1;
                        judgement.complain(format!("sequence {}: {why}", line.seq));
                    }
                }
            }
        }
    }
    for source in &sources {
        judgement.lose(source, source.asked);
    }
    judgement.verify(&signed, &key);
    judgement.add_up(out, end_to_end_ns);
    Ok(judgement)
}

impl Judgement {
    /// Whether every line was delivered once and in order, and each that has a signature has a valid one.
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }

    fn complain(&mut self, why: String) {
        if self.complaints.len() < TOLD_MAX {
            self.complaints.push(why);
        }
    }

    /// Notes that the lines of `source` from its next one up to `position` are missing.
    fn lose(&mut self, source: &Source<'_>, position: u64) {
        if position > source.next {
            self.lost += position - source.next;
            let name = &source.ledger.source;
            self.complain(format!("lost: {name} from {} to before {position}", source.next));
        }
    }

    fn take(
        &mut self,
        line: &Line,
        sources: &mut [Source<'_>],
        signed: &mut Vec<Signed>,
    ) -> Result<(), Failure> {
        let at = format!("sequence {} ({} {})", line.seq, line.source, line.position);
        let Some(source) = sources.iter_mut().find(|source| source.ledger.source == line.source) else {
            self.complain(format!("{at}: there is no such source"));
            return Ok(());
        };
        if line.position < source.next {
            self.doubled += 1;
            self.complain(format!("doubled: {at}"));
            return Ok(());
        }
        self.lose(source, line.position);
        source.next = line.position + 1;
        if line.position >= source.asked {
            self.complain(format!("{at}: nobody has asked for it; the last one was {}", source.asked));
        }
        let digest: Option<[u8; 32]> =
            source.reader.line(line.position)?.map(|text| Sha256::digest(text).into());
        if digest.map(hex::encode).as_ref() != Some(&line.message_sha256) {
            self.unverified += 1;
            self.complain(format!("{at}: its message is not the ledger's"));
        }
        if let Some(status) = &line.status {
            self.failed.push((line.source.clone(), line.position, status.clone()));
            return Ok(());
        }
        if self.method == "null" && line.method == "null" {
            return Ok(());
        }
        let mut signature = [0; 64];
        let is_whole = hex::decode_to_slice(line.signature.as_deref().unwrap_or(""), &mut signature).is_ok();
        match digest {
            Some(digest) if is_whole && line.verified == Some(true) && line.method == self.method => {
                signed.push(Signed { digest, signature, seq: line.seq });
            }
            _ => {
                self.unverified += 1;
                self.complain(format!("{at}: not verified, or no signature, or no line of the ledger"));
            }
        }
        Ok(())
    }

    /// Verifies every signature, on all cores.
    fn verify(&mut self, signed: &[Signed], key: &PublicKey) {
        let invalid = invalid(signed, key);
        self.unverified += invalid.len() as u64;
        for seq in invalid {
            self.complain(format!(
                "sequence {seq}: the consumer says verified, and the signature is not valid"
            ));
        }
    }

    /// Holds the summary against what stands in the journal.
    fn add_up(&mut self, out: &Path, end_to_end_ns: f64) {
        let summary = match Summary::read(out) {
            Ok(summary) => summary,
            Err(why) => return self.complain(why),
        };
        self.void = summary.counts.void;
        let (failed, counts) = (self.failed.len() as u64, &summary.counts);
        let end_to_end = &summary.stages.end_to_end;
        let verified = if self.method == "null" { 0 } else { self.lines - failed };
        let figures = [
            ("records", counts.records, self.lines),
            ("verified", counts.verified, verified),
            ("not verified", counts.not_verified, 0),
            ("failed", counts.failed, failed),
            ("end-to-end latencies", end_to_end.count + end_to_end.out_of_order, self.lines - failed),
        ];
        for (name, found, expected) in figures {
            if found != expected {
                self.complain(format!("summary.json has {found} {name}, and the journal {expected}"));
            }
        }
        // A histogram keeps three digits.
        let mean = end_to_end_ns / self.lines.max(1) as f64;
        let found = end_to_end.mean_ns.unwrap_or(0.0);
        if failed == 0 && (found - mean).abs() > mean / 500.0 + 1.0 {
            self.complain(format!(
                "summary.json has an end-to-end mean of {found} ns, and the journal {mean} ns"
            ));
        }
    }
}

/// Verifies every signature, on all cores; gives those that are not valid.
pub fn invalid(signed: &[Signed], key: &PublicKey) -> Vec<u64> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let chunk = signed.len().div_ceil(threads).max(1);
    let is_invalid = |signed: &&Signed| {
        !ecdsa::Signature::from_compact(&signed.signature)
            .is_ok_and(|signature| signature.verify(Message::from_digest(signed.digest), key).is_ok())
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = signed
            .chunks(chunk)
            .map(|lane| {
                scope.spawn(move || lane.iter().filter(is_invalid).map(|signed| signed.seq).collect())
            })
            .collect();
        // A lane that panicked has verified nothing.
        lanes.into_iter().flat_map(|lane| lane.join().unwrap_or(vec![u64::MAX])).collect()
    })
}

/// The key that `signer keygen` has printed.
///
/// # Errors
/// It is none.
pub fn parse_key(public_key: &str) -> Result<PublicKey, Failure> {
    let mut bytes = [0; 33];
    let decoded = hex::decode_to_slice(public_key, &mut bytes).ok();
    decoded
        .and_then(|()| PublicKey::from_byte_array_compressed(bytes).ok())
        .ok_or_else(|| Failure::failed(format_args!("`signer keygen` printed no public key: {public_key:?}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use k256::ecdsa::signature::Signer;
    use k256::ecdsa::{Signature, SigningKey};
    use serde_json::{Value, json};

    use super::*;

    const LINES: u64 = 4;

    /// What a consumer leaves of a run in which all was well, for a test to spoil.
    struct Run {
        folder: tempfile::TempDir,
        lines: Vec<Value>,
        public_key: String,
    }

    impl Run {
        fn new() -> Self {
            let key = SigningKey::from_slice(&[7; 32]).unwrap();
            let public_key = hex::encode(key.verifying_key().to_sec1_point(true).as_bytes());
            let lines = (0..LINES).map(|position| {
                let message = format!("message {position}");
                let signature: Signature = key.sign(message.as_bytes());
                json!({
                    "seq": 10 + position, "source": "alpha", "position": position, "method": "ecdsa",
                    "message_sha256": hex::encode(Sha256::digest(message)),
                    "signature": hex::encode(signature.to_bytes()), "verified": true,
                    "times": { "intended_ns": 1000, "verified_ns": 2000 },
                })
            });
            Self { folder: tempfile::tempdir().unwrap(), lines: lines.collect(), public_key }
        }

        fn judge(&self) -> Judgement {
            let path = self.folder.path().join("ledger");
            fs::write(&path, "message 0\nmessage 1\nmessage 2\nmessage 3\n").unwrap();
            let journal: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(self.folder.path().join("signatures.ndjson"), journal).unwrap();
            let count = self.lines.len();
            let failed = self.lines.iter().filter(|line| !line["status"].is_null()).count();
            let signed = count - failed;
            let summary = json!({
                "counts": { "records": count, "verified": signed, "not_verified": 0, "failed": failed, "void": 0 },
                "stages": { "end_to_end": { "count": signed, "out_of_order": 0, "mean_ns": 1000.0 } },
            });
            fs::write(self.folder.path().join("summary.json"), summary.to_string()).unwrap();
            let ledger = Ledger { source: "alpha".into(), path, lines: LINES };
            judge(self.folder.path(), &self.public_key, &[(&ledger, LINES)]).unwrap()
        }

        /// Lost, doubled, unverified, complaints, after `spoil`.
        fn after(spoil: impl FnOnce(&mut Vec<Value>)) -> [u64; 4] {
            let mut run = Self::new();
            spoil(&mut run.lines);
            let judgement = run.judge();
            let complaints = judgement.complaints.len() as u64;
            [judgement.lost, judgement.doubled, judgement.unverified, complaints]
        }
    }

    #[test]
    fn a_run_in_which_all_was_well_is_good() {
        assert_eq!(Run::after(|_| {}), [0, 0, 0, 0]);
    }

    #[test]
    fn lines_that_are_missing_in_the_middle_or_at_the_end_are_lost() {
        assert_eq!(Run::after(|lines| drop(lines.remove(1))), [1, 0, 0, 1]);
        assert_eq!(Run::after(|lines| lines.truncate(2)), [2, 0, 0, 1]);
        assert_eq!(Run::after(Vec::clear), [LINES, 0, 0, 2], "and there is no mean");
    }

    #[test]
    fn a_line_that_comes_again_is_doubled_under_whatever_sequence() {
        let again = Run::after(|lines| {
            let mut line = lines[1].clone();
            line["seq"] = 99.into();
            lines.push(line);
        });
        assert_eq!(again, [0, 1, 0, 1]);
    }

    #[test]
    fn what_the_consumer_calls_verified_is_verified_again() {
        let swapped = Run::after(|lines| lines[0]["signature"] = lines[1]["signature"].clone());
        assert_eq!(swapped, [0, 0, 1, 1]);
        assert_eq!(Run::after(|lines| lines[0]["verified"] = false.into()), [0, 0, 1, 1]);
        assert_eq!(Run::after(|lines| lines[0]["signature"] = Value::Null), [0, 0, 1, 1]);
    }

    #[test]
    fn a_valid_signature_of_another_message_is_none() {
        let swapped = Run::after(|lines| {
            for field in ["message_sha256", "signature"] {
                lines[0][field] = lines[1][field].clone();
            }
        });
        assert_eq!(swapped[2], 2, "neither the message nor its signature is the ledger's");
    }

    #[test]
    fn a_torn_line_and_a_line_out_of_sequence_are_told() {
        let torn = Run::after(|lines| lines[3] = "torn".into());
        assert!(torn[0] == 1 && torn[3] >= 2, "{torn:?}");
        assert_eq!(Run::after(|lines| lines[1]["seq"] = 10.into())[3], 1);
    }

    #[test]
    fn who_failed_is_named() {
        let mut run = Run::new();
        (run.lines[2]["status"], run.lines[2]["signature"]) = ("Exhausted".into(), Value::Null);
        run.lines[2]["verified"] = Value::Null;
        let judgement = run.judge();
        assert_eq!(judgement.failed, [("alpha".into(), 2, "Exhausted".into())]);
        assert!(judgement.complaints.is_empty(), "{:?}", judgement.complaints);
    }
}
