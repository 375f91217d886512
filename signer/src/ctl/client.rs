//! The connection to a running signer.

use std::error::Error;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use cli::Failure;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Status, Streaming};

use crate::control::protocol::signer_control_client::SignerControlClient;
use crate::control::protocol::{Event, WatchRequest};
use crate::control::socket_path;

/// Bytes of an answer.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// How often a signer that takes its time is asked whether it is still there, and how long it may take to say so: one that
/// was stopped for half a minute is.
const KEEP_ALIVE: Duration = Duration::from_secs(40);

/// A signer, over its socket.
pub(super) struct Client {
    signer: SignerControlClient<Connection>,
    patience: Duration,
    /// For messages.
    directory: String,
}

/// One connection. tonic's own channel would connect again and balance; there is nothing to balance.
#[derive(Clone)]
pub(crate) struct Connection(pub SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Client {
    /// Connects to the signer that serves in `directory`. Each answer may take as long as `patience`.
    ///
    /// # Errors
    /// Nobody serves there whom we may ask.
    pub async fn connect(directory: &Path, patience: Duration) -> Result<Self, Failure> {
        let directory_shown = directory.display().to_string();
        let stream = within(patience, &directory_shown, connect(directory)).await??;
        let broken = |error| gone(&directory_shown, &error);
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
        let handshake = http.handshake(TokioIo::new(stream));
        let (sender, connection) = within(patience, &directory_shown, handshake).await?.map_err(broken)?;
        // What becomes of it is seen by who waits for an answer.
        tokio::spawn(connection);
        // No host is behind it, but HTTP wants one.
        let signer = SignerControlClient::with_origin(Connection(sender), Uri::from_static("http://signer"))
            .max_decoding_message_size(ANSWER_LEN_MAX)
            .max_encoding_message_size(usize::MAX);
        Ok(Self { signer, patience, directory: directory_shown })
    }

    /// Calls the signer once.
    ///
    /// # Errors
    /// It refuses, doesn't answer, or is gone.
    pub async fn call<'a, T, F>(
        &'a mut self,
        call: impl FnOnce(&'a mut SignerControlClient<Connection>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let answer = within(self.patience, &self.directory, call(&mut self.signer)).await?;
        answer.map(tonic::Response::into_inner).map_err(|status| failure(&self.directory, &status))
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// As with [`Client::call`].
    pub async fn watch(&mut self) -> Result<Streaming<Event>, Failure> {
        self.call(|signer| signer.watch(WatchRequest {})).await
    }

    /// The next event, however long it takes; none when the signer has ended.
    ///
    /// # Errors
    /// It was killed.
    pub async fn next(&self, events: &mut Streaming<Event>) -> Result<Option<Event>, Failure> {
        events.message().await.map_err(|status| failure(&self.directory, &status))
    }
}

async fn within<T>(patience: Duration, directory: &str, what: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(patience, what).await.map_err(|_| {
        Failure::environment(format_args!(
            "the signer in {directory} has not answered within {} s; is it stopped?",
            patience.as_secs_f64()
        ))
    })
}

async fn connect(directory: &Path) -> Result<UnixStream, Failure> {
    let path = socket_path(directory)?;
    let refused = |reason: &dyn std::fmt::Display| {
        Failure::environment(format_args!("no signer can be asked in {}: {reason}", directory.display()))
    };
    let stream = loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => break stream,
            // Too many want to connect.
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(10)).await,
            Err(error) => {
                return Err(refused(&match error.kind() {
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                        "nobody serves there; is the signer started, with --control and this folder?".into()
                    }
                    ErrorKind::PermissionDenied => {
                        "it is another user's; run this as the user that the signer runs as".into()
                    }
                    _ => error.to_string(),
                }));
            }
        }
    };
    let uid = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        // Root asks everybody's.
        Ok(peer) if peer.uid() == uid || peer.uid() == 0 || uid == 0 => Ok(stream),
        Ok(peer) => Err(refused(&format_args!("who serves there is user {}, not you", peer.uid()))),
        Err(error) => Err(refused(&error)),
    }
}

/// What the signer says, or that it says nothing any more.
fn failure(directory: &str, status: &Status) -> Failure {
    // What the signer sends has no cause here.
    match status.source() {
        Some(cause) => gone(directory, cause),
        None => Failure::failed(match status.message() {
            "" => status.code().description(),
            message => message,
        }),
    }
}

fn gone(directory: &str, cause: &dyn Error) -> Failure {
    let mut deepest = cause;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    Failure::environment(format_args!(
        "the connection to the signer in {directory} broke ({deepest}); does it still run?"
    ))
}
