//! The program itself, killed at random moments under load: each position must stand in the journal once and in order,
//! and the other files must say what the journal says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cli::Method;
use consumer::encoding::Encoding;
use consumer::hgrm;
use consumer::histograms::Stage;
use consumer::journal::Journal;
use consumer::output_folder::{CHECKPOINT, JOURNAL, OutputFolder, SUMMARY, distribution};
use consumer::record::Batch;
use consumer::recorder::Recorder;
use consumer::resume::begin_or_resume;
use consumer::ring_end::{AnsweredFor, Fill, Reader};
use hdrhistogram::Histogram;
use serde_json::Value;
use shmem_layout::{Answer, Claims, Message, RingOptions, RingPath, WaitStrategy, Waiting, WhenFull};
use tempfile::TempDir;

use crate::random::Random;
use crate::run::{NEVER_NS, logged};
use crate::signed;

/// Nothing here takes a tenth of it.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A private folder with a ring in it.
struct Scene {
    folder: TempDir,
    ring: RingPath,
}

impl Scene {
    fn new(capacity: u32) -> Self {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir_in("/dev/shm").unwrap();
        let ring = RingPath::from(folder.path().join("ring").as_path());
        shmem_layout::create(&ring, &RingOptions { capacity, ..RingOptions::default() }).unwrap();
        Self { folder, ring }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// A consumer of this ring that writes to `out`.
    fn consumer(&self, out: &Path, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_consumer"))
            .args(["--ring", &self.ring.to_string(), "--out", out.to_str().unwrap()])
            .args(["--public-key", &hex::encode(signed::trusted_key().compressed())])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Publishes messages until `stop` is set, closes the ring, and returns how many they were.
    fn produce(&self, stop: &AtomicBool, waiting: &Waiting) -> u64 {
        let mut producer = shmem_layout::attach(&self.ring).unwrap().join_producer("load").unwrap();
        let mut position = 0;
        while !stop.load(Ordering::Relaxed) && !waiting.is_stopped() {
            let bytes = [0x5a; 256];
            let message = Message {
                position,
                method: Method::Ecdsa as u32,
                intended_ns: shmem_layout::now_ns(),
                now_ns: shmem_layout::now_ns(),
                bytes: &bytes[..position as usize % 257],
            };
            producer.publish(&message, WhenFull::Wait, waiting).unwrap();
            producer.flush();
            position += 1;
            if position.is_multiple_of(16) {
                thread::sleep(Duration::from_millis(2));
            }
        }
        shmem_layout::attach(&self.ring).unwrap().close(waiting).unwrap();
        position
    }

    /// Publishes as many messages, and closes the ring.
    fn publish_and_close(&self, messages: u64) {
        let waiting = Waiting::new(WaitStrategy::Adaptive);
        let mut producer = shmem_layout::attach(&self.ring).unwrap().join_producer("load").unwrap();
        for position in 0..messages {
            let message = Message {
                position,
                method: Method::Ecdsa as u32,
                intended_ns: 1,
                now_ns: 1,
                bytes: b"message",
            };
            producer.publish(&message, WhenFull::Fail, &waiting).unwrap();
        }
        producer.ring().close(&waiting).unwrap();
    }

    /// Signs until the ring is closed and empty.
    fn sign(&self, waiting: &Waiting) {
        let mut signer = shmem_layout::attach(&self.ring).unwrap().join_signer().unwrap();
        let mut claims = Vec::new();
        while signer.claim(8, &mut claims, waiting).unwrap() == Claims::Some {
            for claim in claims.drain(..) {
                let claimed_ns = shmem_layout::now_ns();
                let mut message = vec![0; signer.request(&claim).message_len];
                signer.copy_message(&claim, &mut message);
                let signature = signed::signature(Method::Ecdsa, &message);
                let answer = Answer {
                    status: 0,
                    signature: &signature,
                    claimed_ns,
                    signed_ns: shmem_layout::now_ns(),
                    module_id: 0,
                    generation: 1,
                    runtime: 1,
                };
                signer.answer(claim, &answer);
            }
            signer.flush();
        }
    }
}

/// Stops those who wait for a consumer that a failing test no longer starts.
struct StopIfPanicking<'a>(&'a Waiting);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        self.0.stop.store(thread::panicking(), Ordering::Relaxed);
    }
}

