//! What `ringctl top --json` prints.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shmem_layout::{RingPath, RingSpec, Stage};

use super::page::runtime;
use super::sight::{Sight, Slowest};

/// Everything that is seen, in one object. What isn't known is null.
pub(crate) fn object(path: &RingPath, spec: &RingSpec, sight: &Sight) -> Value {
    let now = &sight.now;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let slots = Stage::ALL.map(|stage| (stage.name().to_owned(), Value::from(sight.slots(stage))));
    let three = |values: [Value; 3]| {
        let [written, signed, consumed] = values;
        json!({ "written": written, "signed": signed, "consumed": consumed })
    };
    let members = sight.members.iter().map(|(member, up_s)| {
        json!({
            "role": member.role.map(|role| role.name()),
            "pid": member.pid,
            "index": member.owner.index,
            "generation": member.owner.generation,
            "is_alive": member.is_alive,
            "up_s": up_s,
        })
    });
    let sources = now
        .sources
        .iter()
        .map(|source| json!({ "name": source.name, "next": source.next, "is_alive": source.is_alive }));
    json!({
        "ring": path.to_string(),
        "unix_ms": since_epoch.as_millis() as u64,
        "capacity": spec.capacity,
        "taken": sight.taken(),
        "lap": sight.lap(),
        "slots": Value::Object(slots.into_iter().collect()),
        "hints": { "head": now.head, "sign": now.sign, "tail": now.tail },
        "counts": three(sight.counts.map(Value::from)),
        "per_s": three(sight.per_s.map(Value::from)),
        "slowest": match sight.slowest() {
            Slowest::Signer => "signer",
            Slowest::Consumer => "consumer",
            Slowest::Producer => "producer",
        },
        "oldest": sight.oldest.map(|oldest| json!({
            "sequence": oldest.sequence, "stage": oldest.stage.name(), "age_ns": sight.oldest_age_ns,
        })),
        "signed_by": sight.signed_by.map(|by| json!({
            "runtime": runtime(by.runtime),
            "module": (by.module_id != 0).then(|| format!("{:016x}", by.module_id)),
            "generation": by.generation,
            "sequence": by.sequence,
        })),
        "swaps_seen": sight.swaps,
        "members": members.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
    })
}
