//! What a run's reader must not miss.

use super::Run;
use super::format::{count_of, thousands};
use super::page::Weight;
use crate::histograms::Stage;
use crate::output_folder::{INTERVAL_LOG, PRODUCER, SIGNER};

/// What went wrong in `run`, what makes its figures less than they seem, and what of it is missing.
pub(crate) fn of(run: &Run) -> Vec<(Weight, String)> {
    let mut said = Vec::new();
    outcomes(run, &mut said);
    measurements(run, &mut said);
    signer(run, &mut said);
    producer(run, &mut said);
    log(run, &mut said);
    said
}

/// Whether a record failed or didn't verify, or the run did not come to its end.
pub(crate) fn is_bad(run: &Run) -> bool {
    let mut said = Vec::new();
    outcomes(run, &mut said);
    said.iter().any(|(weight, _)| *weight == Weight::Bad)
}

fn outcomes(run: &Run, said: &mut Vec<(Weight, String)>) {
    let summary = &run.folder.summary;
    let counts = &summary.counts;
    if counts.not_verified > 0 {
        let messages = count_of(counts.not_verified, "signature");
        said.push((Weight::Bad, format!("{messages} did NOT VERIFY under the trusted keys.")));
    }
    if counts.failed > 0 {
        said.push((
            Weight::Bad,
            format!("{} FAILED: the signer had no signature for them.", count_of(counts.failed, "message")),
        ));
    }
    if summary.is_finished == Some(false) {
        said.push((Weight::Bad, "The run was interrupted: its ring had not come to its end.".to_owned()));
    }
    if counts.records > 0 && counts.verified == counts.records {
        let verifier = &summary.verifier;
        said.push((
            Weight::Good,
            format!("Every signature was verified, by {verifier}, under the keys that were to be trusted."),
        ));
    }
    if counts.unchecked > 0 {
        said.push((Weight::Note, format!("{} not verified by anybody.", was(counts.unchecked, "message"))));
    }
    if counts.void > 0 {
        said.push((
            Weight::Note,
            format!("{} left empty by a producer that died.", was(counts.void, "slot")),
        ));
    }
}

fn was(count: u64, what: &str) -> String {
    format!("{} {}", count_of(count, what), if count == 1 { "was" } else { "were" })
}

fn measurements(run: &Run, said: &mut Vec<(Weight, String)>) {
    let summary = &run.folder.summary;
    if !summary.measurement_only.is_empty() {
        said.push((Weight::Note, format!("For measurements only: {}.", summary.measurement_only.join(", "))));
    }
    for stage in Stage::ALL {
        let left_out = summary.stages.get(stage).out_of_order;
        if left_out > 0 {
            let (messages, name) = (count_of(left_out, "message"), stage.name());
            said.push((
                Weight::Note,
                format!("{messages} with stamps out of order: left out of the stage {name}."),
            ));
        }
    }
    if summary.resumed > 0 {
        let times = count_of(summary.resumed, "time");
        said.push((Weight::Note, format!("The consumer was stopped or killed, and went on: {times}.")));
    }
    let is_filled = summary.ring.is_none_or(|ring| summary.counts.records >= ring.capacity.into());
    if is_filled && run.folder.producer.as_ref().is_ok_and(|producer| producer.rate.is_none()) {
        let text = "No rate was given, so the ring was kept full: latencies tell how long it is more than anything else. \
                    Latencies can be compared between runs with a rate.";
        said.push((Weight::Note, text.to_owned()));
    }
}

fn signer(run: &Run, said: &mut Vec<(Weight, String)>) {
    let signer = match &run.folder.signer {
        Ok(signer) => signer,
        Err(error) => {
            let missing = "what signed, in how many workers, and in what time is not known";
            said.push((Weight::Note, format!("{SIGNER}: {error}; {missing}.")));
            return;
        }
    };
    for (count, what, rest) in [
        (signer.worker_deaths, "signing process", "died and was started again"),
        (signer.replacements, "instance", "was replaced, after a trap, a missed deadline or a full heap"),
        (signer.restores, "memory restore", "took place, after an error"),
    ] {
        if count > 0 {
            let rest = if count == 1 { rest.to_owned() } else { rest.replacen("was ", "were ", 1) };
            said.push((Weight::Note, format!("{} {rest}.", count_of(count, what))));
        }
    }
}

fn producer(run: &Run, said: &mut Vec<(Weight, String)>) {
    let producer = match &run.folder.producer {
        Ok(producer) => producer,
        Err(error) => {
            said.push((Weight::Note, format!("{PRODUCER}: {error}; what was asked for is not known.")));
            return;
        }
    };
    if producer.skipped > 0 {
        said.push((
            Weight::Bad,
            format!("{} left out: too long for the ring.", was(producer.skipped, "message")),
        ));
    }
    if !producer.is_complete {
        let asked =
            producer.messages.map_or(String::new(), |messages| format!(" of {}", thousands(messages)));
        let sent = thousands(producer.sent);
        said.push((Weight::Bad, format!("The producer ended early: it had sent {sent}{asked} messages.")));
    }
}

fn log(run: &Run, said: &mut Vec<(Weight, String)>) {
    let log = match &run.log {
        Ok(log) => log,
        Err(error) => {
            said.push((
                Weight::Note,
                format!("{INTERVAL_LOG}: {error}; there are no curves, and nothing over time."),
            ));
            return;
        }
    };
    if let Some(damage) = &log.damage {
        said.push((
            Weight::Bad,
            format!("{INTERVAL_LOG}: {damage}; this line and those behind it are left out of the pictures."),
        ));
    }
    let (drawn, counted) = (log.total(Stage::EndToEnd).len(), run.folder.summary.stages.end_to_end.count);
    if drawn != counted {
        let (drawn, counted) = (thousands(drawn), thousands(counted));
        said.push((Weight::Bad, format!("{INTERVAL_LOG} holds {drawn} messages, summary.json counts {counted}: the pictures show the former.")));
    }
}
