//! The key is what everything here is about: what is no key must be refused in words that help, and what is one must
//! show up nowhere.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rustix::process::Signal;
use support::{Ended, Rig, SECRET, children, kill, live_signers, output, signer, until, write_private};

const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn public_key_of(source: &str) -> Ended {
    output(signer().args(["public-key", "--key", source]))
}

#[test]
fn each_bad_key_file_is_refused_by_every_command_in_words_of_its_own() {
    let rig = Rig::new();
    let good = hex::encode(SECRET);
    let file = |name: &str, content: &str, mode: u32| {
        write_private(&rig.path(name), content.as_bytes());
        fs::set_permissions(rig.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("readable", &good, 0o644);
    file("group", &good, 0o640);
    file("writable", &good, 0o602);
    file("no-key", "hello", 0o600);
    file("long", &"7".repeat(5000), 0o600);
    file("zero", &"0".repeat(64), 0o600);
    file("order", ORDER, 0o600);
    file("beyond", &"f".repeat(64), 0o600);
    file(
        "encrypted",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        0o400,
    );
    symlink(rig.path("key"), rig.path("link")).unwrap();
    fs::create_dir(rig.path("folder")).unwrap();
    let fifo = Command::new("mkfifo").arg("-m").arg("600").arg(rig.path("fifo")).status().unwrap();
    assert!(fifo.success());

    for (name, words) in [
        ("missing", "no such file"),
        ("readable", "mode 644 lets others in"),
        ("group", "mode 640 lets others in"),
        ("writable", "mode 602 lets others in"),
        ("link", "symbolic link"),
        ("folder", "no regular file"),
        ("fifo", "no regular file"),
        ("no-key", "holds no key"),
        ("long", "holds no key"),
        ("zero", "number zero"),
        ("order", "not below the order"),
        ("beyond", "not below the order"),
        ("encrypted", "encrypted"),
    ] {
        let path = rig.path(name);
        let refused = public_key_of(path.to_str().unwrap());
        refused.says(2, words);
        refused.says(2, path.to_str().unwrap());
        let mut supervisor = signer();
        supervisor.arg("--ring").arg(rig.path("ring")).arg("--key").arg(&path);
        output(&mut supervisor).says(2, words);
    }
    for (source, words) in
        [("fd:2", "standard output or standard error"), ("fd:77", "Bad file descriptor"), ("fd:-1", "Bad")]
    {
        public_key_of(source).says(2, words);
    }
}

#[test]
fn another_users_key_is_refused_although_root_could_read_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let rig = Rig::new();
    std::os::unix::fs::chown(rig.path("key"), Some(65534), None).unwrap();
    public_key_of(rig.path("key").to_str().unwrap())
        .says(2, "it belongs to uid 65534, and this process runs as uid 0");
}

#[test]
fn a_key_comes_through_a_descriptor_too() {
    let rig = Rig::new();
    let expected = public_key_of(rig.path("key").to_str().unwrap()).stdout;
    assert_eq!(expected.trim_end().len(), 66);
    let shell = format!("exec \"$0\" public-key --key fd:9 9< '{}'", rig.path("key").display());
    let by_number = output(Command::new("sh").args(["-c", &shell, env!("CARGO_BIN_EXE_signer")]));
    by_number.is_quiet(0);
    assert_eq!(by_number.stdout, expected);
    let shell = format!("\"$0\" public-key --key fd:0 < '{}'", rig.path("key").display());
    assert_eq!(
        output(Command::new("sh").args(["-c", &shell, env!("CARGO_BIN_EXE_signer")])).stdout,
        expected
    );
}

#[test]
fn a_generated_key_is_private_new_and_never_overwritten() {
    let rig = Rig::new();
    let path = rig.path("new.pem");
    let made = output(signer().arg("keygen").arg(&path));
    made.is_quiet(0);
    let (content, mode) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o7777);
    assert!(mode == 0o600 && content.starts_with(b"-----BEGIN PRIVATE KEY-----"), "{mode:o}");
    let public = public_key_of(path.to_str().unwrap());
    public.is_quiet(0);
    assert_eq!(public.stdout, made.stdout);

    output(signer().arg("keygen").arg(&path)).says(2, "exists already");
    assert_eq!(fs::read(&path).unwrap(), content);
    symlink(rig.path("elsewhere"), rig.path("link")).unwrap();
    output(signer().arg("keygen").arg(rig.path("link"))).says(2, "exists already");
    assert!(!rig.path("elsewhere").exists(), "a link was followed");
    output(signer().arg("keygen").arg(rig.path("no/such/folder"))).says(3, "no/such/folder");

    let other = output(signer().arg("keygen").arg(rig.path("other.pem")));
    assert_ne!(other.stdout, made.stdout, "two keys are the same");
}

