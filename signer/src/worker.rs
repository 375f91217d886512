//! A worker: claims records, runs them through an engine, answers them in place. One thread does that, without an
//! allocation per record; a second one makes other modules ready (see [`crate::installer`]).

use std::fmt::Display;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use cli::{Exit, Failure, Method};
use extension_engine::{Batch, Settings};
use rustix::thread::set_name;
use shmem_layout::{Answer, Claim, Claims, Request, Ring, RingPath, Signer, WaitError, Waiting, now_ns};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::assignment::Origin;
use crate::cache_command::open_cache_when_needed;
use crate::engines::{Engines, Workshop};
use crate::installer::{self, Shared};
use crate::key::Key;
use crate::memory_lock::lock_memory;
use crate::orders::{self, Mouth, Order, Orders, Word};
use crate::pace::Pace;
use crate::release_check::ReleaseCheck;
use crate::stats::{Page, Stats};
use crate::{WorkOptions, WorkerOptions, descriptors, kin, status};

/// What a batch may hold of messages and signatures, in bytes.
const BATCH_LEN_MAX: usize = 4 << 20;

/// Signs until the stream has ended, somebody says stop, or the supervisor is gone. What goes wrong is told to the
/// supervisor, which prints it once for all workers.
pub(crate) fn run(options: &WorkerOptions) -> Result<Exit, Failure> {
    let (mut control, stats) = attach_to_supervisor(options).map_err(|error| {
        Failure::environment(format_args!("a worker is started by `signer` alone: {error}"))
    })?;
    let result = Key::receive(&control).map_err(Failure::environment).and_then(|key| {
        stats.locked.set(lock_memory(&key) as u64);
        sign(&options.work, key, stats, &control)
    });
    result.or_else(|failure| {
        // Without a supervisor there is nobody to tell.
        let _ = control.write_all(failure.message.as_bytes());
        Ok(failure.exit)
    })
}

/// Takes what the supervisor hands on.
fn attach_to_supervisor(options: &WorkerOptions) -> io::Result<(UnixStream, Page)> {
    let control = kin::attach(options.control, options.supervisor)?;
    shmem_layout::report_faults_to(control.as_raw_fd());
    let stats = Page::map(descriptors::take(options.stats)?)?;
    // Else tools would call it by the link that it was started through: "exe".
    set_name(c"signer worker")?;
    Ok((control, stats))
}

/// A wait that ends when the supervisor says so, by SIGTERM. The Ctrl-C of a terminal reaches it too, and it decides
/// for all.
fn waiting(options: &WorkOptions) -> io::Result<Waiting> {
    let waiting = Waiting { stall_after: options.stall_after, ..Waiting::new(options.wait) };
    flag::register(SIGINT, Arc::default())?;
    flag::register(SIGTERM, Arc::clone(&waiting.stop))?;
    Ok(waiting)
}

fn sign(options: &WorkOptions, key: Key, stats: Page, control: &UnixStream) -> Result<Exit, Failure> {
    let waiting = waiting(options)
        .map_err(|error| Failure::environment(format_args!("can't handle signals: {error}")))?;
    let (mut orders, mouth) = tongues(control).map_err(Failure::environment)?;
    let mouth = Arc::new(mouth);
    let speaker = Arc::clone(&mouth);
    cli::log::start_in_child(&options.log, move |line| speaker.say(&Word::Said(line)));
    let Order::Start { assignments, standby } = orders.next().map_err(Failure::environment)? else {
        return Err(Failure::environment("it was told to begin before it was told with what"));
    };
    let unusable = |error: &dyn Display| unusable(&options.ring, error);
    let ring = shmem_layout::attach(&options.ring).map_err(|error| unusable(&error))?;
    let lens @ (message_len, signature_len) =
        (ring.spec().message_capacity as usize, ring.spec().signature_capacity as usize);
    let records_max = options.batch.min(BATCH_LEN_MAX / (message_len + signature_len)).max(1);
    let batch = new_batch(records_max, lens)?;
    let cache = open_cache_when_needed(&options.cache);
    let settings = Settings { limits: options.limits.clone(), cache };
    let release_check = ReleaseCheck::new(options.release_check, &key, records_max, lens)?;
    let workshop = Workshop { key: key.into(), settings, stats: stats.into() };
    let engines = Engines::start(workshop.clone(), &assignments, options.is_swapping)?;
    if options.placement.prefault {
        ring.prefault().map_err(|error| unusable(&error))?;
    }
    let signer = ring.join_signer().map_err(|error| unusable(&error))?;
    let (member, slots) = (signer.ring().member(), signer.ring().spec().capacity);
    workshop.stats.ring_capacity.set(slots.into());
    note_ring(&workshop.stats, signer.ring(), now_ns());
    let shared = Arc::new(Shared::new(engines));
    tracing::debug!(
        ring = %options.ring, slots, member = member.index, generation = member.generation,
        "{}: attached, {slots} slots; member {}.{}", options.ring, member.index, member.generation
    );
    mouth.say(&Word::Ready);
    while standby && !matches!(orders.next().map_err(Failure::environment)?, Order::Go) {}
    installer::start(orders, Arc::clone(&mouth), workshop.clone(), Arc::clone(&shared))
        .map_err(|error| Failure::environment(format_args!("can't start a thread: {error}")))?;
    // This thread alone: the other one works beside it.
    options.placement.pin()?;
    let mut worker = Worker {
        ring: &options.ring,
        lens,
        batch,
        in_batch: Vec::with_capacity(records_max),
        release_check,
        signer,
        stats: workshop.stats,
        mouth,
    };
    let outcome = worker.run(&shared, records_max, &waiting);
    let recovered = worker.signer.ring().recovered();
    cli::log::taken_over(&options.ring, [recovered.voided, recovered.returned, recovered.failed], recovered);
    outcome
}

