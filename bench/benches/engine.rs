//! What the engine itself costs: a run of an extension that does nothing, going back to the backup, and changing over to
//! another instance. `cargo bench --manifest-path bench/Cargo.toml --bench
//! engine`; with `-- --test`, each once.
//!
//! Lines that begin with `ratio` compare what was measured in this very run.
#![allow(missing_docs, reason = "criterion's macros write functions without")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use extension_engine::{
    Batch, ExtensionEngine, ExtensionKind, Limits, Module, Runtime, Settings, compile, prepare_process,
};

/// An extension with `pages` pages of memory, filled in WasmInit, that does `run` in a run.
fn extension(runtime: Runtime, pages: u32, fill: bool, run: &str) -> Box<dyn ExtensionEngine> {
    let fill = if fill {
        "(local $i i32) (loop $next (i64.store (local.get $i) (i64.const -1))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536)))))"
    } else {
        ""
    };
    let text = format!(
        r#"(module (memory (export "memory") {pages})
            (func (export "WasmAbiVersion_1_0"))
            (func (export "WasmInit") {fill})
            (func (export "WasmFinit"))
            (func (export "WasmMalloc") (param i32) (result i32) (i32.const 1024))
            (func (export "WasmRun") (param $name i32) (param $kind i32) (param $arg i32) (result i32) {run})
            (func (export "WasmReset"))
            (func (export "WasmOnRead") (param i32 i32 i32)))"#
    );
    let settings = Settings {
        limits: Limits { deadline: Duration::from_secs(10), ..Limits::default() },
        ..Settings::default()
    };
    let module = Module::from_bytes("bench", wat::parse_str(text).unwrap(), &settings.limits).unwrap();
    let mut engine = compile(runtime, "bench", Some(&module), &settings).unwrap().instantiate().unwrap();
    // Takes the backup.
    engine.reset().unwrap();
    engine
}

fn runtimes() -> impl Iterator<Item = Runtime> {
    Runtime::ALL.into_iter().filter(|r| *r != Runtime::Native && r.is_available().is_ok())
}

fn batch(records: usize) -> Batch {
    let mut batch = Batch::new(1, 64, 64).unwrap();
    for _ in 0..records {
        batch.push(64, |message| message.fill(7)).unwrap();
    }
    batch
}

fn empty(criterion: &mut Criterion) {
    for runtime in runtimes() {
        let mut group = criterion.benchmark_group(runtime.name());
        for (records, name) in [(0, "empty batch"), (1, "one record")] {
            let (mut engine, mut batch) = (extension(runtime, 2, false, "(i32.const 0)"), batch(records));
            group.bench_function(format!("run, {name}"), |bencher| {
                bencher.iter(|| engine.run(ExtensionKind::Sign, black_box(&mut batch)));
            });
            group.bench_function(format!("run and reset, {name}"), |bencher| {
                bencher.iter(|| {
                    engine.run(ExtensionKind::Sign, black_box(&mut batch))?;
                    engine.reset()
                });
            });
        }
    }
}

const PAGE_LEN: usize = 4096;

/// The lower quartile, since noise only adds.
fn quartile(samples: &mut [Duration]) -> Duration {
    samples.sort();
    samples.get(samples.len() / 4).copied().unwrap_or_default()
}

fn restore(criterion: &mut Criterion) {
    prepare_process();
    for runtime in runtimes() {
        for (mib, percent) in [(2, 1), (2, 50), (2, 100), (8, 100)] {
            let pages = mib * 256;
            let dirty = pages * percent / 100;
            // Writes to every so-many-th page, and answers as `Hash` an error.
            let run = format!(
                "(local $i i32) (local.set $i (i32.const {first})) (loop $next
                    (i32.store (local.get $i) (local.get $i))
                    (local.set $i (i32.add (local.get $i) (i32.const {step})))
                    (br_if $next (i32.lt_u (local.get $i) (i32.const {end}))))
                (i32.mul (i32.const 77) (i32.eq (local.get $kind) (i32.const 3)))",
                first = 2048,
                step = pages / dirty * PAGE_LEN,
                end = pages / dirty * dirty * PAGE_LEN,
            );
            let mut engine = extension(runtime, (mib * 16) as u32, true, &run);
            let mut batch = batch(0);
            let mut time = |kinds: [ExtensionKind; 2]| {
                let started = Instant::now();
                for kind in kinds {
                    let result = engine.run(kind, &mut batch);
                    assert_eq!(result.is_ok(), kind == ExtensionKind::Sign);
                }
                started.elapsed()
            };
            let (from, mut to) = (vec![1_u8; mib << 20], vec![2_u8; mib << 20]);
            let stride = pages / dirty * PAGE_LEN;
            let mut copy = || {
                let started = Instant::now();
                for (to, from) in to.chunks_exact_mut(stride).zip(from.chunks_exact(stride)).take(dirty) {
                    to[..PAGE_LEN].copy_from_slice(&from[..PAGE_LEN]);
                }
                black_box(&mut to);
                started.elapsed()
            };
            let (mut costs, mut copies) = (Vec::new(), Vec::new());
            let name = format!("{runtime}/restore, {mib} MiB, {percent} % dirty");
            criterion.bench_function(&name, |bencher| {
                bencher.iter_custom(|times| {
                    let [mut with_error, mut without, mut copying] = [Duration::ZERO; 3];
                    for _ in 0..times {
                        // What a run after an error takes longer than another one is part of the price.
                        with_error += time([ExtensionKind::Hash, ExtensionKind::Sign]);
                        without += time([ExtensionKind::Sign, ExtensionKind::Sign]);
                        copying += copy();
                    }
                    let cost = with_error.saturating_sub(without);
                    costs.push(cost / times as u32);
                    copies.push(copying / times as u32);
                    cost
                });
            });
            if costs.is_empty() {
                continue; // It was not asked for.
            }
            let (cost, copy) = (quartile(&mut costs), quartile(&mut copies));
            let most = copy * 13 / 10 + Duration::from_micros(5);
            println!(
                "ratio {name}: {cost:.1?}; memcpy of the dirty bytes {copy:.1?}; 1.3 times that and 5 µs {most:.1?}; {:.2} of it",
                cost.as_secs_f64() / most.as_secs_f64()
            );
        }
    }
}

/// What the signer does at a batch boundary.
fn switch(criterion: &mut Criterion) {
    for runtime in runtimes() {
        let mut waiting = Some(extension(runtime, 2, false, "(i32.const 0)"));
        let mut serving = Some(extension(runtime, 2, false, "(i32.const 0)"));
        criterion.bench_function(&format!("{runtime}/switch"), |bencher| {
            bencher.iter(|| {
                let ready = waiting.take();
                waiting = std::mem::replace(black_box(&mut serving), ready);
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = empty, restore, switch
}
criterion_main!(benches);
