//! The folder, its lock and its socket.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use cli::Exit;
use extension_engine::Limits;

use super::support::{Rig, ctl_in, make_folder, private_folder};
use crate::control::{Directory, Server};

#[track_caller]
fn refuses(path: &Path, words: &str) {
    let failure = Directory::claim(path).err().expect("it was claimed");
    assert!(failure.message.contains(words), "{words:?} is not in {failure}");
    assert!(failure.message.contains(path.to_str().unwrap()), "{failure}");
}

#[test]
fn what_others_can_reach_is_refused_by_name() {
    let folder = private_folder();
    let path = |name: &str| folder.path().join(name);
    for (name, mode) in [("group", 0o710), ("others", 0o701), ("sticky", 0o1777)] {
        make_folder(&path(name), mode);
        refuses(&path(name), &format!("its mode {mode:03o} lets others in; `chmod 700` it"));
        assert!(!path(name).join("lock").exists());
    }
    fs::write(path("file"), b"").unwrap();
    refuses(&path("file"), "is no folder");
    make_folder(&path("real"), 0o700);
    symlink(path("real"), path("link")).unwrap();
    refuses(&path("link"), "symbolic link");
    refuses(&path("absent/deeper"), "can't make it");
    refuses(&path(&"x".repeat(120)), "may have 107");
    if rustix::process::geteuid().is_root() {
        make_folder(&path("foreign"), 0o700);
        chown(path("foreign"), Some(65534), None).unwrap();
        refuses(&path("foreign"), "belongs to user 65534");
    } else {
        eprintln!("skipped: a folder of another user can only be made by root");
    }
}

#[test]
fn what_is_made_is_private_and_the_socket_goes_with_the_server() {
    let mut rig = Rig::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&rig.directory()), 0o700);
    assert_eq!(mode(&rig.socket()), 0o600);
    assert_eq!(mode(&rig.directory().join("lock")), 0o600);
    rig.stop();
    assert!(!rig.socket().exists());
}

#[test]
fn the_thread_yields_to_the_others() {
    let nice = |task: &Path| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        let after = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16)?.parse().ok());
        after.unwrap_or(0)
    };
    let ours: i32 = nice(Path::new("/proc/thread-self"));
    let _rig = Rig::new();
    super::support::until(|| {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let mut served =
            tasks.filter(|task| fs::read(task.join("comm")).is_ok_and(|name| name == b"control\n"));
        served.any(|task| nice(&task) == (ours + 10).min(19))
    });
    assert_eq!(nice(Path::new("/proc/thread-self")), ours);
}

#[test]
fn a_second_signer_is_refused_and_told_of_the_first() {
    let rig = Rig::new();
    refuses(&rig.directory(), &format!("another signer (pid {}) has it", std::process::id()));
    assert_eq!(rig.ctl(&["status"]).result, Ok(Exit::Done));
}

#[test]
fn the_folder_is_claimed_for_as_long_as_it_is_served() {
    let folder = private_folder();
    let directory = Directory::claim(folder.path()).unwrap();
    let server = Server::start(&directory, &Limits::default()).unwrap();
    drop(directory);
    refuses(folder.path(), "another signer");
    drop(server);
    Directory::claim(folder.path()).unwrap();
}

#[test]
fn what_a_killed_signer_leaves_is_taken_over() {
    let folder = private_folder();
    let socket = folder.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    fs::write(folder.path().join("lock"), "4194305\n and more than a process id").unwrap();
    let directory = Directory::claim(folder.path()).unwrap();
    let lock = fs::read_to_string(folder.path().join("lock")).unwrap();
    assert_eq!(lock, format!("{}\n", std::process::id()));
    let server = Server::start(&directory, &Limits::default()).unwrap();
    let said = std::thread::scope(|scope| {
        let said = scope.spawn(|| ctl_in(folder.path(), &["drain"]));
        super::support::until(|| match server.next_request() {
            Some(request) => {
                (request.reply)(Ok(super::support::answer(&request.command)));
                true
            }
            None => false,
        });
        said.join().unwrap()
    });
    assert_eq!(said.result, Ok(Exit::Done));
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = private_folder();
    let socket = folder.path().join("control.sock");
    fs::write(&socket, b"precious").unwrap();
    let directory = Directory::claim(folder.path()).unwrap();
    let failure = Server::start(&directory, &Limits::default()).err().unwrap();
    assert!(failure.message.contains("no socket"), "{failure}");
    assert_eq!(fs::read(&socket).unwrap(), b"precious");
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let folder = private_folder();
    let elsewhere = private_folder();
    fs::write(elsewhere.path().join("file"), b"precious").unwrap();
    symlink(elsewhere.path().join("file"), folder.path().join("lock")).unwrap();
    refuses(folder.path(), "lock: ");
    assert_eq!(fs::read(elsewhere.path().join("file")).unwrap(), b"precious");
}
