//! The supervisor: starts workers, starts those again that die, changes what they sign with while they sign, and ends
//! when they have signed everything.
//!
//! One thread. It sleeps until a worker says something or its socket ends, which is how it learns that the worker is
//! gone, an operator asks for something, a signal arrives, or a time has come.

mod answers;
mod begin;
mod change;
mod measure;
mod progress;
mod seat;
mod start;
mod workers;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use cli::{Exit, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::SupervisorOptions;
use crate::assignment::{Assignments, unix_ms};
use crate::control::api::Event;
use crate::control::{Directory, Server};
use crate::key::Key;
use crate::keygen;
use crate::memory_lock::Locked;
use crate::metrics::{self, Tally};
use crate::prepare::Preparation;
use crate::report::Report;
use crate::stats::Totals;
use crate::store::Store;
use change::Change;
use progress::Progress;
use seat::{Seat, State, Worker};
use start::{first_assignments, open_store};

/// How long a worker that was told to stop may take over its batch.
const GRACE: Duration = Duration::from_secs(3);

/// Supervises until every worker is done.
pub(crate) fn run(options: &SupervisorOptions) -> Result<Exit, Failure> {
    let key = options.key.read()?;
    // Before anything is signed, so that nothing is signed in vain.
    let report =
        options.report.as_ref().map(|path| Ok((path, File::create(path).map_err(|e| cant_write(path, &e))?)));
    let report = report.transpose()?;
    let directory = options.control.as_deref().map(Directory::claim).transpose()?;
    let store = options.control.as_deref().map(open_store).transpose()?;
    let assignments = first_assignments(options, store.as_ref())?;
    let control = directory.map(|directory| Server::start(&directory, &options.work.limits)).transpose()?;
    let metrics = options.metrics.as_ref().map(metrics::Server::start).transpose()?;
    let mut supervisor = Supervisor::new(options, key, assignments, (control, metrics), store)
        .map_err(Failure::environment)?;
    let outcome = supervisor.try_modules().and_then(|()| supervisor.supervise());
    if let Some((path, file)) = report {
        supervisor.report().write(file).map_err(|error| cant_write(path, &error))?;
    }
    outcome
}

fn cant_write(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format_args!("report {}: {error}", path.display()))
}

/// Once for each key: it leaves copies of the secret one behind, which are wiped.
fn public_key(key: &Key) -> String {
    key.to_secret().map(|secret| keygen::public_key(&secret)).unwrap_or_default()
}

struct Supervisor<'a> {
    options: &'a SupervisorOptions,
    /// What the workers are started with: the limits may have been changed.
    work: crate::WorkOptions,
    key: Key,
    /// Compressed SEC1, in hexadecimal digits.
    public_key: String,
    assignments: Assignments,
    seats: Vec<Seat>,
    control: Option<Server>,
    metrics: Option<metrics::Server>,
    tally: Tally,
    store: Option<Store>,
    change: Option<Change>,
    started: Instant,
    /// The same by the clock on the wall.
    started_at: SystemTime,
    /// Set by a signal, which also makes `signals` readable.
    stop: Arc<AtomicBool>,
    signals: UnixStream,
    ending: Option<Ending>,
    progress: Option<Progress>,
}

/// Everybody is told to stop.
struct Ending {
    /// Why, unless it was an operator's wish.
    failure: Option<Failure>,
    /// When those who don't stop are killed.
    at: Instant,
}

impl<'a> Supervisor<'a> {
    fn new(
        options: &'a SupervisorOptions,
        key: Key,
        assignments: Assignments,
        (control, metrics): (Option<Server>, Option<metrics::Server>),
        store: Option<Store>,
    ) -> io::Result<Self> {
        // The flag first: who finds the socket readable finds the flag set.
        let stop = cli::stop_on_signals()?;
        let (signals, waker) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        let seats = (0..options.workers).map(|_| Seat::new()).collect::<io::Result<_>>()?;
        Ok(Self {
            options,
            work: options.work.clone(),
            public_key: public_key(&key),
            key,
            assignments,
            seats,
            control,
            metrics,
            tally: Tally::default(),
            store,
            change: None,
            started: Instant::now(),
            started_at: SystemTime::now(),
            stop,
            signals,
            ending: None,
            progress: None,
        })
    }

