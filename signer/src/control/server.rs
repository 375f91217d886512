//! The server's thread, and the supervisor's end of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cli::Failure;
use extension_engine::Limits;
use rustix::event::{EventfdFlags, eventfd};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::api::{Event, Request};
use super::connections::{Connections, Raced, race};
use super::directory::Directory;
use super::events::{self, Incoming, Publisher, Watchers};
use super::pace::Pace;
use super::service::{Allowed, Shared};

/// How much the server's thread yields to others.
const NICE: i32 = 10;

/// The rate at which clients are let in, after a burst.
const INTERVAL: Duration = Duration::from_millis(2);
const BURST: u32 = 64;

/// How long answers under way may take when the signer ends.
const GRACE: Duration = Duration::from_secs(1);

/// A control plane that is served. Dropped, it ends as with [`Server::stop`].
pub(crate) struct Server {
    /// None once it ends.
    requests: Option<mpsc::Receiver<Request>>,
    bell: Arc<OwnedFd>,
    allowed: Arc<Allowed>,
    events: Option<Publisher>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to serve in `directory`, which stays claimed for as long as the server lives. Calls are held to `limits`
    /// (see [`Server::set_limits`]).
    ///
    /// # Errors
    /// The socket, the thread or what they need can't be had.
    pub fn start(directory: &Directory, limits: &Limits) -> Result<Self, Failure> {
        let said =
            |error: io::Error| Failure::environment(format_args!("can't serve the control plane: {error}"));
        let (sender, requests) = mpsc::channel();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags).map_err(|error| said(error.into()))?);
        let allowed = Arc::new(Allowed::default());
        allowed.set(limits);
        let watchers = Arc::new(Watchers::default());
        let shared = Shared::new(sender, Arc::clone(&bell), Arc::clone(&allowed), Arc::clone(&watchers))?;
        let (publisher, incoming) = events::channel();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
        let held = directory.try_clone().map_err(said)?;
        let listener = directory.listen()?;
        let serve = move || {
            // Linux takes this for the thread alone. A server that is not nice is better than none.
            let _ = rustix::process::nice(NICE);
            run(&runtime, listener, shared, (incoming, watchers), stopped, &held);
        };
        let thread = thread::Builder::new().name("control".into()).spawn(serve).map_err(said)?;
        let (requests, events) = (Some(requests), Some(publisher));
        Ok(Self { requests, bell, allowed, events, stop: Some(stop), thread: Some(thread) })
    }

    /// The next call that waits, if any. Once there is none, [`AsFd::as_fd`] is readable when there is one again.
    pub fn next_request(&self) -> Option<Request> {
        let requests = self.requests.as_ref()?;
        requests.try_recv().ok().or_else(|| {
            // First the bell, then another look: who rings in between is seen, or rings.
            let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
            requests.try_recv().ok()
        })
    }

    /// The limits have changed.
    pub fn set_limits(&self, limits: &Limits) {
        self.allowed.set(limits);
    }

    /// Tells it to whoever watches. Never blocks.
    pub fn publish(&self, event: Event) {
        if let Some(events) = &self.events {
            events.publish(event);
        }
    }

    /// Ends it: calls that wait are told so, answers under way and events that were published are sent, for which clients
    /// have a second or two, and the socket is removed.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Calls that wait lose their reply with the queue, and watchers end behind the last event.
        drop(self.requests.take());
        drop(self.events.take());
        if let Some(stop) = self.stop.take() {
            // If the thread is gone, there is nobody to tell.
            let _ = stop.send(());
        }
        // It has said what it had to say if it panicked.
        let _ = thread.join();
    }
}

impl AsFd for Server {
    /// Readable when a call waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
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
    directory: &Directory,
) {
    runtime.block_on(async {
        let listener = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
        let passing_on = tokio::spawn(events.pass_on(watchers));
        let (end, ending) = watch::channel(false);
        let connections = match listener {
            Ok(listener) => accept(listener, Arc::new(shared), &ending, stopped).await,
            Err(_) => Connections::default(),
        };
        directory.remove_socket();
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
