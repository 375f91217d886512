//! Events, on their way from the supervisor to who watches.
//!
//! Nobody waits for a reader: the supervisor hands events to a bounded queue, the server's thread from there to a
//! bounded queue for each watcher, and what doesn't fit is counted, and told with the next event that does.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::tokio_stream::Stream;

use crate::connections::Busy;
use crate::protocol::Event;

/// Events that may wait for the server's thread.
const QUEUE: usize = 1024;

/// Events that may wait for one watcher.
const WATCHER_QUEUE: usize = 256;

/// Watchers at a time.
const WATCHERS_MAX: usize = 16;

/// The supervisor's end.
pub(crate) struct Publisher {
    queue: mpsc::Sender<(u64, Event)>,
    /// Events since the last one that found room.
    missed: Cell<u64>,
}

/// The server's end: events, each with the number of those before it that found no room.
pub(crate) struct Incoming(mpsc::Receiver<(u64, Event)>);

pub(crate) fn channel() -> (Publisher, Incoming) {
    let (queue, incoming) = mpsc::channel(QUEUE);
    (Publisher { queue, missed: Cell::new(0) }, Incoming(incoming))
}

impl Publisher {
    /// Never blocks, and takes no lock that the server's thread may hold.
    pub fn publish(&self, event: Event) {
        let missed = self.missed.take();
        if self.queue.try_send((missed, event)).is_err() {
            self.missed.set(missed + 1);
        }
    }
}

impl Incoming {
    /// Hands events to the watchers, as long as there is a publisher.
    pub async fn pass_on(mut self, watchers: Arc<Watchers>) {
        while let Some((missed, event)) = self.0.recv().await {
            watchers.tell(&Event { missed, ..event });
        }
        watchers.close();
    }
}

/// Who watches; nobody can any more once it is closed.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<State>);

#[derive(Default)]
struct State {
    watchers: Vec<Watcher>,
    is_closed: bool,
}

struct Watcher {
    queue: mpsc::Sender<Event>,
    missed: u64,
}

impl Watchers {
    /// The events from now on.
    ///
    /// # Errors
    /// There are too many watchers already, or the signer is ending.
    pub fn watch(&self, busy: Busy) -> Result<Watch, Status> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.watchers.retain(|watcher| !watcher.queue.is_closed());
        if state.is_closed {
            return Err(Status::unavailable("the signer is ending"));
        }
        if state.watchers.len() >= WATCHERS_MAX {
            return Err(Status::resource_exhausted(format!("{WATCHERS_MAX} clients watch already; end one")));
        }
        let (queue, events) = mpsc::channel(WATCHER_QUEUE);
        state.watchers.push(Watcher { queue, missed: 0 });
        Ok(Watch { events, _busy: busy })
    }

    fn tell(&self, event: &Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in &mut state.watchers {
            let missed = watcher.missed + event.missed;
            match watcher.queue.try_send(Event { missed, ..event.clone() }) {
                Ok(()) => watcher.missed = 0,
                Err(_) => watcher.missed = missed + 1,
            }
        }
        state.watchers.retain(|watcher| !watcher.queue.is_closed());
    }

    fn close(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { watchers: Vec::new(), is_closed: true };
    }
}

/// What one client watches.
pub(crate) struct Watch {
    events: mpsc::Receiver<Event>,
    _busy: Busy,
}

impl Stream for Watch {
    type Item = Result<Event, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx).map(|event| event.map(Ok))
    }
}
