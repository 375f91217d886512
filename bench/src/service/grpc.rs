//! A signer behind gRPC: one unary call a message, on a Unix socket, with tonic, as its generated code would have it.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use shmem_layout::now_ns;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::unbounded_channel;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http, tokio_stream};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::process::{say, told};
use crate::service::load::{Answers, Order, Schedule, message_of};
use crate::service::signer::Signer;
use crate::{Error, Result};

/// Calls that are under way at once when nothing says when they are due.
const UNDER_WAY: u64 = 64;

#[derive(Clone, PartialEq, prost::Message)]
struct SignRequest {
    #[prost(bytes = "vec", tag = "1")]
    message: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignResponse {
    #[prost(bytes = "vec", tag = "1")]
    signature: Vec<u8>,
}

#[derive(Clone)]
struct SignerService(Arc<Mutex<Signer>>);

type Boxed<T, E> = Pin<Box<dyn Future<Output = std::result::Result<T, E>> + Send>>;

impl UnaryService<SignRequest> for SignerService {
    type Response = SignResponse;
    type Future = Boxed<Response<SignResponse>, Status>;

    fn call(&mut self, request: Request<SignRequest>) -> Self::Future {
        let signed = self.0.lock().unwrap_or_else(PoisonError::into_inner).sign(&request.get_ref().message);
        let signed = signed.map(|signature| Response::new(SignResponse { signature }));
        Box::pin(async move { signed.map_err(|error| Status::internal(error.to_string())) })
    }
}

impl Service<http::Request<Body>> for SignerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

impl NamedService for SignerService {
    const NAME: &'static str = "bench.Signer";
}

/// The connections of a listener.
struct Incoming(UnixListener);

impl tokio_stream::Stream for Incoming {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The signer's process: serves on the socket at `path` until its input ends.
pub fn serve(path: &Path) -> Result<()> {
    let service = SignerService(Arc::new(Mutex::new(Signer::new()?)));
    let (over, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = told();
        let _ = over.send(());
    });
    runtime()?.block_on(async {
        let listener = UnixListener::bind(path)?;
        say(&"ready")?;
        let ended = async { drop(ended.await) };
        Server::builder().serve_with_incoming_shutdown(service, Incoming(listener), ended).await?;
        Ok(())
    })
}

/// The client's process: does the order that it is told.
pub fn load(path: &Path) -> Result<()> {
    let path = path.to_owned();
    runtime()?.block_on(async {
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let channel = Endpoint::from_static("http://signer").connect_with_connector(connector).await?;
        say(&"ready")?;
        let order: Order = serde_json::from_str(&told()?.ok_or("no order")?)?;
        say(&send(channel, order).await?.finish())
    })
}

async fn send(channel: Channel, order: Order) -> Result<Answers> {
    let schedule = Schedule::from_now(order.rate);
    let mut answers = Answers::new(order.known, order.count, schedule);
    let (done, mut came) = unbounded_channel::<(u64, u64, Result<Vec<u8>>)>();
    let timer = Timer::new()?;
    for i in 0..order.count {
        if order.rate.is_some() {
            timer.wait_for(&schedule, i).await?;
            while let Ok((i, came_ns, signature)) = came.try_recv() {
                answers.take(i, came_ns, &signature?)?;
            }
        } else if i >= UNDER_WAY {
            let (i, came_ns, signature) = came.recv().await.ok_or("no call is under way")?;
            answers.take(i, came_ns, &signature?)?;
        }
        let (channel, done) = (channel.clone(), done.clone());
        tokio::spawn(async move {
            let signature = call(channel, message_of(i)).await;
            let _ = done.send((i, now_ns(), signature));
        });
    }
    while answers.count() < order.count {
        let (i, came_ns, signature) = came.recv().await.ok_or("no call is under way")?;
        answers.take(i, came_ns, &signature?)?;
    }
    Ok(answers)
}

async fn call(channel: Channel, message: Vec<u8>) -> Result<Vec<u8>> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/bench.Signer/Sign");
    let request = Request::new(SignRequest { message });
    let codec = ProstCodec::<SignRequest, SignResponse>::default();
    let response = grpc.unary(request, path, codec).await.map_err(Error::from)?;
    Ok(response.into_inner().signature)
}

/// Sleeps as finely as the kernel can: the runtime's own timers count milliseconds.
struct Timer(AsyncFd<std::os::fd::OwnedFd>);

impl Timer {
    fn new() -> Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` names the same descriptor all its life and closes it at its end.
        Ok(Self(unsafe { AsyncFd::register(timer) }?))
    }

    /// Sleeps, then polls and lets the runtime work, until message `i` is due.
    async fn wait_for(&self, schedule: &Schedule, i: u64) -> Result<()> {
        let wake = Duration::from_nanos(schedule.wake_ns(i));
        if now_ns() < schedule.wake_ns(i) {
            let at = Timespec { tv_sec: wake.as_secs() as i64, tv_nsec: wake.subsec_nanos().into() };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
            self.0.readable().await?.clear_ready();
        }
        while now_ns() < schedule.due_ns(i) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
