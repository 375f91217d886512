//! A ring, a key, the signer as a child process, and a producer and a consumer in the test.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and each file uses its own part of this"
)]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use cli::Method;
use k256::ecdsa::signature::Verifier;
use k256::{SecretKey, ecdsa, schnorr};
use shmem_layout::{
    Consumer, Delivery, Message, Producer, Record, RingOptions, RingPath, Role, Stage, WaitStrategy, Waiting,
    WhenFull,
};

/// The secret key of all tests.
pub const SECRET: [u8; 32] = [7; 32];

/// A folder with a ring and a key in it, and a watchdog that ends the test process if it hangs.
pub struct Rig {
    pub folder: tempfile::TempDir,
    _watchdog: Watchdog,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(&RingOptions { capacity: 64, ..RingOptions::default() })
    }

    pub fn with(options: &RingOptions) -> Self {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let rig = Self { folder, _watchdog: Watchdog::new() };
        shmem_layout::create(&rig.ring(), options).unwrap();
        write_private(&rig.path("key"), hex::encode(SECRET).as_bytes());
        rig
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn ring(&self) -> RingPath {
        RingPath::File(self.path("ring"))
    }

    /// `signer --ring … --key …`, with more arguments.
    pub fn signer(&self, arguments: &[&str]) -> Running {
        let mut command = signer();
        command.arg("--ring").arg(self.path("ring")).arg("--key").arg(self.path("key")).args(arguments);
        Running::start(&mut command)
    }

    /// A worker, started as a supervisor with process id `supervisor` would have started it.
    pub fn worker_of(&self, supervisor: u32) -> Child {
        let (mut control, theirs) = UnixStream::pair().unwrap();
        let stats = rustix::fs::memfd_create("stats", rustix::fs::MemfdFlags::empty()).unwrap();
        rustix::fs::ftruncate(&stats, 4096).unwrap();
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        control.write_all(&SECRET).unwrap();
        let assignment = |method: &str| {
            format!(
                r#"{{"method":"{method}","runtime":"native","label":"native","path":null,"sha256":"","variant":"","generation":1,"since_unix_ms":0}}"#
            )
        };
        let present = ["ecdsa", "schnorr", "null"].map(assignment).join(",");
        let assignments = format!(r#"{{"generation":1,"present":[{present}],"previous":[null,null,null]}}"#);
        writeln!(control, r#"{{"start":{{"assignments":{assignments},"standby":false}}}}"#).unwrap();
        let worker = signer()
            .args([
                "worker",
                "--control",
                &theirs.as_raw_fd().to_string(),
                "--stats",
                &stats.as_raw_fd().to_string(),
            ])
            .args(["--supervisor", &supervisor.to_string(), "--runtime", "native", "--ring"])
            .arg(self.path("ring"))
            .spawn()
            .unwrap();
        // As with a sibling that holds a copy: the socket stays open for as long as this test goes on.
        std::mem::forget(control);
        worker
    }

    /// The report, if the signer was asked to write it there.
    pub fn report(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("signer.json")).unwrap()).unwrap()
    }

    pub fn producer(&self) -> Producer {
        shmem_layout::attach(&self.ring()).unwrap().join_producer("test").unwrap()
    }

    pub fn consumer(&self) -> Consumer {
        shmem_layout::attach(&self.ring()).unwrap().join_consumer().unwrap()
    }

    /// Publishes `messages` from a thread, and closes the ring.
    pub fn produce(&self, messages: Vec<(u32, Vec<u8>)>) {
        let mut producer = self.producer();
        thread::spawn(move || {
            for (position, (method, bytes)) in (0..).zip(&messages) {
                let message = Message { position, method: *method, intended_ns: 0, now_ns: 0, bytes };
                producer.publish(&message, WhenFull::Wait, &waiting()).unwrap();
                producer.flush();
            }
            producer.ring().close(&waiting()).unwrap();
        });
    }
}

