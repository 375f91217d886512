//! What `ringctl show` prints.

use std::fmt::Write;

use shmem_layout::{RingPath, RingSpec, Snapshot, Stage};

pub(crate) fn text(path: &RingPath, spec: &RingSpec, now: &Snapshot) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<10} {value}");
    };
    let ring_id: String = spec.ring_id.iter().map(|byte| format!("{byte:02x}")).collect();
    line("ring", path.to_string());
    line("id", format!("{ring_id}, layout version {}", spec.layout_version));
    line(
        "slots",
        format!(
            "{} of {} bytes, message {} bytes, signature {} bytes, max attempts {}",
            spec.capacity, spec.stride, spec.message_capacity, spec.signature_capacity, spec.max_attempts
        ),
    );
    line("hints", format!("head {}, sign {}, tail {}", now.head, now.sign, now.tail));
    let stages = Stage::ALL.iter().zip(now.slots).filter(|(_, count)| *count > 0);
    let mut stages: Vec<String> = stages.map(|(stage, count)| format!("{} {count}", stage.name())).collect();
    if !now.damaged.is_empty() {
        stages.push(format!("damaged {}", now.damaged.len()));
    }
    line("stages", stages.join(", "));
    let alive = |is_alive: bool| if is_alive { "alive" } else { "dead" };
    for member in &now.members {
        let role = member.role.map_or("unknown", |role| role.name());
        let place = format!("index {}.{}", member.owner.index, member.owner.generation);
        line("member", format!("{role:<8} pid {:<8} {} ({place})", member.pid, alive(member.is_alive)));
    }
    for source in &now.sources {
        line(
            "source",
            format!("{:?} next {}, producer {}", source.name, source.next, alive(source.is_alive)),
        );
    }
    out
}
