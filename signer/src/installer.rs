//! A worker's second thread: hears the supervisor, and has a module made ready while the first thread signs with another.
//!
//! What is ready is posted; the signing thread takes it at the end of its batch, and hands back what it replaces, which
//! is wiped and dropped here. A signing thread that waits for records takes nothing: then the switch is made for it.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;

use crate::assignment::Assignment;
use crate::engines::{Engines, Extension, Workshop};
use crate::kin::NICENESS;
use crate::orders::{Mouth, Order, Orders, Word};

/// What the two threads share.
pub(crate) struct Shared {
    /// The signing thread holds them during a batch.
    engines: Mutex<Engines>,
    /// Whether something is posted: a hint, looked at after each batch.
    is_posted: AtomicBool,
    post: Mutex<Post>,
}

/// What goes from one thread to the other.
enum Post {
    Nothing,
    Next(Extension),
    /// What was replaced.
    Retired(Extension),
}

impl Shared {
    pub fn new(engines: Engines) -> Self {
        Self {
            engines: Mutex::new(engines),
            is_posted: AtomicBool::new(false),
            post: Mutex::new(Post::Nothing),
        }
    }

    /// The engines, for a batch.
    pub fn engines(&self) -> MutexGuard<'_, Engines> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Between two batches: takes what is posted.
    pub fn switch_if_posted(&self, engines: &mut Engines) {
        if self.is_posted.load(Ordering::Relaxed) {
            self.switch(engines);
        }
    }

    fn switch(&self, engines: &mut Engines) {
        let mut post = self.post.lock().unwrap_or_else(PoisonError::into_inner);
        if let Post::Next(next) = mem::replace(&mut *post, Post::Nothing) {
            *post = Post::Retired(engines.switch(next));
        }
        self.is_posted.store(false, Ordering::Relaxed);
    }

    /// Has `next` serve, and returns what it replaced.
    fn replace(&self, next: Extension) -> Extension {
        /// Longer than most batches, and too short to be noticed by who asked for the swap.
        const INTERVAL: Duration = Duration::from_micros(200);
        *self.post.lock().unwrap_or_else(PoisonError::into_inner) = Post::Next(next);
        self.is_posted.store(true, Ordering::Relaxed);
        loop {
            // Not in a batch: whoever is, switches at its end.
            if let Ok(mut engines) = self.engines.try_lock() {
                self.switch_if_posted(&mut engines);
            }
            let mut post = self.post.lock().unwrap_or_else(PoisonError::into_inner);
            match mem::replace(&mut *post, Post::Nothing) {
                Post::Retired(retired) => return retired,
                other => *post = other,
            }
            drop(post);
            thread::sleep(INTERVAL);
        }
    }
}

/// Starts the thread. It ends with the process.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(
    orders: Orders,
    mouth: Arc<Mouth>,
    workshop: Workshop,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let installer = Installer { mouth, workshop, shared, ready: None };
    let run = move || installer.run(orders);
    thread::Builder::new().name("installer".to_owned()).spawn(run).map(drop)
}

struct Installer {
    mouth: Arc<Mouth>,
    workshop: Workshop,
    shared: Arc<Shared>,
    ready: Option<(u32, Extension)>,
}

impl Installer {
    fn run(mut self, mut orders: Orders) {
        while let Ok(order) = orders.next() {
            match order {
                Order::Install(assignment) => self.install(&assignment),
                Order::Commit(generation) => self.commit(generation),
                Order::Discard => self.ready = None,
                // Not for who has begun.
                Order::Start { .. } | Order::Go => {}
            }
        }
    }

    fn install(&mut self, assignment: &Assignment) {
        self.ready = None;
        let generation = assignment.generation;
        let word = match self.make(assignment) {
            Ok(extension) => {
                self.ready = Some((generation, extension));
                Word::Installed(generation)
            }
            Err(why) => Word::NotInstalled { generation, why },
        };
        self.mouth.say(&word);
    }

    /// In a thread of its own, which lets everybody else go first: a thread can't take its niceness back, and the switch
    /// is not to wait for anybody.
    fn make(&self, assignment: &Assignment) -> Result<Extension, String> {
        let workshop = &self.workshop;
        let make = || {
            // One that isn't nice makes it ready as well.
            let _ = setpriority_process(None, NICENESS);
            workshop.make(assignment).map_err(|error| error.to_string())
        };
        let made = thread::scope(|scope| scope.spawn(make).join());
        made.unwrap_or_else(|_| Err("making it ready panicked".to_owned()))
    }

    fn commit(&mut self, generation: u32) {
        if let Some((_, next)) = self.ready.take_if(|ready| ready.0 == generation) {
            let retired = self.shared.replace(next);
            self.mouth.say(&Word::Switched(generation));
            drop(retired);
        }
    }
}
