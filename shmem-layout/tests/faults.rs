//! SIGBUS: inside a ring it ends the process with a line and exit code 3; elsewhere it is what it was. Each case runs in a
//! process of its own, which is this test program again.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, exit};

use shmem_layout::{RingOptions, RingPath, attach, create};

const CASE: &str = "RINGSEAL_TEST_FAULT";
const SIGBUS: i32 = 7;

/// Runs the test called `name` again, as the victim in `folder`.
fn victim(name: &str, folder: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(CASE, folder)
        .output()
        .unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn cut(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(4096).unwrap();
}

/// Attaches to a new ring in the folder that the environment names; `None` for whoever is no victim.
fn attached() -> Option<(RingPath, shmem_layout::Ring)> {
    let folder = std::env::var_os(CASE)?;
    let path = RingPath::File(Path::new(&folder).join("ring"));
    create(&path, &RingOptions::default()).unwrap();
    let ring = attach(&path).unwrap();
    Some((path, ring))
}

#[test]
fn a_ring_cut_short_ends_the_process_with_a_line() {
    if let Some((path, ring)) = attached() {
        cut(&path.file_path());
        let _ = ring.snapshot();
        exit(0);
    }
    let folder = folder();
    let output = victim("a_ring_cut_short_ends_the_process_with_a_line", folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let path = folder.path().join("ring");
    assert!(
        said.lines().last().unwrap().contains(&format!("{}: it was cut short", path.display())),
        "{said}"
    );
}

#[test]
fn a_fault_elsewhere_kills_as_ever() {
    if let Some((path, _ring)) = attached() {
        let other = path.file_path().with_file_name("other");
        let file = File::options().read(true).write(true).create_new(true).open(&other).unwrap();
        file.set_len(8192).unwrap();
        let map = memmap2::MmapOptions::new().map_raw(&file).unwrap();
        cut(&other);
        // SAFETY: inside the mapping; that the page is gone is what is tried.
        unsafe { map.as_ptr().add(5000).read_volatile() };
        exit(0);
    }
    let folder = folder();
    assert_eq!(victim("a_fault_elsewhere_kills_as_ever", folder.path()).status.signal(), Some(SIGBUS));
}

#[test]
fn a_sigbus_that_somebody_sends_kills_as_ever() {
    if let Some((_, _ring)) = attached() {
        let pid = rustix::process::getpid();
        rustix::process::kill_process(pid, rustix::process::Signal::BUS).unwrap();
        // Any thread may be the one that gets it.
        std::thread::sleep(std::time::Duration::from_secs(10));
        exit(0);
    }
    let folder = folder();
    assert_eq!(
        victim("a_sigbus_that_somebody_sends_kills_as_ever", folder.path()).status.signal(),
        Some(SIGBUS)
    );
}