    /// Has the modules tried that are not our own, each in a process that it can hurt, before a worker runs them.
    fn try_modules(&self) -> Result<(), Failure> {
        for assignment in self.assignments.present.iter().filter(|assignment| assignment.path.is_some()) {
            let mut preparation =
                Preparation::start(assignment, &self.work, false).map_err(Failure::environment)?;
            loop {
                let sockets = [preparation.socket().as_fd(), self.signals.as_fd()].into_iter();
                let sockets = sockets.chain(self.metrics.as_ref().map(|metrics| metrics.questions().as_fd()));
                let mut polled: Vec<_> =
                    sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)).collect();
                // A signal may interrupt it; whatever the reason, what follows looks at all of them.
                let _ = poll(&mut polled, None);
                self.heed_questions();
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Failure::failed("interrupted"));
                }
                if polled[0].revents().is_empty() {
                    continue;
                }
                if let Some(outcome) = preparation.hear() {
                    outcome.map_err(|why| {
                        Failure::bad_input(format_args!("extension {}: {why}", assignment.method))
                    })?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn supervise(&mut self) -> Result<Exit, Failure> {
        self.progress = Progress::start(&self.options.progress, &self.options.work.log);
        loop {
            self.start_who_is_due();
            self.further_change();
            if self.is_over() {
                break;
            }
            self.sleep();
            self.listen();
            self.heed_requests();
            self.heed_questions();
            self.heed_time_and_signals();
            if let Some(progress) = &mut self.progress {
                progress.draw(&self.seats);
            }
        }
        self.progress = None;
        self.abandon_change("the signer has ended");
        let totals = self.totals();
        let (signed, failed) = (totals.signed(), totals.failed());
        match self.ending.take().and_then(|ending| ending.failure) {
            Some(failure) => Err(failure),
            None if failed > 0 => Err(Failure::failed(format_args!(
                "{failed} of {} records could not be signed",
                signed + failed
            ))),
            None => Ok(Exit::Done),
        }
    }

    /// Whether everybody is gone, and nobody is to come.
    fn is_over(&self) -> bool {
        self.seats.iter().all(|seat| matches!(seat.state, State::Ended))
            && !self.change.as_ref().is_some_and(Change::is_handing_over)
    }

    fn start_who_is_due(&mut self) {
        let now = Instant::now();
        for number in 0..self.seats.len() {
            if matches!(self.seats[number].state, State::Due(time) if time <= now) {
                let page = Some(&self.seats[number].page);
                match Worker::start(number, &self.work, &self.key, &self.assignments, page) {
                    Ok(worker) => {
                        self.tally.starts += 1;
                        self.tally.restarts += u64::from(self.seats[number].deaths > 0);
                        self.seats[number].state = State::Running(worker);
                    }
                    Err(error) => {
                        self.seats[number].state = State::Ended;
                        self.end(Failure::environment(format_args!("can't start worker {number}: {error}")));
                    }
                }
            }
        }
    }

    /// Sleeps until somebody says something or dies, a signal arrives, or a time has come.
    fn sleep(&self) {
        let workers = self.seats.iter().flat_map(|seat| seat.worker().into_iter().chain(&seat.standby));
        let sockets = workers.map(Worker::control).chain([&self.signals]);
        let sockets = sockets.chain(self.change.as_ref().and_then(Change::socket)).map(AsFd::as_fd);
        let sockets = sockets.chain(self.control.as_ref().map(AsFd::as_fd));
        let sockets = sockets.chain(self.metrics.as_ref().map(|metrics| metrics.questions().as_fd()));
        let mut polled: Vec<_> =
            sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)).collect();
        let due = self.seats.iter().filter_map(|seat| match seat.state {
            State::Due(time) => Some(time),
            _ => None,
        });
        let ending = self.ending.iter().map(|ending| ending.at);
        let drawing = self.progress.iter().map(|progress| progress.next);
        let next =
            due.chain(ending).chain(drawing).chain(self.change.as_ref().and_then(Change::deadline)).min();
        let timeout = next.and_then(|time| {
            // A ms more, so that the time has come when we wake.
            Timespec::try_from(time.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).ok()
        });
        // A signal may interrupt it; whatever the reason, what follows looks at everything.
        let _ = poll(&mut polled, timeout.as_ref());
    }

    /// Tells everybody to stop. The first reason is the one that counts.
    fn end(&mut self, failure: Failure) {
        self.stop_all(Some(failure));
    }

    fn stop_all(&mut self, failure: Option<Failure>) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Ending { failure, at: Instant::now() + GRACE });
        self.abandon_change("the signer ends");
        self.tell_off();
    }

    fn heed_time_and_signals(&mut self) {
        if self.stop.load(Ordering::Relaxed) && self.ending.as_ref().is_none_or(|e| e.failure.is_none()) {
            let mut byte = [0];
            let _ = self.signals.read(&mut byte);
            self.ending = None;
            self.end(Failure::failed("interrupted"));
        }
        if self.ending.as_ref().is_some_and(|ending| ending.at <= Instant::now()) {
            for seat in &mut self.seats {
                if let State::Running(worker) = &mut seat.state {
                    // If it is dead already, its socket says so.
                    let _ = worker.child.kill();
                }
            }
        }
    }

    fn totals(&self) -> Totals {
        self.seats.iter().map(Seat::totals).sum()
    }

    fn deaths(&self) -> u64 {
        self.seats.iter().map(|seat| seat.deaths).sum()
    }

    fn report(&self) -> Report {
        Report::new(self.options, &self.assignments, self.deaths(), &self.totals(), self.locked())
    }

    /// How much of every worker's memory is never swapped out.
    fn locked(&self) -> Option<Locked> {
        Locked::weakest(self.seats.iter().map(|seat| seat.page.locked.get()))
    }

    /// Tells whoever watches.
    fn tell(&self, kind: &'static str, worker: Option<usize>, text: String) {
        let worker = worker.map(|number| number as u32);
        self.publish(Event { unix_ms: unix_ms(), kind, worker, method: None, generation: None, text });
    }

    fn publish(&self, event: Event) {
        // Those two are said aloud.
        if !matches!(event.kind, "warning" | "worker-died") {
            let Event { kind, worker, generation, text, .. } = &event;
            tracing::debug!(event = kind, worker, generation, "{text}");
        }
        if let Some(control) = &self.control {
            control.publish(event);
        }
    }
}
