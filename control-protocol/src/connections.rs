//! Clients' connections: how many there may be, which of them goes when there are too many, and when one ends.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::service::{self, Shared};

/// Connections at a time; more than there can be busy ones, so that there is always one that can go.
const CONNECTIONS_MAX: usize = 64;

/// Calls at a time on one connection.
const STREAMS_MAX: u32 = 8;

/// How often a client is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes of a call, and of all calls of a connection, that may wait to be read.
const WINDOW: u32 = 256 << 10;

/// Bytes of a call's headers.
const HEADERS_MAX: u32 = 8 << 10;

/// Bytes of an answer that may wait to be sent.
const SEND_BUFFER: usize = 64 << 10;

/// Whether a connection has a call under way: one that has been received in full, and is not answered.
pub(crate) struct Connection(Mutex<Activity>);

struct Activity {
    busy: u32,
    /// Since when it is not, or is.
    since: Instant,
    has_called: bool,
}

/// Keeps a connection from being idle.
pub(crate) struct Busy(Arc<Connection>);

impl Connection {
    fn new() -> Self {
        Self(Mutex::new(Activity { busy: 0, since: Instant::now(), has_called: false }))
    }

    /// A call has been received.
    pub fn begin(self: &Arc<Self>) -> Busy {
        let mut activity = self.lock();
        activity.busy += 1;
        activity.has_called = true;
        Busy(Arc::clone(self))
    }

    /// None while a call is under way.
    fn idle_since(&self) -> Option<Instant> {
        let activity = self.lock();
        (activity.busy == 0).then_some(activity.since)
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = self.0.lock();
        activity.busy -= 1;
        activity.since = Instant::now();
    }
}

/// The connections that are open.
#[derive(Default)]
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    open: Vec<(Arc<Connection>, AbortHandle)>,
}

impl Connections {
    /// Serves another client. If there are too many, the one goes that has been idle for longest: a client that opens
    /// many and says nothing does not keep others out.
    pub fn add(&mut self, stream: UnixStream, shared: &Arc<Shared>, ending: &watch::Receiver<bool>) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= CONNECTIONS_MAX {
            let idle = self.open.iter().enumerate().filter_map(|(i, (c, _))| Some((c.idle_since()?, i)));
            let Some((_, longest)) = idle.min() else { return };
            self.open.swap_remove(longest).1.abort();
        }
        let connection = Arc::new(Connection::new());
        let task = attend(stream, Arc::clone(&connection), Arc::clone(shared), ending.clone());
        self.open.push((connection, self.tasks.spawn(task)));
    }

    /// Waits until all have ended.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves one client to its end, or ours.
async fn attend(
    stream: UnixStream,
    state: Arc<Connection>,
    shared: Arc<Shared>,
    mut ending: watch::Receiver<bool>,
) {
    let (of, bounds) = (Arc::clone(&state), Arc::clone(&shared.bounds));
    let answer = move |request: Request<Incoming>| {
        let answer = service::answer(Arc::clone(&shared), Arc::clone(&of), request);
        async { Ok::<Response<_>, Infallible>(answer.await) }
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service_fn(answer)));
    loop {
        let idle = bounds.idle();
        let until = state.idle_since().unwrap_or_else(Instant::now) + idle;
        let other = race(sleep_until(until), ending.changed());
        match race(connection.as_mut(), other).await {
            Raced::First(_) => return,
            Raced::Second(Raced::First(())) => {
                if state.idle_since().is_some_and(|since| since.elapsed() >= idle) {
                    return;
                }
            }
            Raced::Second(Raced::Second(_)) => break,
        }
    }
    // A client that has not even shaken hands has nothing to lose.
    if state.lock().has_called {
        connection.as_mut().graceful_shutdown();
        // However it ends, it has ended.
        let _ = connection.await;
    }
}

/// Which of two was done first.
pub(crate) enum Raced<A, B> {
    First(A),
    Second(B),
}

/// Does two things until one is done; the first goes first.
pub(crate) async fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Raced<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Raced::First(done)),
        Poll::Pending => second.as_mut().poll(cx).map(Raced::Second),
    })
    .await
}
