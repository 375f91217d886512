//! Calls: received, bounded, passed on to the supervisor, answered.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use cli::Failure;
use extension_engine::Limits;
use hyper::body::Incoming;
use hyper::http;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Request, Response, Status};

use super::api::{self, Answer, Command};
use super::connections::{Busy, Connection, IDLE, Raced, race};
use super::convert;
use super::events::{Watch, Watchers};
use super::pace::Pace;
use super::protocol::signer_control_server::{SignerControl, SignerControlServer};
use super::protocol::{self as proto, DESCRIPTORS};

/// The call that a module may come with.
const SWAP: &str = "/ringseal.v1.SignerControl/SwapModule";

/// Bytes of any other call, and of a module's besides the module.
const MESSAGE_LEN_MAX: usize = 64 << 10;

/// Bytes of an answer.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Calls that the supervisor has not answered yet.
const QUEUE: usize = 16;

/// Modules that may be received at a time.
const UPLOADS: usize = 4;

/// The rate of calls that reach the supervisor, after a burst.
const INTERVAL: Duration = Duration::from_millis(4);
const BURST: u32 = 64;

/// How long the supervisor may take to say how it is, and to change something; compiling comes on top.
const ASKING: Duration = Duration::from_secs(30);
const CHANGING: Duration = Duration::from_secs(120);

/// What all connections share.
pub(super) struct Shared {
    requests: mpsc::Sender<api::Request>,
    /// Rings when there is a request.
    bell: Arc<OwnedFd>,
    queue: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    pace: Pace,
    allowed: Arc<Allowed>,
    watchers: Arc<Watchers>,
    reflection: [(&'static str, Route); 2],
}

/// The limits that a call is held to; they change while calls are served.
#[derive(Default)]
pub(super) struct Allowed {
    module_len: AtomicU64,
    compile_ms: AtomicU64,
}

impl Allowed {
    pub fn set(&self, limits: &Limits) {
        self.module_len.store(limits.module_len, Ordering::Relaxed);
        self.compile_ms.store(convert::ms(limits.compile), Ordering::Relaxed);
    }

    fn module_len(&self) -> u64 {
        self.module_len.load(Ordering::Relaxed)
    }

    fn compile(&self) -> Duration {
        Duration::from_millis(self.compile_ms.load(Ordering::Relaxed))
    }
}

/// A service that is not ours.
type Route = Box<dyn Fn(http::Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

fn route<S>(service: S) -> Route
where
    S: Service<http::Request<Incoming>, Response = http::Response<Body>, Error = std::convert::Infallible>
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

/// A call, to its handler.
#[derive(Clone)]
struct Call {
    connection: Arc<Connection>,
    is_received: Arc<AtomicBool>,
}

impl Shared {
    /// # Errors
    /// The descriptors are damaged.
    pub fn new(
        requests: mpsc::Sender<api::Request>,
        bell: Arc<OwnedFd>,
        allowed: Arc<Allowed>,
        watchers: Arc<Watchers>,
    ) -> Result<Self, Failure> {
        let builder = || {
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let damaged = |error| Failure::environment(format_args!("reflection: {error}"));
        let v1 = builder().build_v1().map_err(damaged)?.max_decoding_message_size(MESSAGE_LEN_MAX);
        let alpha = builder().build_v1alpha().map_err(damaged)?.max_decoding_message_size(MESSAGE_LEN_MAX);
        let reflection = [("/grpc.reflection.v1.", route(v1)), ("/grpc.reflection.v1alpha.", route(alpha))];
        let (queue, uploads) = (Arc::new(Semaphore::new(QUEUE)), Arc::new(Semaphore::new(UPLOADS)));
        let pace = Pace::new(INTERVAL, BURST);
        Ok(Self { requests, bell, queue, uploads, pace, allowed, watchers, reflection })
    }

    /// Asks the supervisor, and waits for its answer.
    async fn ask(&self, call: &Busy, command: Command, patience: Duration) -> Result<Answer, Status> {
        let _ = call;
        let Ok(place) = Arc::clone(&self.queue).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!("{QUEUE} calls wait already; try again")));
        };
        self.pace.turn().await;
        let (sender, answer) = oneshot::channel();
        // The place is free when the supervisor has answered, not when the client has lost patience.
        let reply = move |answer| {
            drop(place);
            // Who has hung up hears nothing.
            let _ = sender.send(answer);
        };
        let ending = || Status::unavailable("the signer is ending");
        self.requests.send(api::Request { command, reply: Box::new(reply) }).map_err(|_| ending())?;
        // A counter that is full is one that rings.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        match timeout(patience, answer).await {
            Ok(Ok(answer)) => answer.map_err(Status::from),
            Ok(Err(_)) => Err(ending()),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the signer has not answered within {} s; its status says what became of it",
                patience.as_secs()
            ))),
        }
    }

    fn changing(&self) -> Duration {
        CHANGING + self.allowed.compile()
    }
}

