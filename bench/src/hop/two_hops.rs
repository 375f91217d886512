//! Three processes on two cores: a producer and a consumer on one, and between them, on the other, a signer that signs nothing.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shmem_layout::{Delivery, WaitStrategy, Waiting, attach};
use tempfile::TempDir;

use crate::clock::{TickRate, pin, ticks_after, ticks_before};
use crate::hop::drive::{check, fill, stamp_of};
use crate::hop::floor::Floor;
use crate::hop::kind::Manner;
use crate::hop::ringseal::{Claimer, Publisher, make_ring, ring_in};
use crate::hop::shared::{Acks, poll_then_yield};
use crate::hop::transport::{BATCH, CAPACITY, Receiver, Sender};
use crate::measure::{Case, Contender, Metric, Values, alternate};
use crate::probe::Probe;
use crate::process::{PATIENCE, Peer, Watchdog, say, told, work_folder};
use crate::report::Table;
use crate::stats::latencies;
use crate::{Plan, Result};

const LEN: usize = 64;
const SIGNATURE_LEN: usize = 64;
const RATE: f64 = 10_000.0;

/// What the consumer has measured, in ticks: 50th, 99th and 99.9th percentile.
#[derive(Serialize, Deserialize)]
struct Consumed {
    from_publishing: [f64; 3],
}

struct TwoHops {
    is_ringseal: bool,
    sender: Box<dyn Sender>,
    signer: Peer,
    consumer: Peer,
    acks: Acks,
    sent: u64,
    count: u64,
    rate: TickRate,
    _folder: TempDir,
}

impl TwoHops {
    fn open(is_ringseal: bool, count: u64, first: usize, second: usize) -> Result<Self> {
        let folder = work_folder()?;
        let path = folder.path();
        let sender: Box<dyn Sender> = if is_ringseal {
            make_ring(path, LEN)?;
            Box::new(Publisher::join(path, WaitStrategy::Adaptive, LEN, Manner::FreedByReceiver)?)
        } else {
            Box::new(Floor::open(path, "to-signer", LEN, true)?)
        };
        let text = path.to_str().ok_or("a folder's name is text")?;
        let kind = if is_ringseal { "ringseal" } else { "bare" };
        let start = |role: &str, core: usize| {
            let mut peer = Peer::start(&["two-hops", text, kind, role, &core.to_string()])?;
            peer.hear::<String>()?;
            Ok::<_, crate::Error>(peer)
        };
        let (signer, consumer) = (start("signer", second)?, start("consumer", first)?);
        let (acks, rate) = (Acks::open(path)?, TickRate::measure());
        Ok(Self { is_ringseal, sender, signer, consumer, acks, sent: 0, count, rate, _folder: folder })
    }
}

impl Contender for TwoHops {
    fn name(&self) -> String {
        if self.is_ringseal { "ringseal adaptive" } else { "bare rings" }.into()
    }

    fn sample(&mut self) -> Result<Values> {
        let _watchdog = Watchdog::new(self.name(), 2 * PATIENCE)?;
        for peer in [&mut self.signer, &mut self.consumer] {
            peer.tell(&self.count.to_string())?;
            peer.hear::<String>()?;
        }
        let mut message = [0; LEN];
        let period = self.rate.ticks_of(1e9 / RATE);
        let begun = ticks_before();
        for i in 1..=self.count {
            fill(&mut message, self.sent);
            while ticks_before() < begun + i * period {
                std::thread::yield_now();
            }
            poll_then_yield(|| (self.sent - self.acks.get() < CAPACITY as u64 / 2).then_some(()))?;
            message[..8].copy_from_slice(&ticks_before().to_le_bytes());
            self.sender.send(&message)?;
            self.sent += 1;
        }
        let consumed: Consumed = self.consumer.hear()?;
        self.signer.hear::<String>()?;
        let us = consumed.from_publishing.map(|ticks| ticks * self.rate.ns / 1000.0);
        Ok(["p50", "p99", "p99.9"].into_iter().zip(us).collect())
    }
}