/// An answered record with copies of its message and signature.
pub struct Answered {
    pub record: Record,
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Answered {
    /// Whether the signature is the one that the record's method asks for, by k256.
    pub fn is_valid(&self) -> bool {
        self.is_valid_for(&SECRET)
    }

    /// The same with another key.
    pub fn is_valid_for(&self, secret: &[u8; 32]) -> bool {
        let secret = SecretKey::from_slice(secret).unwrap();
        match Method::from_raw(self.record.method) {
            _ if self.record.status != 0 => false,
            Some(Method::Null) => self.signature.is_empty(),
            Some(Method::Ecdsa) => {
                let key = ecdsa::VerifyingKey::from(secret.public_key());
                ecdsa::Signature::from_slice(&self.signature)
                    .is_ok_and(|s| key.verify(&self.message, &s).is_ok())
            }
            Some(Method::Schnorr) => {
                let key = schnorr::SigningKey::from(secret);
                let key = key.verifying_key();
                schnorr::Signature::try_from(self.signature.as_slice())
                    .is_ok_and(|s| key.verify_raw(&self.message, &s).is_ok())
            }
            None => false,
        }
    }
}

/// Consumes to the end of the stream; `at` is called before each sequence.
pub fn consume(consumer: &Consumer, mut at: impl FnMut(u64)) -> Vec<Answered> {
    let mut all = Vec::new();
    for sequence in 0.. {
        at(sequence);
        let (mut message, mut signature) = (Vec::new(), Vec::new());
        let forever = Duration::MAX;
        let delivery = consumer.read(sequence, &mut message, &mut signature, &waiting(), forever).unwrap();
        match delivery.unwrap() {
            Delivery::Record(record) => {
                consumer.answer_for(record.sequence, record.source, record.position).unwrap();
                all.push(Answered { record, message, signature });
            }
            Delivery::Void => consumer.free(sequence).unwrap(),
            Delivery::Closed => break,
        }
        consumer.flush();
    }
    all
}

/// `count` different messages, whose methods take turns.
pub fn messages(count: usize, methods: &[Method]) -> Vec<(u32, Vec<u8>)> {
    (0..count).map(|i| (methods[i % methods.len()] as u32, format!("message {i}").into_bytes())).collect()
}

/// How many slots are in `stage` now.
pub fn slots_in(consumer: &Consumer, stage: Stage) -> u64 {
    consumer.ring().snapshot().unwrap().slots[stage as usize - 1]
}

/// The process ids of the signers that live.
pub fn live_signers(consumer: &Consumer) -> Vec<u32> {
    let members = consumer.ring().members().unwrap();
    members.iter().filter(|m| m.role == Some(Role::Signer) && m.is_alive).map(|m| m.pid).collect()
}

pub fn waiting() -> Waiting {
    Waiting::new(WaitStrategy::Block)
}

/// Looks every few milliseconds until there is what is looked for; a watchdog bounds it.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn write_private(path: &Path, content: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // It may be gone already.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Whether a process of that id runs: one that only waits for its parent's notice doesn't.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// The ids of the processes that `parent` has started.
pub fn children(parent: u32) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(parent.to_string().as_str())
    };
    pids.filter(is_child).collect()
}

/// The program, with a module cache that is not the user's own.
pub fn signer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signer"));
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A process that a test has started. It is killed with the value.
pub struct Running(Child);

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The next line that it says on standard error, without its end.
    pub fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.0.stderr.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.0.stdin.as_mut().unwrap()
    }

    pub fn close_stdin(&mut self) {
        drop(self.0.stdin.take());
    }

    pub fn wait(mut self) -> Ended {
        self.close_stdin();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Ended {
    Running::start(command).wait()
}

impl Ended {
    /// Checks the exit code, and that nothing was said.
    #[track_caller]
    pub fn is_quiet(&self, code: i32) {
        assert_eq!((self.status.code(), self.stderr.as_str()), (Some(code), ""));
    }

    /// Checks the exit code, and that there is one line, with `words` in it.
    #[track_caller]
    pub fn says(&self, code: i32, words: &str) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert!(self.stderr.contains(words), "{words:?} is not in {self:?}");
        assert!(self.stderr.starts_with("signer: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
    }
}

/// Ends the process when it is not dropped in time: a test that hangs must fail.
struct Watchdog(Sender<()>);

impl Watchdog {
    fn new() -> Self {
        let (alive, test) = mpsc::channel::<()>();
        let name = thread::current().name().unwrap_or_default().to_owned();
        thread::spawn(move || {
            if test.recv_timeout(Duration::from_secs(300)) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln`, which is captured and lost.
                let _ = writeln!(std::io::stderr(), "{name} hangs");
                std::process::abort();
            }
        });
        Self(alive)
    }
}
