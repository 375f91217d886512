//! throw-away
use extension_engine::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
struct Counting;
static COUNT: AtomicUsize = AtomicUsize::new(0);
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(l) }
    }
    unsafe fn dealloc(&self, p: *mut u8, l: Layout) {
        unsafe { System.dealloc(p, l) }
    }
}
#[global_allocator]
static A: Counting = Counting;
fn best(n: usize, mut f: impl FnMut()) -> f64 {
    (0..n)
        .map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}
fn main() -> Result<(), Box<dyn std::error::Error>> {
    probe();
    let only = std::env::args().nth(1);
    for name in ["ecdsa", "schnorr"] {
        for runtime in Runtime::ALL {
            if runtime.is_available().is_err() {
                continue;
            }
            if only.as_ref().is_some_and(|o| o != runtime.name()) {
                continue;
            }
            let variants: Vec<Option<Variant>> = if runtime == Runtime::Native {
                vec![None]
            } else {
                Variant::ALL.into_iter().filter(|v| runtime.supports(*v)).map(Some).collect()
            };
            for v in variants {
                let m = v.map(|v| Module::built_in(name, v).unwrap());
                let t = Instant::now();
                let program = compile(runtime, name, m.as_ref())?;
                let compile_ms = t.elapsed().as_secs_f64() * 1e3;
                let t = Instant::now();
                let mut e = program.instantiate()?;
                let inst_us = t.elapsed().as_secs_f64() * 1e6;
                let key = e.set_key(&[7; 32])?;
                let n = 32;
                let rounds = if matches!(runtime, Runtime::Wasmi | Runtime::Wasm3) { 3 } else { 15 };
                let mut b = Batch::new(n, 256, 64)?;
                for i in 0..n {
                    b.push(64, |m| m.fill(i as u8))?;
                }
                e.run(ExtensionKind::Sign, &mut b)?;
                let before = COUNT.load(Ordering::Relaxed);
                let sign = best(rounds, || {
                    e.run(ExtensionKind::Sign, &mut b).unwrap();
                    e.reset().unwrap();
                });
                let allocs = COUNT.load(Ordering::Relaxed) - before;
                let mut vb = Batch::new(n, 256, 64)?;
                for i in 0..n {
                    vb.push_verify(b.message(i), b.output(i), &key)?;
                }
                let verify = best(rounds, || {
                    e.run(ExtensionKind::Verify, &mut vb).unwrap();
                    e.reset().unwrap();
                });
                assert!((0..n).all(|i| vb.status(i).is_ok()));
                println!(
                    "{name:8} {:9} {:5} sign {:8.1} µs  verify {:8.1} µs  compile {compile_ms:6.1} ms  instantiate {inst_us:7.0} µs  allocations/run {}",
                    runtime,
                    v.map_or("-", |v| v.name()),
                    sign / n as f64 * 1e6,
                    verify / n as f64 * 1e6,
                    allocs as f64 / rounds as f64
                );
            }
        }
    }
    for runtime in Runtime::ALL {
        if runtime.is_available().is_err() {
            continue;
        }
        let program = compile(runtime, "null", None)?;
        let mut e = program.instantiate()?;
        for n in [0usize, 1, 64] {
            let mut b = Batch::new(n.max(1), 256, 64)?;
            for i in 0..n {
                b.push(64, |m| m.fill(i as u8))?;
            }
            e.run(ExtensionKind::Sign, &mut b)?;
            e.reset()?;
            let before = COUNT.load(Ordering::Relaxed);
            let k = 2000;
            let run = best(15, || {
                for _ in 0..k {
                    e.run(ExtensionKind::Sign, black_box(&mut b)).unwrap();
                }
            });
            let both = best(15, || {
                for _ in 0..k {
                    e.run(ExtensionKind::Sign, black_box(&mut b)).unwrap();
                    e.reset().unwrap();
                }
            });
            let allocs = COUNT.load(Ordering::Relaxed) - before;
            println!(
                "null {:9} n={n:3} run {:8.1} ns, run+reset {:8.1} ns, allocations {:.3}/run",
                runtime.name(),
                run / k as f64 * 1e9,
                both / k as f64 * 1e9,
                allocs as f64 / (30 * k) as f64
            );
        }
    }
    Ok(())
}
#[allow(dead_code)]
fn probe() {
    let mut e = compile(Runtime::Native, "ecdsa", None).unwrap().instantiate().unwrap();
    for s in 1..6u8 {
        let key = e.set_key(&[s; 32]).unwrap();
        let mut b = Batch::new(1, 8, 64).unwrap();
        b.push(2, |m| m.fill(1)).unwrap();
        e.run(ExtensionKind::Sign, &mut b).unwrap();
        let mut k5 = key.clone();
        k5[0] = 5;
        let mut v = Batch::new(1, 8, 64).unwrap();
        v.push_verify(b.message(0), b.output(0), &k5).unwrap();
        e.run(ExtensionKind::Verify, &mut v).unwrap();
        println!("prefix {} -> 05: {:?}", key[0], v.status(0));
    }
}
