//! How long it takes to have a module ready to sign, with its key in it: compiled, from the disk tier (read,
//! authenticated, deserialized), and from the memory tier. `cargo bench --manifest-path
//! bench/Cargo.toml --bench cache`; with `--target-dir target` it shares what was built for the programs.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]
#![allow(missing_docs, reason = "criterion's macros make functions")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use extension_engine::cache::{
    CacheLimits, DiskCache, MemoryCache, ModuleCache, NoCache, WarningSink, cache_key,
};
use extension_engine::{ExtensionEngine, Limits, Module, Runtime, Settings, Variant, compile};

/// As in a worker: what was made before is gone when the next one is. Dropping it is not timed.
const ONE: BatchSize = BatchSize::PerIteration;

fn ready(module: &Module, name: &str, settings: &Settings) -> Box<dyn ExtensionEngine> {
    let program = compile(Runtime::Wasmtime, name, Some(module), settings).unwrap();
    let mut engine = program.instantiate().unwrap();
    engine.set_key(&[7; 32]).unwrap();
    engine
}

fn ready_to_sign(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let warnings: WarningSink = Arc::new(|warning| panic!("{warning}"));
    let limits = CacheLimits::default();
    let tiers: [(&str, Arc<dyn ModuleCache>); 3] = [
        ("compiled", Arc::new(NoCache)),
        ("disk", Arc::new(DiskCache::open(&folder.path().join("cache"), &limits, warnings).unwrap())),
        ("memory", Arc::new(MemoryCache::new(&limits))),
    ];
    for name in ["ecdsa", "schnorr"] {
        let module = Module::built_in(name, Variant::Wide).unwrap();
        let mut group = criterion.benchmark_group(format!("ready to sign, {name}"));
        for (tier, cache) in &tiers {
            let settings = Settings { cache: cache.clone(), ..Settings::default() };
            drop(ready(&module, name, &settings));
            if *tier == "compiled" {
                group.sample_size(10);
            } else {
                group.sample_size(100);
            }
            group.bench_function(*tier, |b| b.iter_batched(|| (), |()| ready(&module, name, &settings), ONE));
        }
        let key = cache_key(Runtime::Wasmtime, &module, &Limits::default()).unwrap();
        let disk = &tiers[1].1;
        group.bench_function("disk, loading alone", |b| {
            b.iter_batched(|| (), |()| disk.load(&key).unwrap(), ONE);
        });
        let settings = Settings { cache: disk.clone(), ..Settings::default() };
        let program = compile(Runtime::Wasmtime, name, Some(&module), &settings).unwrap();
        group.bench_function("instantiating alone", |b| {
            b.iter_batched(|| (), |()| program.instantiate().unwrap(), ONE);
        });
        // What `signer --runner 3` does when the method changes.
        let mut present = None;
        group.bench_function("a swap", |b| {
            b.iter(|| {
                drop(present.take());
                let mut engine = program.instantiate().unwrap();
                engine.set_key(&[7; 32]).unwrap();
                engine.reset().unwrap();
                present = Some(engine);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, ready_to_sign);
criterion_main!(benches);
