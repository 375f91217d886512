//! What `ringctl top` shows, in lines.

use cli::figures;
use shmem_layout::{RingPath, RingSpec, Stage};

use super::sight::{Sight, Slowest};

/// Characters of the bar.
const BAR: usize = 32;

/// Everything, a line each, however long.
pub(crate) fn lines(path: &RingPath, spec: &RingSpec, sight: &Sight) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<10} {value}"));
    let capacity = u64::from(spec.capacity);
    line("ring", format!("{path}, {} slots, lap {}", figures::count(capacity), figures::count(sight.lap())));
    let percent = figures::percent(sight.taken(), capacity);
    line(
        "fill",
        format!(
            "[{}] {percent:>3} %, {} of {} slots",
            figures::bar(sight.taken(), capacity, BAR),
            figures::count(sight.taken()),
            figures::count(capacity)
        ),
    );
    line("slowest", slowest(sight).to_owned());
    let rows = [("written", 0), ("signed", 1), ("consumed", 2)];
    for (name, i) in rows {
        let rate = sight.per_s[i].map_or("-".to_owned(), figures::rate);
        line(name, format!("{:>14}  {rate:>12}", figures::count(sight.counts[i])));
    }
    line("slots", stages(sight));
    line("oldest", oldest(sight));
    line("signed by", signed_by(sight));
    let past = sight.members.iter().filter(|(member, _)| !member.is_alive).count();
    for (member, up_s) in sight.members.iter().filter(|(member, _)| member.is_alive) {
        let role = member.role.map_or("unknown", |role| role.name());
        let up = up_s.map(|s| format!(", up {}", figures::time(std::time::Duration::from_secs(s))));
        let (owner, pid) = (member.owner, member.pid);
        let place = format!("index {}.{}", owner.index, owner.generation);
        line("member", format!("{role:<8} pid {pid:<8} alive{} ({place})", up.unwrap_or_default()));
    }
    if past > 0 {
        line("past", format!("{past} of the members are gone"));
    }
    for source in &sight.now.sources {
        let alive = if source.is_alive { "alive" } else { "gone" };
        line("source", format!("{:?} next {}, producer {alive}", source.name, figures::count(source.next)));
    }
    lines
}

fn slowest(sight: &Sight) -> &'static str {
    match sight.slowest() {
        Slowest::Signer => "the signers: most records wait for a signature",
        Slowest::Consumer => "the consumer: most records wait to be verified and freed",
        Slowest::Producer => "the producers: nothing piles up behind them",
    }
}

fn stages(sight: &Sight) -> String {
    let shown = Stage::ALL.iter().map(|stage| (stage, sight.slots(*stage)));
    // Those that come and go are always there, so that the line is quiet.
    let is_shown = |stage: &Stage, count: u64| {
        count > 0
            || matches!(stage, Stage::Free | Stage::Writing | Stage::Written | Stage::Signing | Stage::Signed)
    };
    let shown = shown.filter(|(stage, count)| is_shown(stage, *count));
    let shown: Vec<_> =
        shown.map(|(stage, count)| format!("{} {}", stage.name(), figures::count(count))).collect();
    shown.join(", ")
}

fn oldest(sight: &Sight) -> String {
    let Some(oldest) = sight.oldest else { return "none: nothing is pending".to_owned() };
    let age = sight.oldest_age_ns.map(|ns| format!(", since {}", figures::duration(ns)));
    format!(
        "sequence {} is {}{}",
        figures::count(oldest.sequence),
        oldest.stage.name(),
        age.unwrap_or_default()
    )
}

fn signed_by(sight: &Sight) -> String {
    let Some(by) = sight.signed_by else { return "nobody yet".to_owned() };
    let module = match by.module_id {
        0 => String::new(),
        id => format!(" module {id:016x},"),
    };
    format!("{},{module} generation {}; swaps seen: {}", runtime(by.runtime), by.generation, sight.swaps)
}

/// A runtime's name, for a number of the ring.
pub(super) fn runtime(number: u32) -> String {
    let name = (number as usize).checked_sub(1).and_then(|i| cli::RUNTIME_NAMES.get(i));
    name.map_or_else(|| format!("runtime {number}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_no_runtime_is_shown_as_it_is() {
        assert_eq!([0, 1, 4, 5, u32::MAX].map(runtime)[..4], ["runtime 0", "native", "wasm3", "runtime 5"]);
    }
}
