//! The server's thread. What a client can cost is bounded: connections, how often one is taken, how long it may last, and the
//! length of its request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cli::Failure;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::address::Listener;
use super::{Address, Question, Snapshot, families};
use crate::inbox::{Inbox, Outbox, inbox};

/// How much the thread yields to others.
const NICE: i32 = 10;

/// Connections at a time. The oldest goes when there are more, so that clients that say nothing don't keep others out.
const CONNECTIONS_MAX: usize = 64;

/// Between two connections: so many can't keep the supervisor from its work, and each has the time of an answer before those
/// that come after it can push it out.
const INTERVAL: Duration = Duration::from_millis(2);

/// What a client may take for its request, and for all of it, the answer included.
const REQUEST: Duration = Duration::from_secs(2);
const CONNECTION: Duration = Duration::from_secs(5);

/// Bytes of a request's head.
const HEAD_MAX: usize = 8 << 10;

/// What the supervisor may take for its answer, which takes it no time at all unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Metrics that are served. Dropped, they are not any more: clients are cut off, and a socket is removed.
pub(crate) struct Server {
    questions: Inbox<Question>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to serve at `address`. A port that was not chosen by the user is said.
    ///
    /// # Errors
    /// The address can't be listened on, or there is no thread to be had.
    pub fn start(address: &Address) -> Result<Self, Failure> {
        let said = |error: io::Error| Failure::environment(format_args!("can't serve metrics: {error}"));
        let listener = address.listen()?;
        match &listener {
            Listener::Tcp(tcp) => {
                tcp.set_nonblocking(true).map_err(said)?;
                if matches!(address, Address::Loopback(asked) if asked.port() == 0) {
                    let at = tcp.local_addr().map_err(said)?;
                    tracing::info!(%at, "metrics are at http://{at}/metrics");
                }
            }
            Listener::Unix(unix, _) => unix.set_nonblocking(true).map_err(said)?,
        }
        let (questions, outbox) = inbox().map_err(said)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            // Linux takes this for the thread alone. A server that is not nice is better than none.
            let _ = rustix::process::nice(NICE);
            run(runtime, listener, outbox, stopped);
        };
        let thread = thread::Builder::new().name("metrics".into()).spawn(serve).map_err(said)?;
        Ok(Self { questions, stop: Some(stop), thread: Some(thread) })
    }

    /// The supervisor's end: readable when a client waits for a snapshot.
    pub fn questions(&self) -> &Inbox<Question> {
        &self.questions
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // If the thread is gone, there is nobody to tell.
            let _ = stop.send(());
        }
        // It has said what it had to say if it panicked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The thread.
fn run(runtime: Runtime, listener: Listener, outbox: Outbox<Question>, stopped: oneshot::Receiver<()>) {
    let directory = runtime.block_on(async {
        let (serving, directory) = match listener {
            Listener::Tcp(tcp) => (TcpListener::from_std(tcp).map(Serving::Tcp), None),
            Listener::Unix(unix, directory) => {
                (UnixListener::from_std(unix).map(Serving::Unix), Some(directory))
            }
        };
        if let Ok(serving) = serving {
            tokio::spawn(serving.accept(outbox));
        }
        // However it is told to: by a word, or by the other end's being gone.
        let _ = stopped.await;
        directory
    });
    if let Some(directory) = directory {
        directory.remove_socket();
    }
    // Clients are cut off.
    drop(runtime);
}

enum Serving {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Serving {
    /// Lets clients in.
    async fn accept(self, outbox: Outbox<Question>) {
        let outbox = Arc::new(outbox);
        let mut tasks = JoinSet::new();
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            while tasks.try_join_next().is_some() {}
            open.retain(|task| !task.is_finished());
            if open.len() >= CONNECTIONS_MAX {
                open.pop_front().iter().for_each(AbortHandle::abort);
            }
            let accepted = match &self {
                Self::Tcp(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| tasks.spawn(attend(stream, Arc::clone(&outbox)))),
                Self::Unix(listener) => match listener.accept().await {
                    Ok((stream, _)) if !is_ours(&stream) => continue,
                    accepted => accepted.map(|(stream, _)| tasks.spawn(attend(stream, Arc::clone(&outbox)))),
                },
            };
            match accepted {
                Ok(task) => {
                    open.push_back(task);
                    sleep(INTERVAL).await;
                }
                // No descriptors, most likely: some will be free again.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Whether the client runs as the user that we run as, or as root.
fn is_ours(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}

/// Serves one client: one request, and goodbye.
async fn attend(stream: impl AsyncRead + AsyncWrite + Unpin, outbox: Arc<Outbox<Question>>) {
    let serve = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method().clone(), request.uri().path().to_owned(), &outbox);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serve);
    // However it ends, it has ended.
    let _ = timeout(CONNECTION, connection).await;
}

async fn answer(method: Method, path: String, outbox: &Outbox<Question>) -> Response<String> {
    let judge: fn(&Snapshot) -> Result<String, String> = match path.as_str() {
        "/metrics" => |snapshot| families::text(snapshot).map_err(|error| error.to_string()),
        "/healthz" => |snapshot| snapshot.health().map(|()| "ok".to_owned()),
        "/readyz" => |snapshot| snapshot.readiness().map(|()| "ready".to_owned()),
        _ => return said(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz"),
    };
    if method != Method::GET && method != Method::HEAD {
        let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let (question, snapshot) = oneshot::channel();
    outbox.put(question);
    let judged = match timeout(PATIENCE, snapshot).await {
        Ok(Ok(snapshot)) => judge(&snapshot),
        Ok(Err(_)) => Err("the signer ends".to_owned()),
        Err(_) => Err("the supervisor doesn't answer".to_owned()),
    };
    match judged {
        Ok(text) => said(StatusCode::OK, &text),
        Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// A response of whole lines.
fn said(status: StatusCode, text: &str) -> Response<String> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let mut response = Response::new(format!("{text}{end}"));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