/// Waits for the end of `child`: its exit code, and what it said.
fn end_of(mut child: Child) -> (Option<i32>, String) {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > WATCHDOG {
            child.kill().unwrap();
            panic!("the consumer hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join(JOURNAL)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The latencies that the journal's `lines` tell.
fn latencies(lines: &[Value]) -> [Histogram<u64>; 4] {
    Stage::ALL.map(|stage| {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        let (from, to) = match stage {
            Stage::Queue => ("intended_ns", "claimed_ns"),
            Stage::Sign => ("claimed_ns", "signed_ns"),
            Stage::Verify => ("signed_ns", "verified_ns"),
            Stage::EndToEnd => ("intended_ns", "verified_ns"),
        };
        for line in lines.iter().filter(|line| stage != Stage::Verify || !line["verified"].is_null()) {
            let times = &line["times"];
            histogram.record(times[to].as_u64().unwrap() - times[from].as_u64().unwrap()).unwrap();
        }
        histogram
    })
}

fn kill_again_and_again(seed: u64, arguments: &[&str]) {
    let scene = Scene::new(64);
    let out = scene.out();
    let (stop, waiting) = (AtomicBool::new(false), Waiting::new(WaitStrategy::Adaptive));
    let random = &mut Random(seed);
    let messages = thread::scope(|scope| {
        let _guard = StopIfPanicking(&waiting);
        let producing = scope.spawn(|| scene.produce(&stop, &waiting));
        scope.spawn(|| scene.sign(&waiting));
        // Most die young; two of them get as far as the checkpoint at the end of the first second.
        for kill in 0..12 {
            let mut consumer = scene.consumer(&out, arguments);
            let beyond_interval_ms = if kill % 5 == 2 { 1_000 } else { 0 };
            thread::sleep(Duration::from_millis(beyond_interval_ms + random.up_to(150)));
            assert!(consumer.try_wait().unwrap().is_none(), "{:?}", end_of(consumer));
            consumer.kill().unwrap();
            consumer.wait().unwrap();
        }
        let consumer = scene.consumer(&out, arguments);
        thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
        let (code, said) = end_of(consumer);
        assert_eq!((code, said.as_str()), (Some(0), ""), "seed {seed}");
        producing.join().unwrap()
    });

    let lines = lines(&out);
    let positions = lines.iter().map(|line| (line["seq"].as_u64(), line["position"].as_u64()));
    assert!(positions.eq((0..messages).map(|position| (Some(position), Some(position)))), "seed {seed}");
    let latencies = latencies(&lines);
    for (stage, latencies) in Stage::ALL.into_iter().zip(&latencies) {
        let mut expected = Vec::new();
        hgrm::write(latencies, &mut expected).unwrap();
        let written = fs::read_to_string(out.join(distribution(stage))).unwrap();
        assert_eq!(written, String::from_utf8(expected).unwrap(), "seed {seed}, {stage:?}");
    }
    assert_eq!(logged(&out), latencies, "seed {seed}");
    let summary: Value = serde_json::from_slice(&fs::read(out.join(SUMMARY)).unwrap()).unwrap();
    let counts = &summary["counts"];
    assert_eq!((counts["records"].as_u64(), counts["void"].as_u64()), (Some(messages), Some(0)));
    assert!(summary["resumed"].as_u64().unwrap() > 1, "seed {seed}: {summary}");

    let files = || [JOURNAL, SUMMARY, CHECKPOINT].map(|name| fs::read(out.join(name)).unwrap());
    let before = files();
    assert_eq!(end_of(scene.consumer(&out, arguments)), (Some(0), String::new()));
    assert!(files() == before, "a finished run is finished");
}

#[test]
fn each_record_is_written_once_however_often_the_consumer_is_killed() {
    kill_again_and_again(1, &["--verifier", "none"]);
}

#[test]
fn each_record_is_verified_and_written_once_with_several_threads() {
    kill_again_and_again(2, &["--verifier", "k256", "--verify-threads", "2"]);
}

#[test]
fn what_is_in_the_journal_is_freed_and_not_written_again() {
    let scene = Scene::new(8);
    let waiting = Waiting::new(WaitStrategy::Adaptive);
    scene.publish_and_close(5);
    scene.sign(&waiting);

    // A consumer that ends between its journal and the ring.
    let consumer = shmem_layout::attach(&scene.ring).unwrap().join_consumer().unwrap();
    let folder = OutputFolder::open(&scene.out()).unwrap();
    let mut run = begin_or_resume(&folder, &AnsweredFor::of(&consumer, &scene.ring).unwrap()).unwrap();
    let journal = run.journal.take().map(|file| Journal::new(file, Encoding::Hex, &[]));
    let mut recorder = Recorder::new(folder, run, journal, NEVER_NS).unwrap();
    let mut batch = Batch::new(5, 0);
    let mut reader = Reader::new(&consumer, &scene.ring, &waiting);
    assert_eq!(reader.fill(&mut batch).unwrap(), Fill::Some);
    assert!(recorder.append(&batch).unwrap().is_continue());
    assert_eq!(consumer.first_unfreed(), 0);
    drop((recorder, consumer));
    let before = fs::read_to_string(scene.out().join(JOURNAL)).unwrap();

    assert_eq!(end_of(scene.consumer(&scene.out(), &[])), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(scene.out().join(JOURNAL)).unwrap(), before);
    assert_eq!(lines(&scene.out()).len(), 5);
    let ring = || shmem_layout::attach(&scene.ring).unwrap();
    assert_eq!(ring().join_consumer().unwrap().first_unfreed(), 5);
    let position = ring().join_producer("load").unwrap().resume_position();
    assert_eq!(position, 5, "the producer is told of those that were freed late, too");
}

#[test]
fn a_ring_that_went_back_behind_its_journal_is_named() {
    let scene = Scene::new(8);
    scene.publish_and_close(5);
    let earlier = scene.folder.path().join("earlier");
    fs::copy(scene.ring.file_path(), &earlier).unwrap();
    scene.sign(&Waiting::new(WaitStrategy::Adaptive));
    assert_eq!(end_of(scene.consumer(&scene.out(), &[])).0, Some(0));
    fs::rename(earlier, scene.ring.file_path()).unwrap();
    let (code, said) = end_of(scene.consumer(&scene.out(), &[]));
    assert!(code == Some(3) && said.contains("sequence 0 is in the journal"), "{code:?} {said}");
}

#[test]
fn the_program_refuses_another_rings_folder_in_one_line() {
    let [first, second] = [Scene::new(8), Scene::new(8)];
    for scene in [&first, &second] {
        let ring = shmem_layout::attach(&scene.ring).unwrap();
        ring.close(&Waiting::new(WaitStrategy::Adaptive)).unwrap();
    }
    assert_eq!(end_of(first.consumer(&first.out(), &[])).0, Some(0));
    for arguments in [&[][..], &["--output", "none"]] {
        let (code, said) = end_of(second.consumer(&first.out(), arguments));
        assert!(code == Some(2) && said.lines().count() == 1 && said.contains("--out"), "{code:?} {said}");
    }
}
