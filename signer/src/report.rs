//! The summary of a run, as JSON: what `consumer compare` reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use cli::Method;
use serde::Serialize;

use crate::SupervisorOptions;
use crate::memory_lock::Locked;
use crate::stats::Stats;

/// What was signed, by all workers together. Times are in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    runtime: &'static str,
    /// One instance in all, whose module was swapped when the method changed.
    is_swapping: bool,
    workers: usize,
    worker_deaths: u64,
    /// What of the workers' memory is never swapped out: `all`, `the key's page` or `nothing`; null if none has started.
    memory_locked: Option<&'static str>,
    signed: u64,
    failed: u64,
    /// Spent in the engines: in their runs, the wiping after each, and swaps.
    sign_busy_ns: u64,
    batches: u64,
    swaps: u64,
    compile_ns: u64,
    instantiate_ns: u64,
    /// Those that records asked for.
    methods: Vec<MethodReport>,
}

#[derive(Debug, Serialize)]
struct MethodReport {
    method: &'static str,
    /// None for runtime `native`, as the next.
    variant: Option<&'static str>,
    module_sha256: Option<String>,
    signed: u64,
    failed: u64,
    sign_busy_ns: u64,
}

impl Report {
    /// Adds the workers' pages up.
    pub fn new(options: &SupervisorOptions, worker_deaths: u64, pages: &[&Stats]) -> Self {
        let total = |of: fn(&Stats) -> u64| pages.iter().map(|stats| of(stats)).sum();
        let methods: Vec<_> = Method::ALL.iter().map(|method| MethodReport::new(*method, pages)).collect();
        Self {
            runtime: options.work.runtime.name(),
            is_swapping: options.work.is_swapping,
            workers: options.workers,
            worker_deaths,
            memory_locked: Locked::weakest(pages.iter().map(|stats| stats.locked.get())).map(Locked::name),
            signed: total(Stats::signed),
            failed: total(Stats::failed),
            sign_busy_ns: methods.iter().map(|method| method.sign_busy_ns).sum(),
            batches: total(|stats| stats.batches.get()),
            swaps: total(|stats| stats.swaps.get()),
            compile_ns: total(|stats| stats.compile_ns.get()),
            instantiate_ns: total(|stats| stats.instantiate_ns.get()),
            methods: methods.into_iter().filter(|method| method.signed + method.failed > 0).collect(),
        }
    }

    /// Writes it, ending with a newline.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&self, file: File) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

impl MethodReport {
    fn new(method: Method, pages: &[&Stats]) -> Self {
        let pages = || pages.iter().map(|stats| stats.of(method));
        let (variant, module_sha256) = pages().find_map(|stats| stats.module()).unzip();
        Self {
            method: method.name(),
            variant: variant.map(|variant| variant.name()),
            module_sha256,
            signed: pages().map(|stats| stats.signed.get()).sum(),
            failed: pages().map(|stats| stats.failed.get()).sum(),
            sign_busy_ns: pages().map(|stats| stats.busy_ns.get()).sum(),
        }
    }
}
