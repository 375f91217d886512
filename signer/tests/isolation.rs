//! What another process of the same user gets out of a signer that runs, and what one that crashes leaves: nothing.
//!
//! To root everything is open, so the first runs as another user, whom only root can become.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use support::{Rig, children, is_running, kill, output, until};

const NOBODY: u32 = 65534;

/// What stands in the environment of the probe.
const PROBED: &str = "RINGSEAL_TEST_PROBED";

/// A rig that is `NOBODY`'s, with copies of the signer and of this test in it: where they lie, it may not look.
struct Den {
    rig: Rig,
    signer: PathBuf,
    test: PathBuf,
}

impl Den {
    /// None, and a word why, if there can't be one.
    fn new() -> Option<Self> {
        let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
        if !rustix::process::geteuid().is_root() || !has_setpriv {
            eprintln!("skipped: root and setpriv are needed to be another user");
            return None;
        }
        let rig = Rig::new();
        let (signer, test) = (rig.path("signer"), rig.path("test"));
        fs::copy(env!("CARGO_BIN_EXE_signer"), &signer).unwrap();
        fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
        for path in [rig.folder.path(), &rig.path("ring"), &rig.path("key"), &signer, &test] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        for program in [&signer, &test] {
            fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
        }
        Some(Self { rig, signer, test })
    }

    fn as_nobody(program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        let (uid, gid) = (NOBODY.to_string(), NOBODY.to_string());
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"]).arg(program);
        command
    }

    /// What a process of the same user can do with process `pid`.
    fn probe(&self, pid: u32) -> String {
        let mut command = Self::as_nobody(&self.test);
        command.args(["--exact", "probe", "--ignored", "--nocapture"]).env(PROBED, pid.to_string());
        let ended = output(&mut command);
        let found = ended.stdout.lines().find_map(|line| line.split_once("probe: "));
        found.unwrap_or_else(|| panic!("{ended:?}")).1.to_owned()
    }
}

/// Looks at the process that [`Den::probe`] names.
#[test]
#[ignore = "run by a test, as another user"]
fn probe() {
    let Some(pid) = std::env::var(PROBED).ok().and_then(|pid| pid.parse::<i32>().ok()) else { return };
    let memory = File::open(format!("/proc/{pid}/mem")).is_ok();
    let environment = fs::read(format!("/proc/{pid}/environ")).is_ok();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).is_ok();
    // SAFETY: no pointer is passed that is followed.
    let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) } == 0;
    if attached {
        // SAFETY: as above; no status is asked for.
        unsafe {
            libc::waitpid(pid, std::ptr::null_mut(), 0);
            libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0);
        }
    }
    println!(
        "\nprobe: memory {memory}, environment {environment}, descriptors {descriptors}, attach {attached}"
    );
}

/// The processes of a signer that is at work: the supervisor and its worker, with the key.
fn processes(supervisor: u32, ring: &Path) -> [u32; 2] {
    let worker = until(|| {
        let maps_ring = |pid: &u32| {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            maps.contains(ring.to_str().unwrap())
        };
        children(supervisor).into_iter().find(maps_ring)
    });
    [supervisor, worker]
}

#[test]
fn nobody_of_the_same_user_reads_or_traces_supervisor_or_worker() {
    let Some(den) = Den::new() else { return };
    let mut sleep = support::Running::start(Den::as_nobody(Path::new("sleep")).arg("1000"));
    sleep.close_stdin();
    until(|| fs::read_to_string(format!("/proc/{}/comm", sleep.id())).ok().filter(|name| name == "sleep\n"));
    let open = den.probe(sleep.id());
    if open != "memory true, environment true, descriptors true, attach true" {
        eprintln!("skipped: this machine keeps users from their own processes anyway: {open}");
        return;
    }
    for runtime in ["native", "wasmi"] {
        if runtime == "wasmi" && extension_engine::Runtime::Wasmi.is_available().is_err() {
            continue;
        }
        let mut command = Den::as_nobody(&den.signer);
        command.arg("--ring").arg(den.rig.path("ring")).arg("--key").arg(den.rig.path("key"));
        let running = support::Running::start(command.args(["--runtime", runtime]));
        for pid in processes(running.id(), &den.rig.path("ring")) {
            let found = den.probe(pid);
            assert_eq!(
                found, "memory false, environment false, descriptors false, attach false",
                "{runtime}, {pid}"
            );
        }
        kill(running.id(), Signal::TERM);
        running.wait().says(1, "interrupted");
    }
}

/// Sends it until the process is gone: Rust's own handler lets the first SIGSEGV pass that no address is to blame for.
fn kill_by(signal: Signal, pid: u32) {
    until(|| {
        kill(pid, signal);
        (!is_running(pid)).then_some(())
    });
}

#[test]
fn a_crash_leaves_no_core_although_whoever_started_the_signer_allows_it() {
    let rig = Rig::new();
    let cores = || -> Vec<_> {
        let names = fs::read_dir(rig.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains("core")).collect()
    };
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command
            .current_dir(rig.folder.path())
            .args(["-c", &format!("ulimit -c unlimited || exit 99; {script}")]);
        command
    };
    let control = shell("kill -SEGV $$").output().unwrap();
    if control.status.signal() != Some(11) || cores().is_empty() {
        eprintln!("skipped: on this machine no crash leaves a core in its own folder");
        return;
    }
    for core in cores() {
        fs::remove_file(rig.path(core.to_str().unwrap())).unwrap();
    }
    let mut command = shell("exec \"$0\" --ring ring --key key --runtime native");
    // Relative to its folder; the ring's own path is what a worker is told.
    let running = support::Running::start(command.arg(env!("CARGO_BIN_EXE_signer")));
    for signal in [Signal::SEGV, Signal::ABORT, Signal::ILL] {
        let [_, worker] = processes(running.id(), Path::new("ring"));
        kill_by(signal, worker);
    }
    processes(running.id(), Path::new("ring"));
    kill_by(Signal::SEGV, running.id());
    let ended = running.wait();
    assert_eq!(ended.status.signal(), Some(11), "{ended:?}");
    assert_eq!(ended.stderr.matches("was killed by signal").count(), 3, "{ended:?}");
    assert!(cores().is_empty(), "{:?}", cores());
}
