//! Live mutation: a thread writes into the ring while its members work. No panic, and what they read keeps its bounds.
//!
//! An input is a list of writes, which the thread repeats as long as the members take, and what the members do.
#![no_main]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use libfuzzer_sys::fuzz_target;
use ringseal_fuzz::harness::{Input, Place, World};

/// The most writes that an input has.
const WRITES_MAX: u8 = 16;

/// Where to write, and what: offsets and words.
#[derive(Clone)]
struct Job {
    place: &'static Place,
    writes: Vec<(usize, u64)>,
}

/// The thread that writes.
struct Enemy {
    job: Mutex<Option<Job>>,
    /// Odd while it is to write, and which run it is.
    wanted: AtomicUsize,
    /// The same, as it has seen it.
    seen: AtomicUsize,
}

static ENEMY: LazyLock<&Enemy> = LazyLock::new(|| {
    let (wanted, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enemy: &Enemy = Box::leak(Box::new(Enemy { job: Mutex::new(None), wanted, seen }));
    thread::spawn(|| enemy.run());
    enemy
});

impl Enemy {
    fn run(&self) {
        loop {
            let wanted = self.wanted.load(Ordering::Acquire);
            if wanted == self.seen.load(Ordering::Relaxed) {
                thread::yield_now();
                continue;
            }
            self.seen.store(wanted, Ordering::Release);
            if wanted.is_multiple_of(2) {
                continue;
            }
            let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(Job { place, writes }) = job else { continue };
            while self.wanted.load(Ordering::Relaxed) == wanted {
                for (offset, word) in &writes {
                    place.ring.words()[offset / 8].store(*word, Ordering::Relaxed);
                }
            }
        }
    }

    /// Has it write, or cease to: returns once it does.
    fn turn(&self) {
        let wanted = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        while self.seen.load(Ordering::Acquire) != wanted {
            thread::yield_now();
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let Some(place) = input.byte().map(Place::any) else { return };
    let count = input.byte().unwrap_or(0) % (WRITES_MAX + 1);
    let writes: Vec<_> = (0..count).map_while(|_| place.write(&mut input)).collect();
    let mut world = World::new(place, true);
    if writes.is_empty() {
        return;
    }
    let enemy = *ENEMY;
    *enemy.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(Job { place, writes });
    enemy.turn();
    while world.step(&mut input).is_some() {}
    enemy.turn();
});