/// What is heard and said on `control`.
fn tongues(control: &UnixStream) -> io::Result<(Orders, Mouth)> {
    orders::bound_writes(control)?;
    Ok((Orders::from(control)?, Mouth::of(control)?))
}

fn unusable(ring: &RingPath, error: &dyn Display) -> Failure {
    Failure::environment(format_args!("ring {ring}: {error}"))
}

/// A batch for messages and signatures of at most `lens` bytes.
fn new_batch(records_max: usize, lens: (usize, usize)) -> Result<Batch, Failure> {
    Batch::new(records_max, lens.0, lens.1).map_err(Failure::environment)
}

/// A claimed record, and what its producer asked for: read once.
struct Job {
    claim: Claim,
    method: u32,
    message_len: usize,
    /// How long it has waited since it was due.
    queue_ns: u64,
}

impl Job {
    fn read(signer: &Signer, claim: Claim, claimed_ns: u64) -> Self {
        let Request { method, message_len, intended_ns } = signer.request(&claim);
        Self { claim, method, message_len, queue_ns: claimed_ns.saturating_sub(intended_ns) }
    }
}

/// A record whose message is in the batch.
struct Taken {
    claim: Claim,
    queue_ns: u64,
}

struct Worker<'a> {
    ring: &'a RingPath,
    /// Bytes that the ring has for a message, and for a signature.
    lens: (usize, usize),
    signer: Signer,
    release_check: ReleaseCheck,
    stats: Arc<Page>,
    mouth: Arc<Mouth>,
    batch: Batch,
    /// The records in `batch`.
    in_batch: Vec<Taken>,
}

