//! How long it takes after a kill until the kernel has let the lock go, and from then until nothing is in the dead
//! member's hands any more. Watched by a thread of its own, which sleeps while nobody was killed.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use shmem_layout::{Owner, Ring, RingError};

use crate::support::load::Trouble;

/// Between two looks: half of what must be told apart at least.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Claims that nobody recovers for so long are stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// A member that was killed.
struct Death {
    owner: Owner,
    killed: Instant,
    /// Whether it was the one to be killed; else it dies of another's death, somewhat later.
    is_direct: bool,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// From the kill until the lock was seen to be free.
    pub releases: Vec<Duration>,
    /// Of those that held claims: from the last look at which the lock was held (so it is rather too long than too short)
    /// until the first one at which nothing was in their hands.
    pub recoveries: Vec<Duration>,
}

impl Measured {
    /// Adds what another round has measured.
    pub fn add(&mut self, other: Self) {
        self.releases.extend(other.releases);
        self.recoveries.extend(other.recoveries);
    }
}

/// Watches over the claims of killed members.
pub struct Watcher {
    deaths: Sender<Death>,
    thread: JoinHandle<Result<Measured, Trouble>>,
}

impl Watcher {
    /// Watches `ring`.
    pub fn start(ring: Ring) -> Self {
        let (deaths, news) = channel();
        Self { deaths, thread: thread::spawn(move || watch(&ring, &news)) }
    }

    /// Tells of a kill, right after it.
    pub fn killed(&self, owner: Owner, is_direct: bool) {
        // It ends early only with an error, which `finish` gives.
        let _ = self.deaths.send(Death { owner, killed: Instant::now(), is_direct });
    }

    /// What was measured, once nothing is in the hands of the dead any more.
    ///
    /// # Errors
    /// Something stays in their hands, or the ring is damaged.
    pub fn finish(self) -> Result<Measured, Trouble> {
        drop(self.deaths);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Trouble::Fault("the watcher of recoveries panicked".into())))
    }
}

struct Watched {
    death: Death,
    /// The last look at which its lock was held.
    last_held: Instant,
    is_released: bool,
    had_claims: bool,
}

fn watch(ring: &Ring, news: &Receiver<Death>) -> Result<Measured, Trouble> {
    let mut measured = Measured::default();
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let first = if watched.is_empty() {
            match news.recv() {
                Ok(death) => Some(death),
                Err(_) => return Ok(measured),
            }
        } else {
            None
        };
        for death in first.into_iter().chain(news.try_iter()) {
            let last_held = death.killed;
            watched.push(Watched { death, last_held, is_released: false, had_claims: false });
        }
        // First: by then a process that was running when it was killed is not running any more.
        thread::sleep(LOOK_EVERY);
        look(ring, &mut watched, &mut measured)?;
        if let Some(stuck) = watched.iter().find(|one| one.death.killed.elapsed() > STUCK_AFTER) {
            let Owner { index, generation } = stuck.death.owner;
            return Err(Trouble::Wedged(format!(
                "member {index}.{generation} was killed {STUCK_AFTER:?} ago; lock free: {}, held claims: {}",
                stuck.is_released, stuck.had_claims
            )));
        }
    }
}

fn look(ring: &Ring, watched: &mut Vec<Watched>, measured: &mut Measured) -> Result<(), RingError> {
    let held = ring.held()?;
    let before = Instant::now();
    let members = if watched.iter().all(|one| one.is_released) { Vec::new() } else { ring.members()? };
    let after = Instant::now();
    watched.retain_mut(|one| {
        let owner = one.death.owner;
        let holds = held.iter().any(|slot| slot.owner == owner);
        one.had_claims |= holds;
        if !one.is_released {
            if members.iter().any(|member| member.owner == owner && member.is_alive) {
                one.last_held = before;
                return true;
            }
            one.is_released = true;
            if one.death.is_direct {
                measured.releases.push(after - one.death.killed);
            }
        }
        if holds {
            return true;
        }
        if one.had_claims {
            measured.recoveries.push(before - one.last_held);
        }
        false
    });
    Ok(())
}
