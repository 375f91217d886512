//! The summary of a run, as JSON: what `consumer compare` reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::SupervisorOptions;
use crate::assignment::{Assignment, Assignments, index};
use crate::memory_lock::Locked;
use crate::stats::Totals;

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
    /// Memories restored after an error status.
    restores: u64,
    /// Instances replaced after a trap, a missed deadline or a full heap.
    replacements: u64,
    /// Modules that were found compiled, in memory and on disk, and those that were not.
    cache_memory_hits: u64,
    cache_disk_hits: u64,
    cache_misses: u64,
    compile_ns: u64,
    instantiate_ns: u64,
    /// Instances made; those that were called, and the time in their first calls (a batch each, part of `sign_busy_ns`).
    instances: u64,
    first_calls: u64,
    first_call_ns: u64,
    /// Records claimed at a time, at most.
    batch: usize,
    wait: &'static str,
    /// The processors that the workers were pinned to, or `any`.
    cpus: String,
    prefault: bool,
    /// Those that records asked for.
    methods: Vec<MethodReport>,
}

#[derive(Debug, Serialize)]
struct MethodReport {
    method: &'static str,
    /// What runs it now, as the next two.
    runtime: &'static str,
    /// None for runtime `native`, as the next.
    variant: Option<String>,
    module_sha256: Option<String>,
    signed: u64,
    failed: u64,
    sign_busy_ns: u64,
}

impl Report {
    /// What `totals` of all workers amount to, with what serves now.
    pub fn new(
        options: &SupervisorOptions,
        assignments: &Assignments,
        worker_deaths: u64,
        totals: &Totals,
        locked: Option<Locked>,
    ) -> Self {
        let methods: Vec<_> =
            assignments.present.iter().map(|assignment| MethodReport::new(assignment, totals)).collect();
        Self {
            runtime: options.work.runtime.name(),
            is_swapping: options.work.is_swapping,
            workers: options.workers,
            worker_deaths,
            memory_locked: locked.map(Locked::name),
            signed: totals.signed(),
            failed: totals.failed(),
            sign_busy_ns: methods.iter().map(|method| method.sign_busy_ns).sum(),
            batches: totals.batches,
            swaps: totals.swaps,
            restores: totals.restores,
            replacements: totals.replacements,
            cache_memory_hits: totals.cache_memory_hits,
            cache_disk_hits: totals.cache_disk_hits,
            cache_misses: totals.cache_misses,
            compile_ns: totals.compile_ns,
            instantiate_ns: totals.instantiate_ns,
            instances: totals.instances,
            first_calls: totals.first_calls,
            first_call_ns: totals.first_call_ns,
            batch: options.work.batch,
            wait: options.work.wait.name(),
            cpus: options.work.placement.cpus_name(),
            prefault: options.work.placement.prefault,
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
    fn new(assignment: &Assignment, totals: &Totals) -> Self {
        let totals = &totals.methods[index(assignment.method)];
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            method: assignment.method.name(),
            runtime: assignment.runtime.name(),
            variant: said(&assignment.variant),
            module_sha256: said(&assignment.sha256),
            signed: totals.signed(),
            failed: totals.failed(),
            sign_busy_ns: totals.busy_ns,
        }
    }
}
