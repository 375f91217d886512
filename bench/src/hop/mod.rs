//! The group `hop`: one record from one process to another, each on a core of its own.

mod drive;
mod floor;
mod iceoryx;
mod kind;
mod ringseal;
mod shared;
mod stream;
mod transport;
mod two_hops;

use tempfile::TempDir;

pub use kind::Kind;
pub use two_hops::role as two_hops_role;

use crate::clock::{TickRate, pin, unpin};
use crate::hop::drive::{Drive, Job, Received};
use crate::hop::transport::BATCH;
use crate::measure::{Case, Contender, Metric, Values, alternate};
use crate::probe::Probe;
use crate::process::{PATIENCE, Peer, Watchdog, work_folder};
use crate::report::Group;
use crate::{Plan, Result};

/// Counters that differ by more than this tell nothing about nanoseconds; less can't be told from an uneven way there and back.
const SKEW_NS_MAX: f64 = 60.0;

/// A contender's two ends, the sender's in this process.
struct Hop {
    kind: Kind,
    drive: Box<dyn Drive>,
    peer: Peer,
    job: Job,
    gap_ticks: u64,
    rate: TickRate,
    folder: TempDir,
}

impl Hop {
    fn open(kind: Kind, len: usize, job: Job, core: usize) -> Result<Self> {
        let folder = work_folder()?;
        let (drive, peer) =
            kind.open(folder.path(), len, core).map_err(|error| format!("{}: {error}", kind.name()))?;
        let rate = TickRate::measure();
        // A receiver that polls does so again after a microsecond; one that sleeps is asleep after fifty.
        let gap_ticks = rate.ticks_of(if kind.sleeps() { 50_000.0 } else { 1_000.0 });
        Ok(Self { kind, drive, peer, job, gap_ticks, rate, folder })
    }
}

impl Contender for Hop {
    fn name(&self) -> String {
        self.kind.name().into()
    }

    fn sample(&mut self) -> Result<Values> {
        let _watchdog = Watchdog::new(self.name(), 2 * PATIENCE)?;
        self.peer.tell(&serde_json::to_string(&self.job)?)?;
        self.peer.hear::<String>()?;
        if self.job.is_sustained {
            let begun = self.drive.sustained(self.job.count)?;
            let received: Received = self.peer.hear()?;
            let seconds = self.rate.ns_of(received.ended.saturating_sub(begun)) / 1e9;
            return Ok(Values::from([("records/s", self.job.count as f64 / seconds)]));
        }
        self.drive.one_by_one(self.job.count, self.gap_ticks)?;
        let received: Received = self.peer.hear()?;
        let ns = received.ticks.map(|ticks| ticks * self.rate.ns);
        Ok(["p50", "p99", "p99.9"].into_iter().zip(ns).collect())
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        iceoryx::remove_leftovers(self.folder.path());
    }
}

/// The metrics of a latency.
fn latency_metrics() -> Vec<Metric> {
    vec![Metric::compared("p50", "ns"), Metric::shown("p99", "ns"), Metric::shown("p99.9", "ns")]
}

/// Measures the group.
pub fn run(plan: &Plan, cores: &[usize]) -> Result<Group> {
    let mut group = Group { name: "hop", ..Group::default() };
    let [first, second, ..] = *cores else {
        group.skipped.push("a hop is between two cores, and this process may use one only".into());
        return Ok(group);
    };
    pin(first)?;
    let outcome = on_two_cores(plan, first, second, &mut group);
    unpin(cores)?;
    outcome.map(|()| group)
}

fn on_two_cores(plan: &Plan, first: usize, second: usize, group: &mut Group) -> Result<()> {
    group.notes.push(format!(
        "Sender on core {first}, receiver on core {second}. Near and far: a line between the two cores was timed before and after each sample; near is below 150 ns."
    ));
    let probe = Probe::new(second)?;
    let skew_ns = probe.skew_ns()?;
    if skew_ns.abs() > SKEW_NS_MAX {
        return Err(format!(
            "the counters of the two cores differ by {skew_ns:.0} ns: nothing can be timed with them"
        )
        .into());
    }
    group.notes.push(format!(
        "The two cores' counters, which times are read from, differ by about {skew_ns:.0} ns."
    ));
    // Contenders with records of `len` bytes; `job` says what each is to do.
    let of_kinds = |kinds: &[Kind], case: Case, len: usize, job: &dyn Fn(Kind) -> Job| {
        let contender = |kind: Kind| {
            let hop = Hop::open(kind, len, job(kind), second)?;
            Ok(Box::new(hop) as Box<dyn Contender>)
        };
        let contenders = kinds.iter().copied().map(contender).collect::<Result<_>>()?;
        alternate(case, contenders, plan, Some(&probe))
    };
    let references = vec!["floor".to_owned(), "iceoryx2".to_owned()];
    for len in [64, 256] {
        let job = |kind: Kind| {
            let count = plan.pick(if kind.sleeps() { 2_000 } else { 10_000 }, 200);
            Job { is_sustained: false, count }
        };
        let case = Case {
            title: format!("One record of {len} bytes, one way"),
            metrics: latency_metrics(),
            references: references.clone(),
            notes: vec!["From before it is published to having it in private memory; the next one is sent when it was received, 1 µs later, or 50 µs where the receiver sleeps. `floor` is a record of two lines (64 bytes), or three, without claims. Ringseal's slot is claimed ahead and iceoryx2's sample loaned ahead, but for the lines that say otherwise.".into()],
        };
        group.tables.push(of_kinds(&Kind::ALL, case, len, &job)?);
    }
    let job = |kind: Kind| {
        let batches = match kind {
            Kind::Floor | Kind::Ringseal(..) => plan.pick(16_384, 64),
            _ => plan.pick(4_096, 64),
        };
        Job { is_sustained: true, count: batches * BATCH as u64 }
    };
    let case = Case {
        title: format!("Records of 256 bytes, sustained, in batches of {BATCH}"),
        metrics: vec![Metric::compared("records/s", "")],
        references,
        notes: vec!["From the first one's publishing to having the last one in private memory; up to 1,024 under way. Ringseal's includes answering each and freeing its slot; iceoryx2's the loans.".into()],
    };
    // What is done ahead of a lone message is of no interest here.
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| !kind.repeats_sustained()).collect();
    group.tables.push(of_kinds(&kinds, case, 256, &job)?);
    group.tables.push(two_hops::measure(plan, &probe, first, second)?);
    Ok(())
}
