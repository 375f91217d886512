//! The group `scale`: what becomes of the rate with more workers, other rings, longer messages and more work; and how near the
//! whole pipeline comes to what its work alone would take.

use extension_engine::Runtime;

use crate::measure::{Case, Contender, Metric, Values, alternate};
use crate::pipeline::{Content, Programs, Setup};
use crate::report::{Group, Table};
use crate::start::Start;
use crate::work::BareWork;
use crate::{Plan, Result};

/// One way to run the programs.
struct Pipeline<'a> {
    name: String,
    programs: &'a Programs,
    setup: Setup,
}

impl Contender for Pipeline<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn sample(&mut self) -> Result<Values> {
        let ran = self.programs.run(&self.setup)?;
        let mut values = Values::from([
            ("records/s", ran.records_per_s),
            ("cost", 1e9 / ran.records_per_s.max(1e-9)),
            ("CPU", ran.cpu.as_nanos() as f64 / self.setup.messages as f64),
        ]);
        if let Content::Generated(len) = self.setup.content {
            values.insert("MB/s", ran.records_per_s * len as f64 / 1e6);
        }
        Ok(values)
    }
}

/// Measures the group, with `work` records at most in the last table.
pub fn run(plan: &Plan, programs: &Programs, cores: &[usize], work: u64) -> Result<Group> {
    let mut group = Group { name: "scale", ..Group::default() };
    group.notes.push("The real programs, unpinned: one producer, a signer with its workers on the native runtime, and a consumer that verifies and writes nothing. `null` signs nothing: it is what everything else costs. Rates from the first record's writing to the last one's arrival.".into());
    for runtime in [Runtime::Native, Runtime::Wasmtime] {
        group.tables.push(whole_pipeline(plan, programs, cores.len(), runtime)?);
    }
    group.tables.push(start_and_memory(plan, programs)?);
    let methods: [(&'static str, u64); 2] =
        [("null", plan.pick(500_000, 2_000)), ("ecdsa", plan.pick(10_000, 100))];
    let mut measure =
        |title: &str, metrics: Vec<Metric>, runs: Vec<(String, Setup)>, plan: &Plan| -> Result<()> {
            let references = runs.first().map(|(name, _)| name.clone()).into_iter().collect();
            let contenders = runs
                .into_iter()
                .map(|(name, setup)| Box::new(Pipeline { name, programs, setup }) as Box<dyn Contender>);
            let case = Case { title: title.into(), metrics, references, notes: vec![] };
            group.tables.push(alternate(case, contenders.collect(), plan, None)?);
            Ok(())
        };
    let rate = || vec![Metric::compared("records/s", ""), Metric::shown("CPU", "ns per record")];
    for (method, messages) in methods {
        let setup = Setup::new("native", method, messages);
        let most = plan.pick(cores.len() * 2, 2);
        let workers = (1..=cores.len()).chain([most]).collect::<std::collections::BTreeSet<_>>();
        let runs = workers
            .into_iter()
            .map(|workers| (format!("{workers} workers"), Setup { workers, ..setup.clone() }));
        measure(&format!("Workers, {method}"), rate(), runs.collect(), plan)?;

        let capacities = plan.pick(vec![1024, 8, 64, 512, 8_192, 65_536], vec![1024, 8]);
        let runs = capacities
            .into_iter()
            .map(|capacity| (format!("{capacity} slots"), Setup { capacity, ..setup.clone() }));
        measure(&format!("Slots of the ring, {method}"), rate(), runs.collect(), plan)?;

        let sizes = plan.pick(vec![64, 32, 256, 1_024, 4_096, 16_384, 65_536], vec![64, 65_536]);
        let runs = sizes.into_iter().map(|len| {
            let fewer = (len as u64 / 4096 + 1).min(10);
            let setup =
                Setup { content: Content::Generated(len), messages: messages / fewer, ..setup.clone() };
            (format!("{len} bytes"), setup)
        });
        let metrics = [rate(), vec![Metric::shown("MB/s", "")]].concat();
        measure(&format!("Bytes of a message, {method}"), metrics, runs.collect(), plan)?;
    }
    let cost = || vec![Metric::compared("cost", "ns per record"), Metric::shown("CPU", "ns per record")];
    let setup = Setup::new("native", "null", 0);
    let runs = [work / 1000, work]
        .map(|messages| (format!("{messages} records"), Setup { messages, ..setup.clone() }));
    measure("A thousand times the work, null", cost(), runs.into(), &Plan { warms_up: false, ..*plan })?;
    Ok(group)
}

/// The real programs, verification and files included, beside threads that only sign and verify.
fn whole_pipeline(plan: &Plan, programs: &Programs, cores: usize, runtime: Runtime) -> Result<Table> {
    let work = BareWork { runtime, scheme: "ecdsa", cores, batches: plan.pick(300, 1) };
    let mut setup = Setup::new(runtime.name(), "ecdsa", plan.pick(100_000, 200));
    setup.verifier = "secp256k1";
    let references = vec![work.name()];
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(work)];
    for each in std::collections::BTreeSet::from([1, cores]) {
        let name = format!("{each} workers, {each} threads that verify");
        let setup = Setup { workers: each, verify_threads: each, ..setup.clone() };
        contenders.push(Box::new(Pipeline { name, programs, setup }));
    }
    let notes = vec![format!(
        "Signed in batches, verified by libsecp256k1, written to files; beside {cores} threads that do nothing but sign batches and verify them."
    )];
    let title = format!("The whole pipeline, ecdsa, {runtime}");
    let metrics = vec![Metric::compared("records/s", "")];
    alternate(Case { title, metrics, references, notes }, contenders, plan, None)
}

/// On every runtime that the signer has.
fn start_and_memory(plan: &Plan, programs: &Programs) -> Result<Table> {
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for runtime in Runtime::ALL {
        if programs.has_runtime(runtime.name())? {
            contenders.push(Box::new(Start::new(programs, runtime.name())?));
        }
    }
    let memory = ["supervisor", "worker", "consumer"].map(|role| Metric::shown(role, "MiB"));
    let metrics = [Metric::shown("first signature", "ms")].into_iter().chain(memory).collect();
    let notes = vec!["From the launch of the signer, with a warm cache of compiled modules and a message that waits in the ring, to its signature; and what of each process is in memory after a thousand records, shared pages and all.".to_owned()];
    let case = Case { title: "Start and memory, ecdsa".to_owned(), metrics, references: vec![], notes };
    alternate(case, contenders, plan, None)
}
