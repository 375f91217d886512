//! What each stage of the ring costs in itself: all roles on one thread, so that no line moves between cores, and in bursts of 64
//! records. `cargo bench --manifest-path bench/Cargo.toml --bench ring`; with `-- --test`, each once.
#![allow(missing_docs, reason = "criterion's macros write functions without")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::fs::Permissions;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use shmem_layout::{
    Answer, Claims, Consumer, Delivery, Message, Producer, RingOptions, RingPath, Signer, WaitStrategy,
    Waiting, WhenFull, attach, create, now_ns,
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
        for position in self.position..self.position + BURST {
            let message = Message { position, method: 1, intended_ns: 0, now_ns: 0, bytes };
            self.producer.publish(&message, WhenFull::Fail, &self.waiting).unwrap();
        }
        over();
        for _ in 0..BURST {
            self.producer.flush();
        }
        over();
        let mut claims = Vec::with_capacity(BURST as usize);
        assert_eq!(self.signer.claim(BURST as usize, &mut claims, &self.waiting).unwrap(), Claims::Some);
        assert_eq!(claims.len() as u64, BURST);
        over();
        let mut copy = vec![0; bytes.len()];
        for claim in &claims {
            let len = self.signer.request(claim).message_len;
            self.signer.copy_message(claim, &mut copy[..len]);
            black_box(&copy);
        }
        over();
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
        over();
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
        over();
        self.position += BURST;
        times
    }
}

fn stages(criterion: &mut Criterion) {
    for len in [64, 256] {
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in("/dev/shm")
            .unwrap();
        let path = RingPath::File(folder.path().join("ring"));
        let options = RingOptions {
            capacity: 1024,
            message_capacity: len,
            signature_capacity: 64,
            ..RingOptions::default()
        };
        create(&path, &options).unwrap();
        let mut roles = Roles::new(&path);
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

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = stages
}
criterion_main!(benches);
