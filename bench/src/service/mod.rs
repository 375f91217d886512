//! The group `service`: what a user would build instead of Ringseal, with the same key and the same messages.

mod grpc;
mod hostile;
mod load;
mod redis_streams;
mod signer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bench_signing::{MESSAGES, Signing, message};
use extension_engine::Runtime;

use crate::measure::{Case, Contender, Metric, Values, alternate};
use crate::pipeline::{Content, Programs, Setup};
use crate::process::{Peer, work_folder};
use crate::report::{Group, Table};
use crate::service::hostile::{At, Beside};
use crate::service::load::{Load, Order};
use crate::{Plan, Result};

/// The other processes: `grpc|redis signer|client FOLDER`.
pub fn role(kind: &str, role: &str, folder: &Path) -> Result<()> {
    match (kind, role) {
        ("grpc", "signer") => grpc::serve(&folder.join("grpc")),
        ("grpc", "client") => grpc::load(&folder.join("grpc")),
        ("redis", "signer") => redis_streams::serve(folder),
        ("redis", "client") => redis_streams::load(folder),
        _ => Err("no such role".into()),
    }
}

/// What is asked of every contender.
#[derive(Clone, Copy)]
struct Task {
    messages: u64,
    rate: Option<f64>,
}

/// What a contender came to in one go.
struct Served {
    signatures_per_s: f64,
    end_to_end_us: [f64; 3],
    cpu: Duration,
}

/// A signing service. Run anew each time, so that all its CPU time is known.
struct Service<'a> {
    name: &'static str,
    task: Task,
    /// Microseconds of a signature in a bare loop.
    bare_us: f64,
    serve: Box<dyn Fn(Task) -> Result<Served> + 'a>,
}

impl Contender for Service<'_> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn sample(&mut self) -> Result<Values> {
        // What it takes to start and to end is no part of a signature.
        let idle = (self.serve)(Task { messages: 1, ..self.task })?;
        let served = (self.serve)(self.task)?;
        let cpu_us =
            served.cpu.saturating_sub(idle.cpu).as_nanos() as f64 / 1000.0 / self.task.messages as f64;
        let mut values = Values::from([("CPU", cpu_us / 100.0), ("above bare", cpu_us - self.bare_us)]);
        if self.task.rate.is_some() {
            let [p50_us, ..] = served.end_to_end_us;
            values.insert("p50 above bare", p50_us - self.bare_us);
            values.extend(["p50", "p99", "p99.9"].into_iter().zip(served.end_to_end_us));
        } else {
            values.insert("signatures/s", served.signatures_per_s);
        }
        Ok(values)
    }
}

/// One that is a signer's and a client's process, and with Redis a server's.
fn peer(kind: &str, task: Task, known: &[Vec<u8>]) -> Result<Served> {
    let folder = work_folder()?;
    let text = folder.path().to_str().ok_or("a folder's name is text")?;
    let server = if kind == "redis" { Some(redis_streams::start_server(folder.path())?) } else { None };
    let mut signer = Peer::start(&["service", kind, "signer", text])?;
    signer.hear::<String>()?;
    let mut client = Peer::start(&["service", kind, "client", text])?;
    client.hear::<String>()?;
    let order = Order { count: task.messages, rate: task.rate, known: known.to_vec() };
    client.tell(&serde_json::to_string(&order)?)?;
    let Load { signatures_per_s, end_to_end_us } = client.hear()?;
    let mut cpu = client.finish()? + signer.finish()?;
    if let Some(server) = server {
        cpu += server.stop()?;
    }
    Ok(Served { signatures_per_s, end_to_end_us, cpu })
}

/// Ringseal's own programs.
fn ringseal(programs: &Programs, runtime: &'static str, task: Task, lines: &Path) -> Result<Served> {
    let setup = Setup {
        content: Content::Lines(lines.to_owned()),
        rate: task.rate,
        ..Setup::new(runtime, "ecdsa", task.messages)
    };
    let ran = programs.run(&setup)?;
    Ok(Served { signatures_per_s: ran.records_per_s, end_to_end_us: ran.end_to_end_us, cpu: ran.cpu })
}

