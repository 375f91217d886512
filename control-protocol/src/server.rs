//! The server's thread, and the handle of it.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::calls::{Call, Refusal, Reply};
use crate::connections::{Connections, Raced, race};
use crate::events::{self, Incoming, Publisher, Watchers};
use crate::pace::Pace;
use crate::protocol::Event;
use crate::service::Shared;

/// How much the server's thread yields to others.
const NICE: i32 = 10;

/// The rate at which clients are let in, after a burst.
const INTERVAL: Duration = Duration::from_millis(2);
const BURST: u32 = 64;

/// How long answers under way may take when the server ends.
const GRACE: Duration = Duration::from_secs(1);

/// Takes the reply to a call. It never blocks; who has hung up hears nothing. Dropped, it tells the client that the
/// signer is ending.
pub type Responder = Box<dyn FnOnce(Result<Reply, Refusal>) + Send>;

/// Takes calls, on the server's thread: it must not block, and can reply later and elsewhere.
pub type Handler = Box<dyn Fn(Call, Responder) + Send + Sync>;

/// What calls are held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a module that comes with a call.
    pub module_len: u64,
    /// How long it may take to compile; the answer may take that much longer than others.
    pub compile: Duration,
    /// How long a connection may do nothing: not even shake hands, or send a call to its end.
    pub idle: Duration,
}

/// The bounds of the moment.
pub(crate) struct CurrentBounds {
    module_len: AtomicU64,
    compile_ms: AtomicU64,
    idle_ms: AtomicU64,
}

impl CurrentBounds {
    fn new(bounds: Bounds) -> Self {
        let zero = || AtomicU64::new(0);
        let current = Self { module_len: zero(), compile_ms: zero(), idle_ms: zero() };
        current.set(bounds);
        current
    }

    fn set(&self, bounds: Bounds) {
        let ms = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
        self.module_len.store(bounds.module_len, Ordering::Relaxed);
        self.compile_ms.store(ms(bounds.compile), Ordering::Relaxed);
        self.idle_ms.store(ms(bounds.idle), Ordering::Relaxed);
    }

    pub fn module_len(&self) -> u64 {
        self.module_len.load(Ordering::Relaxed)
    }

    pub fn compile(&self) -> Duration {
        Duration::from_millis(self.compile_ms.load(Ordering::Relaxed))
    }

    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.load(Ordering::Relaxed))
    }
}

/// A control plane that is served. Dropped, it ends as with [`Server::stop`].
pub struct Server {
    bounds: Arc<CurrentBounds>,
    /// None once it ends, as with the following.
    events: Option<Publisher>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves whoever connects to `listener` as this user or root. `on_end` is called when nobody is let in any more,
    /// before those who are get their last answers.
    ///
    /// # Errors
    /// The thread or what it needs can't be had.
    pub fn start(
        listener: StdListener,
        bounds: Bounds,
        handler: Handler,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let bounds = Arc::new(CurrentBounds::new(bounds));
        let watchers = Arc::new(Watchers::default());
        let shared = Shared::new(handler, Arc::clone(&bounds), Arc::clone(&watchers))?;
        let (publisher, incoming) = events::channel();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        listener.set_nonblocking(true)?;
        let serve = move || {
            // Linux takes this for the thread alone. A server that is not nice is better than none.
            let _ = rustix::process::nice(NICE);
            run(&runtime, listener, shared, (incoming, watchers), stopped, on_end);
        };
        let thread = thread::Builder::new().name("control".into()).spawn(serve)?;
        Ok(Self { bounds, events: Some(publisher), stop: Some(stop), thread: Some(thread) })
    }

    /// Holds calls to other bounds from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.bounds.set(bounds);
    }

    /// Tells it to whoever watches. Never blocks.
    pub fn publish(&self, event: Event) {
        if let Some(events) = &self.events {
            events.publish(event);
        }
    }

    /// Ends it. Answers that are there and events that were published are sent, for which clients have a second or two;
    /// calls without an answer are cut off.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Watchers end behind the last event.
        drop(self.events.take());
        if let Some(stop) = self.stop.take() {
            // If the thread is gone, there is nobody to tell.
            let _ = stop.send(());
        }
        // It has said what it had to say if it panicked.
        let _ = thread.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread.
fn run(
    runtime: &Runtime,
    listener: StdListener,
    shared: Shared,
    (events, watchers): (Incoming, Arc<Watchers>),
    stopped: oneshot::Receiver<()>,
    on_end: impl FnOnce(),
) {
    runtime.block_on(async {
        let passing_on = tokio::spawn(events.pass_on(watchers));
        let (end, ending) = watch::channel(false);
        let connections = match UnixListener::from_std(listener) {
            Ok(listener) => accept(listener, Arc::new(shared), &ending, stopped).await,
            Err(_) => Connections::default(),
        };
        on_end();
        // However it ends, the watchers are told then.
        let _ = timeout(GRACE, passing_on).await;
        let _ = end.send(true);
        let _ = timeout(GRACE, connections.ended()).await;
    });
}

/// Lets clients in until it is told to stop.
async fn accept(
    listener: UnixListener,
    shared: Arc<Shared>,
    ending: &watch::Receiver<bool>,
    mut stopped: oneshot::Receiver<()>,
) -> Connections {
    let mut connections = Connections::default();
    let pace = Pace::new(INTERVAL, BURST);
    loop {
        let next = async {
            pace.turn().await;
            listener.accept().await
        };
        match race(&mut stopped, next).await {
            Raced::First(_) => return connections,
            Raced::Second(Ok((stream, _))) if is_ours(&stream) => connections.add(stream, &shared, ending),
            Raced::Second(Ok(_)) => {}
            // No descriptors, most likely: some will be free again.
            Raced::Second(Err(_)) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Whether the client runs as the user that we run as, or as root.
fn is_ours(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}
