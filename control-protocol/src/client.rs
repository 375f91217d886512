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
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Status, Streaming};

use crate::calls::{Call, Reply};
use crate::protocol::signer_control_client::SignerControlClient;
use crate::protocol::{self as proto, Event};

/// Bytes of an answer.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// How often a signer that takes its time is asked whether it is still there, and how long it may take to say so: one that
/// was stopped for half a minute is.
const KEEP_ALIVE: Duration = Duration::from_secs(40);

/// A signer, over its socket.
pub struct Client {
    runtime: Runtime,
    signer: SignerControlClient<Connection>,
    patience: Duration,
    /// For messages.
    name: String,
}

/// One connection. tonic's own channel would connect again and balance; there is nothing to balance.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

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

/// Events, as they come.
pub struct Events {
    client: Client,
    stream: Streaming<Event>,
}

impl Client {
    /// Connects to the signer that serves at `socket`; in messages it is called `name`. Each answer may take as long as
    /// `patience`.
    ///
    /// # Errors
    /// Nobody serves there whom we may ask: exit code 3.
    pub fn connect(socket: &Path, name: &str, patience: Duration) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::environment(format_args!("can't wait for answers: {error}")))?;
        let sender = runtime.block_on(within(patience, name, open(socket, name)))??;
        // No host is behind it, but HTTP wants one.
        let signer = SignerControlClient::with_origin(Connection(sender), Uri::from_static("http://signer"))
            .max_decoding_message_size(ANSWER_LEN_MAX)
            .max_encoding_message_size(usize::MAX);
        Ok(Self { runtime, signer, patience, name: name.into() })
    }

    /// Makes one call.
    ///
    /// # Errors
    /// The signer refuses: exit code 1, with its words. It doesn't answer or is gone: exit code 3.
    pub fn call(&mut self, call: Call) -> Result<Reply, Failure> {
        let signer = &mut self.signer;
        let answer = async {
            Ok::<_, Status>(match call {
                Call::Status => {
                    Reply::Status(Box::new(signer.status(proto::StatusRequest {}).await?.into_inner()))
                }
                Call::ListModules => {
                    Reply::Modules(signer.list_modules(proto::ListModulesRequest {}).await?.into_inner())
                }
                Call::SwapModule(request) => Reply::Swapped(signer.swap_module(request).await?.into_inner()),
                Call::SetLimits(request) => signer.set_limits(request).await.map(|_| Reply::Done)?,
                Call::RotateKey(request) => Reply::KeyRotated(signer.rotate_key(request).await?.into_inner()),
                Call::Drain => signer.drain(proto::DrainRequest {}).await.map(|_| Reply::Done)?,
            })
        };
        let answer = self.runtime.block_on(within(self.patience, &self.name, answer))?;
        answer.map_err(|status| failure(&self.name, &status))
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// As with [`Client::call`].
    pub fn watch(mut self) -> Result<Events, Failure> {
        let stream = self.signer.watch(proto::WatchRequest {});
        let stream = self.runtime.block_on(within(self.patience, &self.name, stream))?;
        let stream = stream.map_err(|status| failure(&self.name, &status))?.into_inner();
        Ok(Events { client: self, stream })
    }
}

impl Iterator for Events {
    type Item = Result<Event, Failure>;

    /// The next event, however long it takes; none when the signer has ended. An error if it was killed.
    fn next(&mut self) -> Option<Self::Item> {
        let event = self.client.runtime.block_on(self.stream.message()).transpose();
        event.map(|event| event.map_err(|status| failure(&self.client.name, &status)))
    }
}

async fn within<T>(patience: Duration, name: &str, what: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(patience, what).await.map_err(|_| {
        Failure::environment(format_args!(
            "the signer in {name} has not answered within {} s; is it stopped?",
            patience.as_secs_f64()
        ))
    })
}

/// A connection with an HTTP/2 client on this end.
async fn open(socket: &Path, name: &str) -> Result<SendRequest<Body>, Failure> {
    let stream = connect(socket, name).await?;
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    let handshake = http.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| gone(name, &error))?;
    // What becomes of it is seen by who waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

async fn connect(socket: &Path, name: &str) -> Result<UnixStream, Failure> {
    let refused = |reason: &dyn std::fmt::Display| {
        Failure::environment(format_args!("no signer can be asked in {}: {reason}", name))
    };
    let stream = loop {
        match UnixStream::connect(socket).await {
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
fn failure(name: &str, status: &Status) -> Failure {
    // What the signer sends has no cause here.
    match status.source() {
        Some(cause) => gone(name, cause),
        None => Failure::failed(match status.message() {
            "" => status.code().description(),
            message => message,
        }),
    }
}

fn gone(name: &str, cause: &dyn Error) -> Failure {
    let mut deepest = cause;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    Failure::environment(format_args!(
        "the connection to the signer in {name} broke ({deepest}); does it still run?"
    ))
}
