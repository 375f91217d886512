//! What ran. What a folder doesn't tell is said not to be recorded.

use super::Run;
use super::format::{count_of, decimal, rate, thousands, utc};
use crate::run_folder::{ProducerReport, SignerReport};
use crate::summary::Summary;

const UNRECORDED: &str = "not recorded";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub label: &'static str,
    pub text: String,
}

/// All of them, the same labels for every run.
pub(crate) fn of(run: &Run) -> Vec<Fact> {
    let (summary, signer, producer) =
        (&run.folder.summary, run.folder.signer.as_ref().ok(), run.folder.producer.as_ref().ok());
    let all = [
        ("Started", Some(utc(summary.started_unix_s))),
        ("Runtime", Some(runtime(summary, signer))),
        ("Method", Some(summary.method())),
        ("Module", signer.map(modules)),
        ("Messages", producer.map(messages)),
        ("Message size", Some(sizes(summary))),
        (
            "Rate offered",
            producer.map(|producer| producer.rate.map_or("as fast as the ring took them".to_owned(), rate)),
        ),
        ("Rate achieved", Some(summary.messages_per_s.map_or("–".to_owned(), rate))),
        (
            "Ring",
            summary.ring.map(|ring| {
                let (slots, bytes) =
                    (thousands(ring.capacity.into()), thousands(ring.message_capacity.into()));
                format!(
                    "{slots} slots of up to {bytes} bytes, {} to sign a record",
                    count_of(ring.max_attempts.into(), "attempt")
                )
            }),
        ),
        ("Workers", signer.and_then(workers)),
        (
            "Verifier",
            Some(format!("{}, in {}", summary.verifier, count_of(summary.verifier_threads as u64, "thread"))),
        ),
        (
            "Waiting",
            Some(per_role([
                ("producer", producer.map(|producer| producer.wait.clone())),
                ("signer", signer.and_then(|signer| signer.wait.clone())),
                ("consumer", Some(summary.wait.clone())),
            ])),
        ),
        (
            "Pinned to",
            Some(per_role([
                ("producer", producer.map(|producer| placement(&producer.cpus, producer.prefault))),
                (
                    "signer",
                    signer.and_then(|signer| Some(placement(signer.cpus.as_ref()?, signer.prefault?))),
                ),
                (
                    "consumer",
                    summary
                        .cpus
                        .as_ref()
                        .zip(summary.prefault)
                        .map(|(cpus, prefault)| placement(cpus, prefault)),
                ),
            ])),
        ),
        (
            "Processor",
            summary.machine.as_ref().map(|machine| {
                let cpus = machine.cpus.map_or(String::new(), |cpus| format!("{cpus} × "));
                format!("{cpus}{}", machine.cpu.as_deref().unwrap_or(UNRECORDED))
            }),
        ),
        (
            "Kernel",
            summary
                .machine
                .as_ref()
                .and_then(|machine| machine.kernel.as_ref())
                .map(|kernel| format!("Linux {kernel}")),
        ),
        (
            "Trusted keys",
            Some(if summary.public_keys.is_empty() {
                "none".to_owned()
            } else {
                summary.public_keys.join(", ")
            }),
        ),
    ];
    all.into_iter().map(|(label, text)| Fact { label, text: text.unwrap_or(UNRECORDED.to_owned()) }).collect()
}

fn runtime(summary: &Summary, signer: Option<&SignerReport>) -> String {
    let names = if summary.runtimes.is_empty() {
        signer.map_or(UNRECORDED.to_owned(), |signer| signer.runtime.clone())
    } else {
        summary.runtimes.join(", ")
    };
    match signer {
        Some(signer) if signer.is_swapping => {
            format!("{names}, one instance whose module was swapped {}", count_of(signer.swaps, "time"))
        }
        Some(signer) if signer.swaps > 0 => format!("{names}, {}", count_of(signer.swaps, "module swap")),
        _ => names,
    }
}

fn modules(signer: &SignerReport) -> String {
    if signer.methods.is_empty() {
        return "none was called".to_owned();
    }
    let module = |method: &crate::run_folder::SignedMethod| match (&method.variant, &method.module_sha256) {
        (variant, Some(sha256)) => {
            let variant = variant.as_ref().map_or(String::new(), |variant| format!("{variant}, "));
            format!("{} ({variant}on {}): sha256 {sha256}", method.method, method.runtime)
        }
        (_, None) => format!("{}: built in, native", method.method),
    };
    signer.methods.iter().map(module).collect::<Vec<_>>().join("; ")
}

fn messages(producer: &ProducerReport) -> String {
    let all = || producer.messages.map_or("all".to_owned(), thousands);
    match &producer.input {
        Some(input) if input == "-" => format!("{} of standard input", all()),
        Some(input) => format!("{} of {input}", all()),
        None => format!("{} generated from seed {}", all(), producer.seed),
    }
}

fn sizes(summary: &Summary) -> String {
    match summary.message_bytes {
        None => "–".to_owned(),
        Some(bytes) if bytes.min == bytes.max => {
            format!("{}, {} in all", count_of(bytes.min, "byte"), thousands(bytes.total))
        }
        Some(bytes) => {
            let (min, max, total) = (thousands(bytes.min), thousands(bytes.max), thousands(bytes.total));
            format!("{min} to {max} bytes, {total} in all")
        }
    }
}

fn workers(signer: &SignerReport) -> Option<String> {
    let workers = match signer.workers? {
        1 => "1 process".to_owned(),
        many => format!("{} processes", thousands(many)),
    };
    let most = signer
        .batch
        .map_or(String::new(), |batch| format!(", up to {} at a time", count_of(batch, "record")));
    let mean = signer.batches.filter(|batches| *batches > 0).map_or(String::new(), |batches| {
        let records = decimal(signer.signed as f64 / batches as f64, 1);
        format!("; {} signed in {} batches, {records} in each", thousands(signer.signed), thousands(batches))
    });
    Some(format!("{workers}{most}{mean}"))
}

fn placement(cpus: &str, prefault: bool) -> String {
    let cpus = if cpus == "any" { "no processor".to_owned() } else { format!("processor {cpus}") };
    if prefault { format!("{cpus}, ring mapped beforehand") } else { cpus }
}

/// What each role says; once, if all say the same.
fn per_role(roles: [(&str, Option<String>); 3]) -> String {
    let said = roles.clone().map(|(_, text)| text.unwrap_or(UNRECORDED.to_owned()));
    if said.iter().all(|text| *text == said[0]) {
        return said[0].clone();
    }
    roles.iter().zip(&said).map(|((role, _), text)| format!("{role}: {text}")).collect::<Vec<_>>().join("; ")
}