/// A file of `count` messages, for Ringseal's producer.
fn write_lines(folder: &Path, count: u64) -> Result<PathBuf> {
    let hex = |i| message(i).iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let all: Vec<String> = (0..MESSAGES).map(hex).collect();
    let path = folder.join("messages");
    let text: String = (0..count).map(|i| all[i as usize % MESSAGES].as_str()).collect();
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A signature in a bare loop, in microseconds: the least of a few.
fn bare_us(plan: &Plan, runtime: Runtime) -> Result<f64> {
    let mut signing = Signing::new(runtime, runtime.best_variant(), "ecdsa", 1, vec![])?;
    let times = plan.pick(1000, 20);
    let mut best = f64::MAX;
    for _ in 0..7 {
        best = best.min(signing.time(times)?.as_nanos() as f64 / 1000.0 / times as f64);
    }
    Ok(best)
}

/// Measures the group.
pub fn run(plan: &Plan, programs: &Programs, rate: f64) -> Result<Group> {
    let mut group = Group { name: "service", ..Group::default() };
    let folder = work_folder()?;
    let messages = plan.pick(20_000, 300);
    let lines = write_lines(folder.path(), messages)?;
    let known = Signing::new(Runtime::Native, None, "ecdsa", 1, vec![])?.sign_all()?;
    let (native_us, wasmtime_us) = (bare_us(plan, Runtime::Native)?, bare_us(plan, Runtime::Wasmtime)?);
    group.notes.push(format!(
        "ECDSA, messages of 64 bytes, one signer, unpinned, nobody verifies, every process's CPU time counted (clients too) but for what a run of one message takes. gRPC: unary calls on a Unix socket, tonic, one thread each for server and client, 64 calls under way at full rate. Redis: XADD and XREAD of up to 64 on a Unix socket, nothing saved; the client writes batches of 64 at full rate. `above bare`: CPU time of a signature, and `p50 above bare` its time, above that of a loop that does nothing else ({native_us:.1} µs natively, {wasmtime_us:.1} µs on wasmtime)."
    ));
    check(programs, &lines, messages.min(256), &known)?;
    for rate in [None, Some(rate), Some(2.0 * rate)] {
        let task = Task { messages, rate };
        let (lines, known) = (lines.as_path(), known.as_slice());
        let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
        for (name, runtime, bare_us) in
            [("ringseal native", "native", native_us), ("ringseal wasmtime", "wasmtime", wasmtime_us)]
        {
            let serve = Box::new(move |task| ringseal(programs, runtime, task, lines));
            contenders.push(Box::new(Service { name, task, bare_us, serve }));
        }
        let grpc = Box::new(move |task| peer("grpc", task, known));
        contenders.push(Box::new(Service { name: "gRPC", task, bare_us: native_us, serve: grpc }));
        match redis_streams::is_available() {
            Ok(()) => {
                let redis = Box::new(move |task| peer("redis", task, known));
                contenders.push(Box::new(Service {
                    name: "Redis Streams",
                    task,
                    bare_us: native_us,
                    serve: redis,
                }));
            }
            Err(error) if rate.is_none() => group.skipped.push(format!("Redis Streams: {error}")),
            Err(_) => {}
        }
        let cpu = [Metric::compared("CPU", "s per 10,000"), Metric::shown("above bare", "µs")];
        let (title, mut metrics) = match rate {
            None => ("Signatures at full rate".to_owned(), vec![Metric::compared("signatures/s", "")]),
            Some(rate) => (
                format!("Latency end to end at {rate} messages/s, from when each was due"),
                vec![
                    Metric::compared("p50", "µs"),
                    Metric::compared("p50 above bare", "µs"),
                    Metric::compared("p99", "µs"),
                    Metric::shown("p99.9", "µs"),
                ],
            ),
        };
        metrics.extend(cpu);
        let references = vec!["ringseal native".to_owned()];
        let notes = match rate {
            None => vec![],
            Some(_) => vec!["Every client wakes up 20 µs before a message is due, and polls. Ringseal's roles (`--wait adaptive`) sleep where messages are more than 130 µs apart, and else go on looking, giving the core away in between; the peers' servers sleep at once.".to_owned()],
        };
        group.tables.push(alternate(Case { title, metrics, references, notes }, contenders, plan, None)?);
    }
    group.tables.push(hostile_clients(plan, programs, messages, rate)?);
    Ok(group)
}

/// What clients of the control plane do to the latencies of the data path.
fn hostile_clients(plan: &Plan, programs: &Programs, messages: u64, rate: f64) -> Result<Table> {
    let setup = Setup { rate: Some(rate), ..Setup::new("native", "ecdsa", messages) };
    let contenders: Vec<Box<dyn Contender>> = [At::Nobodys, At::Own, At::Anothers]
        .into_iter()
        .map(|at| Box::new(Beside { programs, setup: setup.clone(), at }) as Box<dyn Contender>)
        .collect();
    let references = [At::Nobodys, At::Anothers].map(|at| at.name().to_owned()).into();
    let case = Case {
        title: format!("Hostile clients of the control plane, {rate} messages/s"),
        metrics: vec![
            Metric::shown("p50", "µs"),
            Metric::compared("p99", "µs"),
            Metric::shown("p99.9", "µs"),
            Metric::shown("answers", ""),
        ],
        references,
        notes: vec!["Ringseal natively; one client pings, one sends garbage, both without a pause, at the control plane of the signer that signs; or of another signer, which tells what they cost by computing at all.".to_owned()],
    };
    alternate(case, contenders, plan, None)
}

/// What Ringseal's programs make of the messages, verified by libsecp256k1, and the same as what everybody must make of them.
fn check(programs: &Programs, lines: &Path, messages: u64, known: &[Vec<u8>]) -> Result<()> {
    for runtime in ["native", "wasmtime"] {
        let setup = Setup {
            content: Content::Lines(lines.to_owned()),
            verifier: "secp256k1",
            ..Setup::new(runtime, "ecdsa", messages)
        };
        let signatures = programs.run(&setup)?.signatures;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let known: Vec<String> = known.iter().map(|signature| hex(signature)).collect();
        let is_right = signatures.iter().zip(known.iter().cycle()).all(|(made, known)| made == known);
        if signatures.len() as u64 != messages || !is_right {
            return Err(format!("ringseal {runtime} made other signatures than it should").into());
        }
    }
    Ok(())
}
