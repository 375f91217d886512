//! A real ring in a folder of its own, drained by a signer and a consumer of the test's.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use producer::{Content, Format, InputOptions, Options};
use shmem_layout::{
    Answer, Claims, Delivery, Record, Ring, RingOptions, RingPath, Stage, WaitError, WaitStrategy, Waiting,
    WhenFull, attach, create,
};
use tempfile::TempDir;

/// What came out of the ring for one message.
pub struct Drained {
    pub record: Record,
    pub message: Vec<u8>,
}

/// A ring, its folder, and a watchdog that ends a test that hangs.
pub struct TestRing {
    pub folder: TempDir,
    pub path: RingPath,
    _watchdog: mpsc::Sender<()>,
}

/// The message capacity of the ring of [`ring`], in bytes.
pub const MESSAGE_CAPACITY: usize = 256;

/// A ring of `capacity` slots.
pub fn ring(capacity: u32) -> TestRing {
    let (watchdog, dropped) = mpsc::channel();
    thread::spawn(move || {
        if dropped.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a test hangs");
            std::process::abort();
        }
    });
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
    let path = RingPath::File(folder.path().join("ring"));
    create(&path, &RingOptions { capacity, ..RingOptions::default() }).unwrap();
    TestRing { folder, path, _watchdog: watchdog }
}

impl TestRing {
    /// Options for `content`, everything else as the command line has it by default.
    pub fn options(&self, content: Content) -> Options {
        Options {
            placement: Default::default(),
            progress: Default::default(),
            log: Default::default(),
            report: None,
            ring: self.path.clone(),
            source: "default".into(),
            method: "ecdsa".parse().unwrap(),
            seed: 1,
            messages: if matches!(content, Content::Input(_)) { u64::MAX } else { 1024 },
            content,
            rate: None,
            when_full: WhenFull::Wait,
            close: false,
            wait: WaitStrategy::Adaptive,
            stall_after: shmem_layout::STALL_AFTER,
        }
    }

    /// Options to read `text` from a file.
    pub fn reading(&self, text: impl AsRef<[u8]>, format: Format) -> Options {
        let path = self.file("input", text);
        self.options(Content::Input(InputOptions { path, format, skip_oversize: false }))
    }

    /// Writes a file into the ring's folder.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn attach(&self) -> Ring {
        attach(&self.path).unwrap()
    }

    /// Waits until `count` slots are in `stage`.
    pub fn wait_for(&self, stage: Stage, count: u64) {
        let ring = self.attach();
        while ring.snapshot().unwrap().slots[stage as usize - 1] < count {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until `count` messages have come out of the ring.
    pub fn wait_for_tail(&self, count: u64) {
        let ring = self.attach();
        while ring.snapshot().unwrap().tail < count {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// All that is in the ring by now, signed and freed.
    pub fn drain(&self) -> Vec<Drained> {
        let waiting = Waiting::default();
        waiting.stop.store(true, Ordering::Relaxed);
        self.drain_until_closed_or(&waiting)
    }

    /// All that comes until the ring is closed, or until `waiting` is stopped and nothing is left.
    pub fn drain_until_closed_or(&self, waiting: &Waiting) -> Vec<Drained> {
        let mut signer = self.attach().join_signer().unwrap();
        let consumer = self.attach().join_consumer().unwrap();
        let mut sequence = consumer.first_unfreed();
        let mut drained = Vec::new();
        loop {
            let mut batch = Vec::new();
            let claims = match signer.claim(64, &mut batch, waiting) {
                Ok(claims) => claims,
                Err(WaitError::Stopped) => return drained,
                Err(error) => panic!("{error}"),
            };
            for claim in batch {
                signer.answer(claim, &ANSWER);
            }
            let (mut message, mut signature) = (Vec::new(), Vec::new());
            while let Some(delivery) = consumer.try_read(sequence, &mut message, &mut signature).unwrap() {
                match delivery {
                    Delivery::Record(record) => {
                        consumer.answer_for(record.sequence, record.source, record.position).unwrap();
                        drained.push(Drained { record, message: std::mem::take(&mut message) });
                    }
                    Delivery::Void => consumer.free(sequence).unwrap(),
                    Delivery::Closed => return drained,
                }
                sequence += 1;
            }
            consumer.flush();
            assert_eq!(claims, Claims::Some, "drained, but the consumer did not reach the end");
        }
    }
}

const ANSWER: Answer<'static> = Answer {
    status: 0,
    signature: &[],
    claimed_ns: 0,
    signed_ns: 0,
    module_id: 0,
    generation: 0,
    runtime: 0,
};

/// The messages alone.
pub fn messages(drained: &[Drained]) -> Vec<&[u8]> {
    drained.iter().map(|one| one.message.as_slice()).collect()
}

/// The positions alone.
pub fn positions(drained: &[Drained]) -> Vec<u64> {
    drained.iter().map(|one| one.record.position).collect()
}
