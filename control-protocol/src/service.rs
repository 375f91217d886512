//! Calls: received, bounded, passed on to whoever serves, answered.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Request, Response, Status};

use crate::calls::{Call, Reply};
use crate::connections::{Busy, Connection, Raced, race};
use crate::events::{Watch, Watchers};
use crate::pace::Pace;
use crate::protocol::signer_control_server::{SignerControl, SignerControlServer};
use crate::protocol::swap_module_request::To;
use crate::protocol::{self as proto, DESCRIPTORS};
use crate::server::{CurrentBounds, Handler};

/// The call that a module may come with.
const SWAP: &str = "/ringseal.v1.SignerControl/SwapModule";

/// Bytes of any other call, and of a module's besides the module.
const MESSAGE_LEN_MAX: usize = 64 << 10;

/// Bytes of an answer.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Calls that are not answered yet.
const QUEUE: usize = 16;

/// Modules that may be received at a time.
const UPLOADS: usize = 4;

/// The rate of calls that reach whoever serves, after a burst.
const INTERVAL: Duration = Duration::from_millis(4);
const BURST: u32 = 64;

/// How long an answer may take: how the signer is, and a change; compiling comes on top.
const ASKING: Duration = Duration::from_secs(30);
const CHANGING: Duration = Duration::from_secs(120);

/// What all connections share.
pub(crate) struct Shared {
    handler: Handler,
    pub bounds: Arc<CurrentBounds>,
    queue: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    pace: Pace,
    watchers: Arc<Watchers>,
    reflection: [(&'static str, Route); 2],
}

/// A service that is not ours.
type Route = Box<dyn Fn(http::Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

fn route<S>(service: S) -> Route
where
    S: Service<http::Request<Incoming>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
    })
}

/// Where a call came from, for its handler.
#[derive(Clone)]
struct Origin {
    connection: Arc<Connection>,
    is_received: Arc<AtomicBool>,
}

impl Shared {
    /// # Errors
    /// The descriptors are damaged.
    pub fn new(handler: Handler, bounds: Arc<CurrentBounds>, watchers: Arc<Watchers>) -> io::Result<Self> {
        let builder = || {
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let v1 = builder().build_v1().map_err(io::Error::other)?.max_decoding_message_size(MESSAGE_LEN_MAX);
        let alpha = builder().build_v1alpha().map_err(io::Error::other)?;
        let alpha = alpha.max_decoding_message_size(MESSAGE_LEN_MAX);
        let reflection = [("/grpc.reflection.v1.", route(v1)), ("/grpc.reflection.v1alpha.", route(alpha))];
        let (queue, uploads) = (Arc::new(Semaphore::new(QUEUE)), Arc::new(Semaphore::new(UPLOADS)));
        let pace = Pace::new(INTERVAL, BURST);
        Ok(Self { handler, bounds, queue, uploads, pace, watchers, reflection })
    }

    /// Asks whoever serves, and waits for the answer. `_busy` keeps the connection meanwhile.
    async fn ask(&self, _busy: Busy, call: Call) -> Result<Reply, Status> {
        let Ok(place) = Arc::clone(&self.queue).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!("{QUEUE} calls wait already; try again")));
        };
        self.pace.turn().await;
        let patience = match call {
            Call::Status | Call::ListModules | Call::Drain => ASKING,
            Call::SwapModule(_) | Call::SetLimits(_) | Call::RotateKey(_) => CHANGING + self.bounds.compile(),
        };
        let (sender, answer) = oneshot::channel();
        // The place is free when the call is answered, not when the client has lost patience.
        let respond = move |answer| {
            drop(place);
            // Who has hung up hears nothing.
            let _ = sender.send(answer);
        };
        (self.handler)(call, Box::new(respond));
        match timeout(patience, answer).await {
            Ok(Ok(answer)) => answer.map_err(Status::from),
            Ok(Err(_)) => Err(Status::unavailable("the signer is ending")),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the signer has not answered within {} s; its status says what became of it",
                patience.as_secs()
            ))),
        }
    }
}

