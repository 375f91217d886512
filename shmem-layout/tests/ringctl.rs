//! `ringctl` on rings that somebody has died in.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs::{OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use shmem_layout::{Message, RingOptions, RingPath, WaitError, Waiting, WhenFull, attach, create};

struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    /// A ring of 8 slots with three messages in it.
    fn new() -> Self {
        let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
        let rig = Self { folder };
        create(&rig.ring(), &RingOptions { capacity: 8, ..RingOptions::default() }).unwrap();
        let mut producer = attach(&rig.ring()).unwrap().join_producer("feed").unwrap();
        for position in 0..3 {
            let message = Message { position, method: 1, intended_ns: 0, now_ns: 0, bytes: b"x" };
            producer.publish(&message, WhenFull::Fail, &Waiting::default()).unwrap();
        }
        rig
    }

    fn ring(&self) -> RingPath {
        RingPath::File(self.folder.path().join("ring"))
    }

    fn ringctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(arguments).arg(self.ring().file_path());
        command
    }

    /// Exit code and standard output.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, .. } = self.ringctl(arguments).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    }
}

#[test]
fn check_says_what_the_dead_have_left_and_leaves_it_there() {
    let rig = Rig::new();
    assert!(rig.run(&["check"]).1.contains("sound; nothing to recover"));
    let mut signer = attach(&rig.ring()).unwrap().join_signer().unwrap();
    let mut batch = Vec::new();
    signer.claim(2, &mut batch, &Waiting::default()).unwrap();
    let (code, living) = rig.run(&["check"]);
    assert!(
        code == Some(0)
            && living.contains("sequence 1 is signing by signer")
            && living.contains("left alone"),
        "{living}"
    );
    // Dropped, it lets its locks go, as one does that is killed.
    drop(signer);
    for _ in 0..2 {
        let (code, dead) = rig.run(&["check"]);
        assert_eq!((code, dead.matches("becomes written again, attempt 1").count()), (Some(0), 2), "{dead}");
        assert!(dead.ends_with("sound; 2 to recover, by whoever joins or waits next\n"), "{dead}");
    }
}

#[test]
fn check_finds_a_slot_in_no_stage() {
    let rig = Rig::new();
    let mut file = OpenOptions::new().write(true).open(rig.ring().file_path()).unwrap();
    file.seek(SeekFrom::Start(8192)).unwrap();
    file.write_all(&[0; 8]).unwrap();
    let (code, said) = rig.run(&["check"]);
    assert!(code == Some(1) && said.contains("slot 0 holds the state 0x0000000000000000"), "{said}");
}

#[test]
fn who_waits_in_a_ring_that_is_removed_is_told() {
    let rig = Rig::new();
    let mut signer = attach(&rig.ring()).unwrap().join_signer().unwrap();
    let mut batch = Vec::new();
    assert_eq!(rig.run(&["rm", "--force"]).0, Some(0));
    // What was written before is still there to be signed.
    signer.claim(3, &mut batch, &Waiting::default()).unwrap();
    let idle = signer.claim(3, &mut batch, &Waiting::default());
    assert!(matches!(idle, Err(WaitError::Removed)), "{idle:?}");
}

/// A watcher that has shown the ring once.
fn watching(rig: &Rig) -> Child {
    let mut watcher = rig.ringctl(&["show", "--watch=0.02"]).stdout(Stdio::piped()).spawn().unwrap();
    watcher.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    watcher
}

#[test]
fn a_watch_ends_with_the_ring() {
    let rig = Rig::new();
    let watcher = watching(&rig);
    assert_eq!(rig.run(&["rm"]).0, Some(0));
    let output = watcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("written 3"));
}

#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let rig = Rig::new();
    let mut watcher = watching(&rig);
    drop(watcher.stdout.take());
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
}