/// Measures it.
pub fn measure(plan: &Plan, probe: &Probe, first: usize, second: usize) -> Result<Table> {
    let case = Case {
        title: "Two hops, three processes on two cores, 10,000 records/s".into(),
        metrics: vec![
            Metric::compared("p50", "µs"),
            Metric::compared("p99", "µs"),
            Metric::shown("p99.9", "µs"),
        ],
        references: vec!["bare rings".into()],
        notes: vec![format!(
            "Producer and consumer on core {first}, a signer that copies {SIGNATURE_LEN} bytes on core {second}; all spin and then yield. From publishing to having message and signature in private memory. `bare rings` are two of `floor`."
        )],
    };
    let count = plan.pick(3_000, 200);
    let contenders = [false, true].map(|is_ringseal| {
        Ok(Box::new(TwoHops::open(is_ringseal, count, first, second)?) as Box<dyn Contender>)
    });
    alternate(case, contenders.into_iter().collect::<Result<_>>()?, plan, Some(probe))
}

/// The other two processes: `FOLDER ringseal|bare signer|consumer CORE`.
pub fn role(folder: &Path, kind: &str, role: &str, core: usize) -> Result<()> {
    pin(core)?;
    match (kind, role) {
        ("ringseal", "signer") => ringseal_signer(folder),
        ("ringseal", "consumer") => ringseal_consumer(folder),
        ("bare", "signer") => bare_signer(folder),
        ("bare", "consumer") => bare_consumer(folder),
        _ => Err("no such role".into()),
    }
}

/// The next number of records to handle.
fn next_count() -> Result<Option<u64>> {
    let Some(line) = told()? else { return Ok(None) };
    let count = line.parse()?;
    say(&"go")?;
    Ok(Some(count))
}

fn ringseal_signer(folder: &Path) -> Result<()> {
    let mut claimer = Claimer::join(folder, WaitStrategy::Adaptive, false)?;
    let mut messages = [0; LEN * BATCH];
    say(&"ready")?;
    while let Some(count) = next_count()? {
        let mut done = 0;
        while done < count {
            done += claimer.receive(LEN, &mut messages)? as u64;
            claimer.answer(|i| &messages[i * LEN..][..SIGNATURE_LEN]);
        }
        say(&"done")?;
    }
    Ok(())
}

fn bare_signer(folder: &Path) -> Result<()> {
    let mut from = Floor::open(folder, "to-signer", LEN, true)?;
    let mut to = Floor::open(folder, "to-consumer", LEN + SIGNATURE_LEN, true)?;
    let mut record = [0; LEN + SIGNATURE_LEN];
    say(&"ready")?;
    while let Some(count) = next_count()? {
        for _ in 0..count {
            let (message, signature) = record.split_at_mut(LEN);
            from.next(message)?;
            signature.copy_from_slice(message);
            to.send(&record)?;
        }
        say(&"done")?;
    }
    Ok(())
}

/// Takes what `next` gives it (a message and its arrival), and says what it has measured.
fn consume(folder: &Path, mut next: impl FnMut(u64, &mut Vec<u8>) -> Result<u64>) -> Result<()> {
    let acks = Acks::open(folder)?;
    let (mut sequence, mut message) = (0, Vec::new());
    say(&"ready")?;
    while let Some(count) = next_count()? {
        let mut ticks = Vec::with_capacity(count as usize);
        for _ in 0..count {
            message.clear();
            let now = next(sequence, &mut message)?;
            ticks.push(now.saturating_sub(stamp_of(&message)));
            check(&message[..LEN], sequence)?;
            if message[..SIGNATURE_LEN] != message[LEN..] {
                return Err(format!("record {sequence} has another signature").into());
            }
            sequence += 1;
            acks.set(sequence);
        }
        say(&Consumed { from_publishing: latencies(&mut ticks) })?;
    }
    Ok(())
}

fn ringseal_consumer(folder: &Path) -> Result<()> {
    let consumer = attach(&ring_in(folder))?.join_consumer()?;
    let waiting = Waiting::new(WaitStrategy::Adaptive);
    let mut signature = Vec::with_capacity(SIGNATURE_LEN);
    consume(folder, |sequence, message| {
        signature.clear();
        let limit = Duration::from_secs(10);
        match consumer.read(sequence, message, &mut signature, &waiting, limit)? {
            Some(Delivery::Record(_)) => {}
            other => return Err(format!("{other:?} where record {sequence} should be").into()),
        }
        let now = ticks_after();
        consumer.free(sequence)?;
        consumer.flush();
        message.extend_from_slice(&signature);
        Ok(now)
    })
}

fn bare_consumer(folder: &Path) -> Result<()> {
    let mut from = Floor::open(folder, "to-consumer", LEN + SIGNATURE_LEN, true)?;
    consume(folder, |_, message| {
        message.resize(LEN + SIGNATURE_LEN, 0);
        from.next(message)?;
        Ok(ticks_after())
    })
}