/// Answers one call.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    mut request: http::Request<Incoming>,
) -> http::Response<Body> {
    let path = request.uri().path();
    if let Some((_, route)) = shared.reflection.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return route(request).await;
    }
    let (mut len_max, mut _upload) = (MESSAGE_LEN_MAX, None);
    if path == SWAP {
        len_max = len_max.saturating_add(usize::try_from(shared.bounds.module_len()).unwrap_or(usize::MAX));
        _upload = Arc::clone(&shared.uploads).try_acquire_owned().ok();
        if _upload.is_none() {
            let message = format!("{UPLOADS} modules are being received already; try again");
            return Status::resource_exhausted(message).into_http();
        }
    }
    let receiving = shared.bounds.idle();
    let is_received = Arc::new(AtomicBool::new(false));
    request.extensions_mut().insert(Origin { connection, is_received: Arc::clone(&is_received) });
    let mut service = SignerControlServer::from_arc(shared)
        .max_decoding_message_size(len_max)
        .max_encoding_message_size(ANSWER_LEN_MAX);
    let mut answer = pin!(service.call(request));
    let answered = match race(answer.as_mut(), sleep(receiving)).await {
        Raced::First(answered) => answered,
        Raced::Second(()) if is_received.load(Ordering::Relaxed) => answer.await,
        Raced::Second(()) => {
            let message = format!("the call has not arrived within {} s", receiving.as_secs());
            return Status::deadline_exceeded(message).into_http();
        }
    };
    answered.unwrap_or_else(|never| match never {})
}

/// Notes that a call has been received in full.
fn received<T>(request: Request<T>) -> Result<(Busy, T), Status> {
    let (_, extensions, message) = request.into_parts();
    let origin =
        extensions.get::<Origin>().ok_or_else(|| Status::internal("a call without its connection"))?;
    origin.is_received.store(true, Ordering::Relaxed);
    Ok((origin.connection.begin(), message))
}

fn module_len(request: &proto::SwapModuleRequest) -> u64 {
    match &request.to {
        Some(To::Module(module)) => module.wasm.len() as u64,
        _ => 0,
    }
}

fn unexpected() -> Status {
    Status::internal("the signer has answered something else; this is a defect")
}

#[tonic::async_trait]
impl SignerControl for Shared {
    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        let (busy, _) = received(request)?;
        match self.ask(busy, Call::Status).await? {
            Reply::Status(reply) => Ok(Response::new(*reply)),
            _ => Err(unexpected()),
        }
    }

    async fn list_modules(
        &self,
        request: Request<proto::ListModulesRequest>,
    ) -> Result<Response<proto::ListModulesResponse>, Status> {
        let (busy, _) = received(request)?;
        match self.ask(busy, Call::ListModules).await? {
            Reply::Modules(reply) => Ok(Response::new(reply)),
            _ => Err(unexpected()),
        }
    }

    async fn swap_module(
        &self,
        request: Request<proto::SwapModuleRequest>,
    ) -> Result<Response<proto::SwapModuleResponse>, Status> {
        let (busy, message) = received(request)?;
        let (len, len_max) = (module_len(&message), self.bounds.module_len());
        if len > len_max {
            return Err(Status::invalid_argument(format!(
                "the module has {len} bytes, and may have {len_max}; raise the limit, or make it smaller"
            )));
        }
        match self.ask(busy, Call::SwapModule(message)).await? {
            Reply::Swapped(reply) => Ok(Response::new(reply)),
            _ => Err(unexpected()),
        }
    }

    async fn set_limits(
        &self,
        request: Request<proto::SetLimitsRequest>,
    ) -> Result<Response<proto::SetLimitsResponse>, Status> {
        let (busy, message) = received(request)?;
        match self.ask(busy, Call::SetLimits(message)).await? {
            Reply::Done => Ok(Response::new(proto::SetLimitsResponse {})),
            _ => Err(unexpected()),
        }
    }

    async fn rotate_key(
        &self,
        request: Request<proto::RotateKeyRequest>,
    ) -> Result<Response<proto::RotateKeyResponse>, Status> {
        let (busy, message) = received(request)?;
        match self.ask(busy, Call::RotateKey(message)).await? {
            Reply::KeyRotated(reply) => Ok(Response::new(reply)),
            _ => Err(unexpected()),
        }
    }

    async fn drain(
        &self,
        request: Request<proto::DrainRequest>,
    ) -> Result<Response<proto::DrainResponse>, Status> {
        let (busy, _) = received(request)?;
        match self.ask(busy, Call::Drain).await? {
            Reply::Done => Ok(Response::new(proto::DrainResponse {})),
            _ => Err(unexpected()),
        }
    }

    type WatchStream = Watch;

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Watch>, Status> {
        let (busy, _) = received(request)?;
        Ok(Response::new(self.watchers.watch(busy)?))
    }
}
