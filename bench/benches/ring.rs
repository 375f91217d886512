//! What each stage of the ring costs in itself: all roles on one thread, so that no line moves between cores, and in bursts of 64
//! records. `cargo bench --manifest-path bench/Cargo.toml --bench ring`; with `-- --test`, each once.
//!
//! The last lines say how many instructions each stage executes, if valgrind is there to count them.
#![allow(missing_docs, reason = "criterion's macros write functions without")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::env;
use std::fs::{self, Permissions};
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use shmem_layout::{
    Answer, Claim, Claims, Consumer, Delivery, Message, Producer, RingOptions, RingPath, Signer,
    WaitStrategy, Waiting, WhenFull, attach, create, now_ns,
};

/// Records of a burst: what the roles take at once.
const BURST: u64 = 64;

const STAGES: [&str; 6] = ["publish", "wake nobody", "claim", "copy the message", "answer", "read and free"];

struct Roles {
    producer: Producer,
    signer: Signer,
    consumer: Consumer,
    waiting: Waiting,
    position: u64,
}

impl Roles {
    fn new(path: &RingPath) -> Self {
        Self {
            producer: attach(path).unwrap().join_producer("bench").unwrap(),
            signer: attach(path).unwrap().join_signer().unwrap(),
            consumer: attach(path).unwrap().join_consumer().unwrap(),
            waiting: Waiting::new(WaitStrategy::Spin),
            position: 0,
        }
    }

    /// Sends a burst through the ring, and gives what each stage took.
    fn burst(&mut self, bytes: &[u8]) -> [Duration; STAGES.len()] {
        let mut times = [Duration::ZERO; STAGES.len()];
        let mut since = Instant::now();
        let mut next = 0;
        let mut over = || {
            times[next] = since.elapsed();
            next += 1;
            since = Instant::now();
        };
        self.stage_publish(bytes);
        over();
        self.stage_wake_nobody();
        over();
        let claims = self.stage_claim();
        over();
        self.stage_copy_the_message(&claims, bytes.len());
        over();
        self.stage_answer(claims);
        over();
        self.stage_read_and_free(bytes);
        over();
        self.position += BURST;
        times
    }

    // Never inlined: who counts instructions knows the stages by these names.

    #[inline(never)]
    fn stage_publish(&mut self, bytes: &[u8]) {
        for position in self.position..self.position + BURST {
            let message = Message { position, method: 1, intended_ns: 0, now_ns: 0, bytes };
            self.producer.publish(&message, WhenFull::Fail, &self.waiting).unwrap();
        }
    }

    #[inline(never)]
    fn stage_wake_nobody(&self) {
        for _ in 0..BURST {
            self.producer.flush();
        }
    }

    #[inline(never)]
    fn stage_claim(&mut self) -> Vec<Claim> {
        let mut claims = Vec::with_capacity(BURST as usize);
        assert_eq!(self.signer.claim(BURST as usize, &mut claims, &self.waiting).unwrap(), Claims::Some);
        assert_eq!(claims.len() as u64, BURST);
        claims
    }

    #[inline(never)]
    fn stage_copy_the_message(&self, claims: &[Claim], len: usize) {
        let mut copy = vec![0; len];
        for claim in claims {
            let len = self.signer.request(claim).message_len;
            self.signer.copy_message(claim, &mut copy[..len]);
            black_box(&copy);
        }
    }

    #[inline(never)]
    fn stage_answer(&mut self, claims: Vec<Claim>) {
        let signature = [7; 64];
        for claim in claims {
            let answer = Answer {
                status: 0,
                signature: &signature,
                claimed_ns: 0,
                signed_ns: 0,
                module_id: 0,
                generation: 0,
                runtime: 0,
            };
            self.signer.answer(claim, &answer);
        }
        self.signer.flush();
    }

    #[inline(never)]
    fn stage_read_and_free(&self, bytes: &[u8]) {
        let (mut message, mut signature) = (Vec::new(), Vec::new());
        for position in self.position..self.position + BURST {
            message.clear();
            signature.clear();
            let read = self.consumer.try_read(position, &mut message, &mut signature).unwrap();
            let Some(Delivery::Record(record)) = read else { panic!("{position}: {read:?}") };
            assert!(record.position == position && message == bytes);
            self.consumer.answer_for(record.sequence, record.source, record.position).unwrap();
        }
        self.consumer.flush();
    }
}

/// A ring for messages of `len` bytes, with all roles in it, and the folder that it lies in.
fn ring(len: u32) -> (tempfile::TempDir, Roles) {
    let folder =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in("/dev/shm").unwrap();
    let path = RingPath::File(folder.path().join("ring"));
    let options = RingOptions {
        capacity: 1024,
        message_capacity: len,
        signature_capacity: 64,
        ..RingOptions::default()
    };
    create(&path, &options).unwrap();
    let roles = Roles::new(&path);
    (folder, roles)
}

fn stages(criterion: &mut Criterion) {
    for len in [64, 256] {
        let (_folder, mut roles) = ring(len);
        let bytes = vec![7; len as usize];
        let mut group = criterion.benchmark_group(format!("{len} bytes"));
        for (stage, name) in STAGES.iter().enumerate() {
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(|times| {
                    let bursts = times.div_ceil(BURST);
                    let all: Duration = (0..bursts).map(|_| roles.burst(&bytes)[stage]).sum();
                    all.mul_f64(times as f64 / (bursts * BURST) as f64)
                });
            });
        }
        group.finish();
    }
    criterion.bench_function("reading the clock", |bencher| bencher.iter(now_ns));
}

/// Bursts whose instructions are counted, and for a run to be compared with.
const COUNTED: [u64; 2] = [20, 10];

/// Tells the process that a stage is counted in how many bytes messages have, and how many bursts of them there are.
const COUNT: &str = "RINGSEAL_COUNT";

/// Counts the instructions of each stage, in user mode, by callgrind: runs this program again for each.
fn count_instructions() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("ratio instructions: not counted, there is no valgrind");
        return;
    }
    for len in [64, 256] {
        let counts = STAGES.map(|stage| {
            let [more, less] = COUNTED.map(|bursts| instructions(stage, len, bursts));
            let each = (more - less) as f64 / ((COUNTED[0] - COUNTED[1]) * BURST) as f64;
            format!("{stage} {each:.0}")
        });
        println!("ratio instructions of a record of {len} bytes: {}", counts.join(", "));
    }
}

/// All that is executed in `stage` and below it, in so many bursts.
fn instructions(stage: &str, len: u32, bursts: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let said = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect=*stage_{}*", stage.replace(' ', "_")))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .env(COUNT, format!("{len} {bursts}"))
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let out = fs::read_to_string(out).unwrap();
    out.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim().parse().unwrap()
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = stages
}

fn main() {
    if let Ok(what) = env::var(COUNT) {
        let (len, bursts) = what.split_once(' ').unwrap();
        let (_folder, mut roles) = ring(len.parse().unwrap());
        let bytes = vec![7; len.parse().unwrap()];
        for _ in 0..bursts.parse().unwrap() {
            roles.burst(&bytes);
        }
        return;
    }
    benches();
    count_instructions();
    Criterion::default().configure_from_args().final_summary();
}
