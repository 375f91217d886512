//! What `ringctl check` prints.

use std::fmt::Write;

use shmem_layout::{Held, RingPath, Snapshot, Stage};

/// What the dead have left and what is damaged, and whether nothing is.
pub(crate) fn report(path: &RingPath, now: &Snapshot) -> (String, bool) {
    let mut out = String::new();
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "{what:<10} {text}");
    };
    let alive = now.members.iter().filter(|member| member.is_alive).count();
    line("ring", path.to_string());
    line("members", format!("{alive} alive, {} dead", now.members.len() - alive));
    for held in &now.held {
        match held.recovery {
            Some(after) => line("dead", format!("{}: becomes {}", hands(now, held), outcome(held, after))),
            None => line("alive", format!("{}: is left alone", hands(now, held))),
        }
    }
    for damage in &now.damaged {
        line(
            "damaged",
            format!("slot {} holds the state {:#018x}, which is none", damage.slot, damage.state),
        );
    }
    // Others go on meanwhile: a hint that was read first may not be ahead of what was read later.
    for (name, hint, truth) in
        [("head", now.head, now.first_unclaimed), ("tail", now.tail, now.first_unfreed)]
    {
        if hint > truth && alive == 0 {
            line("hint", format!("{name} {hint} is ahead of {truth}: it is derived anew"));
        }
    }
    let is_sound = now.damaged.is_empty();
    let count = now.held.iter().filter(|held| held.recovery.is_some()).count();
    line(
        "verdict",
        match (is_sound, count) {
            (true, 0) => "sound; nothing to recover".to_owned(),
            (true, count) => format!("sound; {count} to recover, by whoever joins or waits next"),
            (false, _) => "damaged; its messages can't be relied on: remove it with `ringctl rm`".to_owned(),
        },
    );
    (out, is_sound)
}

/// Which slot is in whose hands.
fn hands(now: &Snapshot, held: &Held) -> String {
    let member = now.members.iter().find(|member| member.owner.index == held.owner.index);
    // Without a member of that name, whose it was can't be told.
    let pid =
        member.filter(|member| member.owner == held.owner).map(|member| format!(" (pid {})", member.pid));
    let role = if held.stage == Stage::Writing { "producer" } else { "signer" };
    let (index, generation) = (held.owner.index, held.owner.generation);
    format!(
        "sequence {} is {} by {role} {index}.{generation}{}",
        held.sequence,
        held.stage.name(),
        pid.unwrap_or_default()
    )
}

fn outcome(held: &Held, after: Stage) -> String {
    match after {
        Stage::Written => format!("written again, attempt {} behind it", held.attempts + 1),
        Stage::Failed => format!("failed, after {} attempts", held.attempts + 1),
        other => other.name().to_owned(),
    }
}
