//! A folder, a server, and a thread in the supervisor's place.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cli::{Exit, Failure, Method};
use control_protocol::protocol::signer_control_client::SignerControlClient;
use extension_engine::{Limits, Runtime};
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::event::{PollFd, PollFlags, poll};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::control::api::{
    Answer, Command, Counters, Event, ModuleEntry, Reason, Refused, Request, Status, Swapped, WorkerStatus,
};
use crate::control::{Directory, Server};
use crate::{Options, ctl};

/// What a supervisor does with a request.
pub type Handler = Box<dyn FnMut(Request) + Send>;
type Job = Box<dyn FnOnce(&Server) + Send>;

/// HTTP/2 on a socket.
#[derive(Clone)]
pub struct Connection(http2::SendRequest<Body>);

impl Service<hyper::Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A served control plane. It ends with the value.
pub struct Rig {
    /// The parent of the folder that is served in.
    pub folder: tempfile::TempDir,
    /// What was asked for, as it is debugged.
    pub seen: Arc<Mutex<Vec<String>>>,
    jobs: Option<(mpsc::Sender<Job>, UnixStream)>,
    supervisor: Option<JoinHandle<()>>,
}

/// How a client's call ended.
pub struct Said {
    pub result: Result<Exit, Failure>,
    pub output: String,
}

impl Rig {
    /// Every call is answered with what [`answer`] says.
    pub fn new() -> Self {
        Self::with(Box::new(|request| (request.reply)(Ok(answer(&request.command)))))
    }

    /// Every call is refused.
    pub fn refusing(reason: Reason, message: &str) -> Self {
        let refused = Refused { reason, message: message.into() };
        Self::with(Box::new(move |request| (request.reply)(Err(refused.clone()))))
    }

    pub fn with(mut handle: Handler) -> Self {
        let folder = private_folder();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (jobs, received) = mpsc::channel::<Job>();
        let directory = Directory::claim(&folder.path().join("control")).unwrap();
        let server = Server::start(&directory, &Limits::default()).unwrap();
        let (wake, woken) = UnixStream::pair().unwrap();
        let commands = Arc::clone(&seen);
        let supervise = move || {
            loop {
                // As a supervisor does: without a look at what has not rung.
                let sockets = [server.as_fd(), woken.as_fd()];
                let mut polled = sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
                let _ = poll(&mut polled, None);
                if polled[0].revents().is_empty() {
                    // For a job, or the end.
                    let _ = (&woken).read(&mut [0]);
                }
                while let Some(request) = server.next_request() {
                    commands.lock().unwrap().push(format!("{:?}", request.command));
                    handle(request);
                }
                match received.try_recv() {
                    Ok(job) => job(&server),
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
            drop(server);
            drop(directory);
        };
        let supervisor = Some(thread::spawn(supervise));
        Self { folder, seen, jobs: Some((jobs, wake)), supervisor }
    }

    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join("control.sock")
    }

    /// A connection that says nothing yet.
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).unwrap()
    }

    /// A client that does what `signer ctl` would not; it may wait for `window` bytes that nobody reads.
    pub async fn client(&self, window: u32) -> SignerControlClient<Connection> {
        SignerControlClient::with_origin(self.connection(window).await, origin())
    }

    /// As [`Rig::client`], for other services.
    pub async fn connection(&self, window: u32) -> Connection {
        let stream = tokio::net::UnixStream::connect(self.socket()).await.unwrap();
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(window);
        let (sender, connection) = http.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection(sender)
    }

    /// Does something on the supervisor's thread, and waits until it is done.
    pub fn on_supervisor<T: Send + 'static>(&self, job: impl FnOnce(&Server) -> T + Send + 'static) -> T {
        let (sender, result) = mpsc::channel();
        let job = Box::new(move |server: &Server| sender.send(job(server)).unwrap());
        let (jobs, mut wake) = self.jobs.as_ref().map(|(jobs, wake)| (jobs, wake)).unwrap();
        jobs.send(job).unwrap();
        wake.write_all(&[0]).unwrap();
        result.recv_timeout(PATIENCE).expect("the supervisor's thread hangs")
    }

    /// `signer ctl --control DIR`, with more arguments.
    pub fn ctl(&self, arguments: &[&str]) -> Said {
        ctl_in(&self.directory(), arguments)
    }

    /// Ends it, as a signer does.
    pub fn stop(&mut self) {
        drop(self.jobs.take());
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.join().unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

/// HTTP wants one.
pub fn origin() -> hyper::Uri {
    hyper::Uri::from_static("http://signer")
}

/// A bound on what must happen, far beyond what it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn private_folder() -> tempfile::TempDir {
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().unwrap()
}