/// The tool that everybody has reads what we write, and writes what we read.
#[test]
fn openssl_and_we_understand_each_others_keys() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let rig = Rig::new();
    let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &str| {
        let done = output(Command::new("openssl").args(arguments.split(' ')));
        assert!(done.status.success(), "{done:?}");
    };
    assert!(output(signer().args(["keygen", &path("ours")])).status.success());
    openssl(&format!("ec -in {} -outform PEM -out {}", path("ours"), path("sec1")));
    openssl(&format!("ecparam -name secp256k1 -genkey -out {}", path("with-parameters")));
    openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {}", path("p256")));
    for name in ["sec1", "with-parameters", "p256"] {
        fs::set_permissions(rig.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(public_key_of(&path("sec1")).stdout, public_key_of(&path("ours")).stdout);
    public_key_of(&path("with-parameters")).is_quiet(0);
    public_key_of(&path("p256")).says(2, "another kind");
}

#[test]
fn the_key_shows_in_no_argument_environment_or_descriptor_of_a_running_signer() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let running = rig.signer(&["--runtime", "native", "--workers", "2"]);
    until(|| (live_signers(&consumer).len() == 2).then_some(()));
    let mut processes = children(running.id());
    processes.push(running.id());
    assert_eq!(processes.len(), 3);
    let digits = hex::encode(SECRET);
    for pid in processes {
        for name in ["cmdline", "environ"] {
            // The environment of a process that can't be dumped is for root alone.
            let Ok(bytes) = fs::read(format!("/proc/{pid}/{name}")) else { continue };
            let shows = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!shows(digits.as_bytes()) && !shows(&SECRET), "{name} of {pid}");
        }
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let limits: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(limits, ["0", "0"], "{core}");
        // Who can't be dumped can't be read by other processes of its user either. As root nothing of it shows.
        let owner = fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
        assert_eq!(owner, 0, "{pid} can be dumped");
        let mut open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default())
            .collect();
        open.retain(|target| target.starts_with(rig.folder.path()) && !target.ends_with("ring"));
        assert!(open.is_empty(), "{open:?} of {pid}");
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let maps_ring = maps.contains(rig.path("ring").to_str().unwrap());
        assert_eq!(maps_ring, pid != running.id(), "the workers map the ring, the supervisor doesn't");
    }
    kill(running.id(), Signal::TERM);
    running.wait().says(1, "interrupted");
}

#[test]
fn a_key_on_standard_input_serves_every_worker() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let mut command = signer();
    command.arg("--ring").arg(rig.path("ring")).args([
        "--key",
        "fd:0",
        "--runtime",
        "native",
        "--workers",
        "2",
    ]);
    let mut running = support::Running::start(&mut command);
    running.stdin().write_all(hex::encode(SECRET).as_bytes()).unwrap();
    running.close_stdin();
    let messages = support::messages(100, &[cli::Method::Ecdsa]);
    rig.produce(messages);
    let all = support::consume(&consumer, |_| ());
    running.wait().is_quiet(0);
    assert!(all.len() == 100 && all.iter().all(support::Answered::is_valid));
}