/// Answers one call.
pub(super) async fn answer(
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
        len_max = len_max.saturating_add(usize::try_from(shared.allowed.module_len()).unwrap_or(usize::MAX));
        _upload = Arc::clone(&shared.uploads).try_acquire_owned().ok();
        if _upload.is_none() {
            let message = format!("{UPLOADS} modules are being received already; try again");
            return Status::resource_exhausted(message).into_http();
        }
    }
    let is_received = Arc::new(AtomicBool::new(false));
    request.extensions_mut().insert(Call { connection, is_received: Arc::clone(&is_received) });
    let mut service = SignerControlServer::from_arc(shared)
        .max_decoding_message_size(len_max)
        .max_encoding_message_size(ANSWER_LEN_MAX);
    let mut answer = pin!(service.call(request));
    let answered = match race(answer.as_mut(), sleep(IDLE)).await {
        Raced::First(answered) => answered,
        Raced::Second(()) if is_received.load(Ordering::Relaxed) => answer.await,
        Raced::Second(()) => {
            let message = format!("the call has not arrived within {} s", IDLE.as_secs());
            return Status::deadline_exceeded(message).into_http();
        }
    };
    answered.unwrap_or_else(|never| match never {})
}

/// Notes that a call has been received in full.
fn received<T>(request: Request<T>) -> Result<(Busy, T), Status> {
    let (_, extensions, message) = request.into_parts();
    let call = extensions.get::<Call>().ok_or_else(|| Status::internal("a call without its connection"))?;
    call.is_received.store(true, Ordering::Relaxed);
    Ok((call.connection.begin(), message))
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
        let (call, _) = received(request)?;
        match self.ask(&call, Command::Status, ASKING).await? {
            Answer::Status(status) => Ok(Response::new((*status).into())),
            _ => Err(unexpected()),
        }
    }

    async fn list_modules(
        &self,
        request: Request<proto::ListModulesRequest>,
    ) -> Result<Response<proto::ListModulesResponse>, Status> {
        let (call, _) = received(request)?;
        match self.ask(&call, Command::ListModules, ASKING).await? {
            Answer::Modules(modules) => {
                let modules = modules.into_iter().map(Into::into).collect();
                Ok(Response::new(proto::ListModulesResponse { modules }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn swap_module(
        &self,
        request: Request<proto::SwapModuleRequest>,
    ) -> Result<Response<proto::SwapModuleResponse>, Status> {
        let (call, message) = received(request)?;
        let command = convert::swap(message, self.allowed.module_len())?;
        match self.ask(&call, command, self.changing()).await? {
            Answer::Swapped(swapped) => Ok(Response::new(swapped.into())),
            _ => Err(unexpected()),
        }
    }

    async fn set_limits(
        &self,
        request: Request<proto::SetLimitsRequest>,
    ) -> Result<Response<proto::SetLimitsResponse>, Status> {
        let (call, message) = received(request)?;
        match self.ask(&call, convert::limits(&message)?, self.changing()).await? {
            Answer::Done => Ok(Response::new(proto::SetLimitsResponse {})),
            _ => Err(unexpected()),
        }
    }

    async fn rotate_key(
        &self,
        request: Request<proto::RotateKeyRequest>,
    ) -> Result<Response<proto::RotateKeyResponse>, Status> {
        let (call, message) = received(request)?;
        match self.ask(&call, convert::rotate(message)?, self.changing()).await? {
            Answer::Rotated { public_key } => Ok(Response::new(proto::RotateKeyResponse { public_key })),
            _ => Err(unexpected()),
        }
    }

    async fn drain(
        &self,
        request: Request<proto::DrainRequest>,
    ) -> Result<Response<proto::DrainResponse>, Status> {
        let (call, _) = received(request)?;
        match self.ask(&call, Command::Drain, ASKING).await? {
            Answer::Done => Ok(Response::new(proto::DrainResponse {})),
            _ => Err(unexpected()),
        }
    }

    type WatchStream = Watch;

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Watch>, Status> {
        let (call, _) = received(request)?;
        Ok(Response::new(self.watchers.watch(call)?))
    }
}