impl Worker<'_> {
    fn run(&mut self, shared: &Shared, records_max: usize, waiting: &Waiting) -> Result<Exit, Failure> {
        let mut pace = Pace::new(records_max);
        let mut claims = Vec::with_capacity(records_max);
        let mut jobs = Vec::with_capacity(records_max);
        let stats = Arc::clone(&self.stats);
        while !waiting.is_stopped() {
            let idle = |ring: &Ring| note_ring(&stats, ring, now_ns());
            match self.signer.claim_while(pace.records(), &mut claims, waiting, idle) {
                Ok(Claims::Some) => {}
                Ok(Claims::Drained) => {
                    tracing::debug!(ring = %self.ring, "{}: closed, and nothing is left to sign", self.ring);
                    return Ok(Exit::Done);
                }
                Err(WaitError::Stopped) => break,
                Err(error) => return Err(unusable(self.ring, &error)),
            }
            let claimed_ns = now_ns();
            let count = claims.len();
            jobs.extend(claims.drain(..).map(|claim| Job::read(&self.signer, claim, claimed_ns)));
            let mut engines = shared.engines();
            self.work_off(&mut engines, &mut jobs, claimed_ns)?;
            shared.switch_if_posted(&mut engines);
            drop(engines);
            let done_ns = now_ns();
            pace.note(count, done_ns - claimed_ns);
            // Others write these lines, and no record waits for them now.
            note_ring(&stats, self.signer.ring(), done_ns);
        }
        Ok(Exit::Failed)
    }

    /// Signs and answers `jobs`, those of one method at once. Who swaps keeps to the ring's order, and swaps.
    fn work_off(
        &mut self,
        engines: &mut Engines,
        jobs: &mut Vec<Job>,
        claimed_ns: u64,
    ) -> Result<(), Failure> {
        self.stats.batches.bump(1);
        if let Some(last) = jobs.last() {
            self.stats.claimed_end.raise(last.claim.sequence() + 1);
        }
        if !engines.is_swapping() {
            jobs.sort_unstable_by_key(|job| (job.method, job.claim.sequence()));
        }
        let mut jobs = jobs.drain(..).peekable();
        while let Some(job) = jobs.next() {
            let method = job.method;
            self.take(job)?;
            while let Some(job) = jobs.next_if(|job| job.method == method) {
                self.take(job)?;
            }
            match Method::from_raw(method) {
                Some(method) => self.sign(engines, method, claimed_ns)?,
                None => self.refuse(claimed_ns),
            }
            self.batch.clear();
        }
        self.signer.flush();
        Ok(())
    }

    /// Copies a job's message into the batch. It is not read from the ring again.
    fn take(&mut self, job: Job) -> Result<(), Failure> {
        let copy = |message: &mut [u8]| self.signer.copy_message(&job.claim, message);
        self.batch.push(job.message_len, copy).map_err(Failure::environment)?;
        self.in_batch.push(Taken { claim: job.claim, queue_ns: job.queue_ns });
        Ok(())
    }

    /// Signs the batch and answers its records.
    fn sign(&mut self, engines: &mut Engines, method: Method, claimed_ns: u64) -> Result<(), Failure> {
        let started_ns = now_ns();
        let signed = engines.sign(method, &mut self.batch)?;
        if let Err(error) = &signed {
            let (count, label) = (self.in_batch.len(), engines.label(method));
            self.mouth.warn(|| format!("module {label} failed {count} records of {method}: {error}"));
            if count > 1 {
                self.stats.of(Some(method)).busy_ns.bump(now_ns() - started_ns);
                return self.sign_one_by_one(engines, method, claimed_ns);
            }
        }
        let held_back = self.release_check.look(method, &self.batch)?;
        if held_back > 0 {
            let (count, label) = (self.in_batch.len(), engines.label(method));
            self.mouth.warn(|| {
                format!(
                    "module {label} made wrong signatures: those of {held_back} of {count} records of {method} are \
                     held back; stop trusting it with this key"
                )
            });
        }
        let signed_ns = now_ns();
        let stats = self.stats.of(Some(method));
        let origin = engines.origin(method);
        let count = self.in_batch.len() as u64;
        for (i, Taken { claim, queue_ns }) in self.in_batch.drain(..).enumerate() {
            let (status, signature) = match &signed {
                Ok(()) => self.release_check.answer(&self.batch, i),
                Err(error) => (status::of_failed_run(error), &[][..]),
            };
            self.signer.answer(claim, &answer(status, signature, claimed_ns, signed_ns, origin));
            if let (status::BAD_ANSWER, Err(error)) = (status, self.batch.status(i)) {
                let label = engines.label(method);
                self.mouth.warn(|| format!("module {label} failed a record of {method}: {error}"));
            }
            stats.note(status, queue_ns);
        }
        stats.sign.note(signed_ns - claimed_ns, count);
        let answered_ns = now_ns();
        if held_back > 0 {
            engines.discard(method);
        } else if let Err(error) = engines.reset(method) {
            let label = engines.label(method);
            self.mouth.warn(|| format!("module {label} could not forget a batch of {method}: {error}"));
        }
        stats.busy_ns.bump(signed_ns - started_ns + (now_ns() - answered_ns));
        Ok(())
    }

    /// Signs the records of a batch that failed as a whole alone, each from its copy in that batch, so that the one to
    /// blame takes none of its neighbours along.
    fn sign_one_by_one(
        &mut self,
        engines: &mut Engines,
        method: Method,
        claimed_ns: u64,
    ) -> Result<(), Failure> {
        let alone = new_batch(1, self.lens)?;
        let together = mem::replace(&mut self.batch, alone);
        for (i, taken) in mem::take(&mut self.in_batch).into_iter().enumerate() {
            let message = together.message(i);
            self.batch.clear();
            self.batch.push(message.len(), |to| to.copy_from_slice(message)).map_err(Failure::environment)?;
            self.in_batch.push(taken);
            self.sign(engines, method, claimed_ns)?;
        }
        self.batch = together;
        Ok(())
    }

    /// Answers the records of a method that there isn't.
    fn refuse(&mut self, claimed_ns: u64) {
        let stats = self.stats.of(None);
        for Taken { claim, queue_ns } in self.in_batch.drain(..) {
            let refused_ns = now_ns();
            self.signer
                .answer(claim, &answer(status::NO_ENGINE, &[], claimed_ns, refused_ns, Origin::default()));
            stats.note(status::NO_ENGINE, queue_ns);
            stats.sign.note(refused_ns - claimed_ns, 1);
        }
    }
}

/// Takes note of how full the ring is: once a batch, and now and then while there is none.
fn note_ring(stats: &Stats, ring: &Ring, seen_ns: u64) {
    stats.ring_used.set(ring.slots_in_use());
    stats.ring_seen_ns.set(seen_ns);
}

fn answer(status: i32, signature: &[u8], claimed_ns: u64, signed_ns: u64, origin: Origin) -> Answer<'_> {
    let Origin { runtime, module_id, generation } = origin;
    Answer { status, signature, claimed_ns, signed_ns, module_id, generation, runtime }
}
