//! What is seen of a ring at one look, and what follows from the looks before.

use std::fs;
use std::time::{Duration, Instant};

use cli::figures::Rate;
use shmem_layout::{Member, Oldest, RingError, RingSpec, SignedBy, Snapshot, Stage, View, now_ns};

/// The kernel's clock ticks in a second, as /proc counts them: the same on every x86-64.
const TICKS_PER_S: u64 = 100;

/// One look at a ring.
pub(crate) struct Sight {
    pub spec: RingSpec,
    pub now: Snapshot,
    /// Records written, answered and freed since the ring was made.
    pub counts: [u64; 3],
    /// The same a second; none at the first look.
    pub per_s: [Option<f64>; 3],
    pub oldest: Option<Oldest>,
    /// How long ago that was written.
    pub oldest_age_ns: Option<u64>,
    pub signed_by: Option<SignedBy>,
    /// How often what signs has changed since the first look.
    pub swaps: u64,
    /// Members, those that live first, and how many seconds the process of each that lives has been up.
    pub members: Vec<(Member, Option<u64>)>,
}

/// Where records pile up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slowest {
    /// More wait for a signature than for anything else.
    Signer,
    /// More wait to be verified and freed.
    Consumer,
    /// Nothing piles up: producers are what the others wait for.
    Producer,
}

/// Looks again and again.
pub(crate) struct Watch<'a> {
    view: &'a View,
    since: Instant,
    rates: [Rate; 3],
    signed_by: Option<SignedBy>,
    swaps: u64,
}

impl<'a> Watch<'a> {
    pub fn new(view: &'a View) -> Self {
        Self { view, since: Instant::now(), rates: Default::default(), signed_by: None, swaps: 0 }
    }

    /// Takes a look.
    ///
    /// # Errors
    /// A damaged ring, or a kernel that doesn't say who lives.
    pub fn look(&mut self) -> Result<Sight, RingError> {
        let now = self.view.snapshot()?;
        if let Some(damage) = now.damaged.first() {
            return Err(RingError::Damaged { slot: damage.slot, state: damage.state });
        }
        let counts = counts(&now);
        let at = self.since.elapsed();
        let mut per_s = [None; 3];
        for (i, rate) in self.rates.iter_mut().enumerate() {
            per_s[i] = rate.at(at, counts[i]);
        }
        let oldest = self.view.oldest(now.first_unfreed);
        let signed_by = self.view.signed_by();
        self.note(signed_by);
        Ok(Sight {
            spec: self.view.spec().clone(),
            counts,
            per_s,
            oldest,
            // A time that is yet to come is a lie, or a clock's that is not ours.
            oldest_age_ns: oldest.and_then(|oldest| now_ns().checked_sub(oldest.written_ns?)),
            signed_by: self.signed_by,
            swaps: self.swaps,
            members: members(&now),
            now,
        })
    }

    /// Counts a swap, if what signs is another than before. Several signers may take turns: only a new generation counts, or
    /// another module or runtime of the same.
    fn note(&mut self, signed_by: Option<SignedBy>) {
        let Some(new) = signed_by else { return };
        if let Some(old) = self.signed_by {
            let what = |by: SignedBy| (by.generation, by.module_id, by.runtime);
            self.swaps += u64::from(what(old) != what(new));
        }
        self.signed_by = Some(new);
    }
}

/// Records written, answered and freed, from the slots: hints may lag behind.
fn counts(now: &Snapshot) -> [u64; 3] {
    let of = |stage: Stage| now.slots[stage as usize - 1];
    let freed = now.first_unfreed;
    let answered = freed.saturating_add(of(Stage::Signed) + of(Stage::Failed) + of(Stage::Void));
    let claimed = of(Stage::Writing) + of(Stage::Closed);
    [now.first_unclaimed.saturating_sub(claimed), answered, freed]
}

impl Sight {
    /// How many slots are in `stage`.
    pub fn slots(&self, stage: Stage) -> u64 {
        self.now.slots[stage as usize - 1]
    }

    /// How many slots are taken.
    pub fn taken(&self) -> u64 {
        u64::from(self.spec.capacity).saturating_sub(self.slots(Stage::Free))
    }

    /// How often the ring has been gone through.
    pub fn lap(&self) -> u64 {
        self.now.first_unfreed / u64::from(self.spec.capacity.max(1))
    }

    /// Whom the others wait for.
    pub fn slowest(&self) -> Slowest {
        let signer = self.slots(Stage::Written) + self.slots(Stage::Signing);
        let consumer = self.slots(Stage::Signed) + self.slots(Stage::Failed) + self.slots(Stage::Void);
        slowest(signer, consumer, self.spec.capacity.into())
    }
}

/// Who is slowest, if so many records wait for signers and for the consumer: less than a sixteenth of the ring is no pile.
fn slowest(signer: u64, consumer: u64, capacity: u64) -> Slowest {
    match signer.max(consumer) {
        most if most <= capacity / 16 => Slowest::Producer,
        most if most == signer => Slowest::Signer,
        _ => Slowest::Consumer,
    }
}

fn members(now: &Snapshot) -> Vec<(Member, Option<u64>)> {
    let mut members: Vec<_> = now
        .members
        .iter()
        .map(|member| (*member, member.is_alive.then(|| up_s(member.pid)).flatten()))
        .collect();
    members.sort_by_key(|(member, _)| {
        (!member.is_alive, member.role.map(|role| role as u8), member.owner.index)
    });
    members
}

/// How many seconds ago the process `pid` was started.
fn up_s(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    up_of(&stat, &uptime)
}

/// The same, of what the kernel says.
fn up_of(stat: &str, uptime: &str) -> Option<u64> {
    // The program's name, in brackets, may hold anything; the start is the 22nd field, the 20th behind it.
    let start: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let up = Duration::try_from_secs_f64(up).ok()?;
    up.as_secs().checked_sub(start / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_who_most_records_wait_for_unless_they_are_few() {
        assert_eq!(slowest(0, 0, 8), Slowest::Producer);
        assert_eq!(slowest(64, 10, 1024), Slowest::Producer);
        assert_eq!(slowest(65, 10, 1024), Slowest::Signer);
        assert_eq!(slowest(500, 501, 1024), Slowest::Consumer);
        assert_eq!(slowest(1, 0, 8), Slowest::Signer, "a small ring");
    }

    #[test]
    fn a_process_may_be_called_anything_and_has_a_start_all_the_same() {
        let stat = format!("7 (a) b (c) S {} 4200 9 9", ["1"; 18].join(" "));
        assert_eq!(up_of(&stat, "100.5 3.0"), Some(58));
        assert_eq!(up_of(&stat, "1.0 3.0"), None, "not before the machine");
        assert_eq!(up_of("", "100.5"), None);
    }
}