pub fn make_folder(path: &Path, mode: u32) {
    std::fs::DirBuilder::new().mode(mode).create(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn ctl_in(directory: &Path, arguments: &[&str]) -> Said {
    let mut output = String::new();
    let result = ctl_to(directory, arguments, &mut |text| {
        output.push_str(text);
        ControlFlow::Continue(())
    });
    Said { result, output }
}

/// As [`ctl_in`], with the output to `print`.
pub fn ctl_to(
    directory: &Path,
    arguments: &[&str],
    print: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Exit, Failure> {
    let directory = directory.to_str().unwrap();
    let given = ["signer", "ctl", "--control", directory].into_iter().chain(arguments.iter().copied());
    match Options::from_arguments(given)? {
        Options::Ctl(options) => ctl::run_with(&options, &mut |text| Ok(print(text))),
        other => panic!("{other:?}"),
    }
}

impl Said {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.result, Ok(Exit::Done));
        assert_eq!(self.output.matches('\n').count(), 1, "{}", self.output);
        serde_json::from_str(&self.output).unwrap()
    }

    /// Checks the exit code, and that there are these words.
    #[track_caller]
    pub fn fails(&self, exit: Exit, words: &str) {
        let failure = self.result.as_ref().unwrap_err();
        assert_eq!(failure.exit, exit, "{failure}");
        assert!(failure.message.contains(words), "{words:?} is not in {failure}");
        assert_eq!(self.output, "");
    }
}

/// What the supervisor says to a command, if it has nothing against it.
pub fn answer(command: &Command) -> Answer {
    match command {
        Command::Status => Answer::Status(Box::new(status())),
        Command::ListModules => Answer::Modules(vec![entry(1, false), entry(2, true)]),
        Command::Swap { .. } => Answer::Swapped(Swapped {
            module: entry(3, true),
            prepare: Duration::from_millis(71),
            install: Duration::from_micros(420),
            switch: Duration::from_nanos(640),
        }),
        Command::RotateKey { .. } => Answer::Rotated { public_key: "03ee".into() },
        Command::SetLimits(_) | Command::Drain => Answer::Done,
    }
}

pub fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        pid: 4711,
        ring: "/run/user/1000/ring".into(),
        uptime: Duration::from_millis(3_723_456),
        public_key: "02ab".into(),
        generation: 2,
        limits: Limits::default(),
        memory_locked: "key".into(),
        workers: vec![
            WorkerStatus {
                number: 0,
                pid: 4712,
                state: "ready",
                generation: 2,
                signed: 123_456,
                ..WorkerStatus::default()
            },
            WorkerStatus {
                number: 1,
                state: "waiting to start",
                generation: 1,
                failed: 3,
                deaths: 1,
                last_death: "deadline missed".into(),
                ..WorkerStatus::default()
            },
        ],
        methods: vec![entry(2, true)],
        counters: Counters {
            signed: 123_456,
            failed: 3,
            batches: 1930,
            cache_disk_hits: 2,
            ..Counters::default()
        },
        ..Status::default()
    }
}

pub fn entry(generation: u32, present: bool) -> ModuleEntry {
    ModuleEntry {
        method: Method::Ecdsa,
        generation,
        runtime: Runtime::Wasmtime,
        sha256: "0123456789abcdef".repeat(4),
        variant: "wide".into(),
        label: "ecdsa-wide.wasm".into(),
        present,
        since_unix_ms: 1_795_195_862_123,
    }
}

pub fn event(number: u32) -> Event {
    Event {
        unix_ms: 1_795_195_862_123,
        kind: "worker-started",
        worker: Some(number),
        method: None,
        generation: None,
        text: format!("event {number}"),
    }
}

/// Looks every few milliseconds until it is so.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came to be");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn block_on<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await.expect("it hangs") })
}
