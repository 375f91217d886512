//! A signer is asked for its metrics while it works: figures that don't add up mislead whoever watches, and a client must not be
//! able to hold anything up.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use cli::Method;
use rustix::process::Signal;
use shmem_layout::{Delivery, Message, WhenFull};
use support::{Rig, Running, children, kill, messages, output, signer, until, waiting};

const SIGNING: [Method; 2] = [Method::Ecdsa, Method::Schnorr];

/// Status, head and body of the answer to `request`; nothing if there was none.
fn ask(mut stream: impl Read + Write, request: &[u8]) -> Option<(u32, String, String)> {
    // Who is refused early can't send all of it, and may lose the answer.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(!read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "not cut off");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().unwrap(), head.to_ascii_lowercase(), body.to_owned()))
}

/// A signer's metrics on a port.
struct Port(String);

impl Port {
    /// The one that a signer with `--metrics 127.0.0.1:0` says.
    fn of(running: &mut Running) -> Self {
        let line = running.line();
        let url = line.strip_prefix("signer: metrics are at http://").unwrap_or_else(|| panic!("{line}"));
        Self(url.strip_suffix("/metrics").unwrap().to_owned())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.0).unwrap();
        // A watchdog.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> (u32, String, String) {
        ask(self.connect(), format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap()
    }

    fn get(&self, path: &str) -> (u32, String) {
        let (status, _, body) = self.ask(&format!("GET {path}"));
        (status, body)
    }

    /// The value of each series.
    fn scrape(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        series(&body)
    }
}

fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair =
        |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    lines.map(|line| pair(line).unwrap()).collect()
}

/// The sum of the series of `name` that have `label` in them.
fn sum(series: &BTreeMap<String, f64>, name: &str, label: &str) -> f64 {
    let name = format!("ringseal_signer_{name}");
    let is_meant = |key: &str| (key == name || key.starts_with(&format!("{name}{{"))) && key.contains(label);
    series.iter().filter(|(key, _)| is_meant(key)).map(|(_, value)| value).sum()
}

#[test]
fn figures_add_up_agree_with_ctl_and_go_on_when_a_worker_is_killed() {
    let rig = Rig::new();
    let control = rig.path("control");
    let mut running =
        rig.signer(&["--workers", "2", "--metrics", "127.0.0.1:0", "--control", control.to_str().unwrap()]);
    let port = Port::of(&mut running);
    let (producer, consumer) = (rig.producer(), rig.consumer());
    let producer = RefCell::new(producer);
    let publish = |position: u64| {
        let (now_ns, bytes) = (shmem_layout::now_ns(), format!("message {position}").into_bytes());
        let method = SIGNING[position as usize % 2] as u32;
        let message = Message { position, method, intended_ns: now_ns, now_ns, bytes: &bytes };
        producer.borrow_mut().publish(&message, WhenFull::Wait, &waiting()).unwrap();
        producer.borrow().flush();
    };
    let take = |position: u64| {
        let (mut message, mut signature) = (Vec::new(), Vec::new());
        let read = consumer.read(position, &mut message, &mut signature, &waiting(), Duration::MAX);
        let Some(Delivery::Record(record)) = read.unwrap() else { panic!("no record") };
        consumer.answer_for(record.sequence, record.source, record.position).unwrap();
        consumer.flush();
    };
    let pass = |positions: Range<u64>| {
        for position in positions {
            publish(position);
            take(position);
        }
    };
    // A record is counted in the moment after it was answered.
    let settled = |count: f64| {
        until(|| Some(port.scrape()).filter(|series| sum(series, "sign_seconds_count", "") >= count))
    };
    let check = |count: f64| {
        let now = settled(count);
        assert_eq!(sum(&now, "records_total", "status=\"signed\""), count);
        assert_eq!(sum(&now, "records_total", ""), count);
        for stage in ["queue_seconds", "sign_seconds"] {
            assert_eq!(sum(&now, &format!("{stage}_count"), ""), count, "{stage}");
            for method in ["ecdsa", "schnorr"] {
                let buckets = |bound: &str| {
                    sum(&now, &format!("{stage}_bucket"), &format!("\"{method}\",le=\"{bound}\""))
                };
                assert_eq!(buckets("+Inf"), count / 2.0, "{stage}");
                assert_eq!(sum(&now, &format!("{stage}_count"), method), count / 2.0, "{stage}");
                let bounds =
                    (0..25).map(|i| f64::from(1_u32 << i) / 1e6).map(|bound| buckets(&bound.to_string()));
                assert!(bounds.is_sorted(), "{stage}: {now:?}");
            }
            // All of it happened in this test, whose watchdog is faster than that.
            assert!((0.0..300.0 * count).contains(&sum(&now, &format!("{stage}_sum"), "")), "{stage}");
        }
        now
    };
    pass(0..390);
    (390..400).for_each(publish);
    until(|| (sum(&port.scrape(), "ring_used_slots", "") == 10.0).then_some(()));
    (390..400).for_each(take);
    let first = check(400.0);
    assert_eq!(sum(&first, "workers_ready", ""), 2.0);
    assert_eq!(sum(&first, "ring_capacity_slots", ""), 64.0);
    until(|| (sum(&port.scrape(), "ring_used_slots", "") == 0.0).then_some(()));

    kill(*children(running.id()).first().unwrap(), Signal::KILL);
    until(|| {
        let now = port.scrape();
        (sum(&now, "worker_deaths_total", "sigkill") == 1.0 && sum(&now, "workers_ready", "") == 2.0)
            .then_some(())
    });
    pass(400..1000);
    let second = check(1000.0);
    for (name, before) in &first {
        if name.contains("_total")
            || name.contains("_count")
            || name.contains("_bucket")
            || name.contains("_sum")
        {
            assert!(second[name] >= *before, "{name} goes backwards");
        }
    }
    assert_eq!(
        (sum(&second, "worker_starts_total", ""), sum(&second, "worker_restarts_total", "")),
        (3.0, 1.0)
    );

    let ctl = |arguments: &[&str]| {
        let said = output(signer().args(["ctl", "--json", "--control"]).arg(&control).args(arguments));
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
    };
    ctl(&["swap", "ecdsa", "--runtime", "native"]);
    let status = ctl(&["status"]);
    let now = port.scrape();
    for (counter, name, label) in [
        ("signed", "records_total", "\"signed\""),
        ("batches", "batches_total", ""),
        ("restores", "restores_total", ""),
        ("replacements", "replacements_total", ""),
        ("worker_deaths", "worker_deaths_total", ""),
        ("swaps", "swaps_total", ""),
        ("cache_memory_hits", "module_loads_total", "memory"),
        ("cache_disk_hits", "module_loads_total", "disk"),
        ("cache_misses", "module_loads_total", "compiled"),
    ] {
        assert_eq!(status["counters"][counter].as_f64(), Some(sum(&now, name, label)), "{counter}: {status}");
    }
    assert_eq!(status["generation"].as_f64(), Some(sum(&now, "generation", "")));
    assert_eq!(sum(&now, "swaps_total", ""), 2.0, "one in each worker");
    assert_eq!(sum(&now, "module_info", "method=\"ecdsa\",runtime=\"native\",variant=\"\""), 1.0, "{now:?}");
    ctl(&["rotate"]);
    ctl(&["limits", "--deadline", "400"]);
    let now = check(1000.0);
    assert_eq!((sum(&now, "key_rotations_total", ""), sum(&now, "limit_changes_total", "")), (1.0, 1.0));
    consumer.ring().close(&waiting()).unwrap();
    assert_eq!(running.wait().status.code(), Some(0));
}

#[test]
fn readiness_waits_for_a_worker_and_goes_with_the_last_and_health_goes_on() {
    let rig = Rig::new();
    let control = rig.path("control");
    // Without a cache it takes a worker some time to be ready.
    let arguments = ["--cache", "none", "--metrics", "127.0.0.1:0", "--control", control.to_str().unwrap()];
    let mut running = rig.signer(&arguments);
    let port = Port::of(&mut running);
    let becomes = |code: u32, words: &str| {
        let (_, body) = until(|| Some(port.get("/readyz")).filter(|(status, _)| *status == code));
        assert!(body.contains(words) && body.lines().count() == 1, "{body}");
        assert_eq!(port.get("/healthz"), (200, "ok\n".to_owned()));
    };
    becomes(503, "none of 1 workers is ready yet");
    becomes(200, "ready");
    kill(children(running.id())[0], Signal::KILL);
    becomes(503, "the last one died");
    becomes(200, "ready");
    let worker = children(running.id())[0];
    kill(worker, Signal::STOP);
    output(signer().args(["ctl", "--control"]).arg(&control).arg("drain"));
    becomes(503, "draining");
    kill(worker, Signal::CONT);
    running.wait();
    assert!(TcpStream::connect(&port.0).is_err(), "nobody listens any more");
}

#[test]
fn what_clients_do_wrong_is_answered_or_cut_off_and_holds_nobody_up() {
    let rig = Rig::new();
    let consumer = rig.consumer();
    let mut running = rig.signer(&["--runtime", "native", "--metrics", "127.0.0.1:0"]);
    let port = Port::of(&mut running);
    until(|| (port.get("/readyz").0 == 200).then_some(()));

    let (status, head, body) = port.ask("GET /metrics");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert_eq!(status, 200);
    let length = |head: &str| head.split("content-length: ").nth(1)?.lines().next()?.parse::<usize>().ok();
    assert_eq!(length(&head), Some(body.len()));
    let (status, head, body) = port.ask("HEAD /metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(length(&head).is_some_and(|length| length > 1000), "{head}");
    assert_eq!(port.get("/").0, 404);
    assert_eq!(port.get("/metrics/").0, 404);
    for request in ["POST /metrics", "DELETE /healthz", "PUT /readyz", "OPTIONS /metrics"] {
        let (status, head, _) = port.ask(request);
        assert_eq!(status, 405, "{request}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
    assert_eq!(ask(port.connect(), b"good morning\r\n\r\n").unwrap().0, 400);
    let long = format!("GET /metrics HTTP/1.1\r\nHost: {}", "x".repeat(1 << 20));
    assert!(ask(port.connect(), long.as_bytes()).is_none_or(|(status, ..)| status == 431));
    // Who says nothing, or stops in the middle, is cut off.
    let unfinished = ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: x\r\n"].map(|request| {
        let stream = port.connect();
        std::thread::spawn(move || ask(stream, request.as_bytes()))
    });
    for answer in unfinished.map(|client| client.join().unwrap()) {
        assert!(answer.as_ref().is_none_or(|(status, ..)| *status == 408), "{answer:?}");
    }
    // Many who say nothing: others get their answer, and records their signatures.
    let silent: Vec<_> = (0..200).map(|_| port.connect()).collect();
    let before = sum(&port.scrape(), "records_total", "");
    rig.produce(messages(500, &SIGNING));
    let all = support::consume(&consumer, |sequence| {
        if sequence == 250 {
            let (status, body) = port.get("/metrics");
            assert!(status == 200 && sum(&series(&body), "records_total", "") > before);
        }
    });
    assert!(all.len() == 500 && all.iter().all(support::Answered::is_valid));
    drop(silent);
    assert_eq!(running.wait().status.code(), Some(0));
}

#[test]
fn a_socket_is_private_replaces_a_stale_one_and_goes_with_the_signer() {
    let rig = Rig::new();
    let path = rig.path("metrics.sock");
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap());
    let running = rig.signer(&["--runtime", "native", "--metrics", &address]);
    let get = |page: &str| {
        let request = format!("GET {page} HTTP/1.1\r\nHost: x\r\n\r\n");
        ask(UnixStream::connect(&path).ok()?, request.as_bytes())
    };
    until(|| get("/readyz").filter(|(status, ..)| *status == 200));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert!(get("/metrics").unwrap().2.contains("ringseal_signer_workers_ready 1\n"));
    refused(&rig, &address, 3, "another signer");
    rig.consumer().ring().close(&waiting()).unwrap();
    running.wait().is_quiet(0);
    assert!(!path.exists());

    fs::write(&path, "precious").unwrap();
    refused(&rig, &address, 3, "no socket");
    let open = rig.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    refused(&rig, &format!("unix:{}/metrics.sock", open.display()), 3, "chmod 700");
    refused(&rig, &format!("unix:{}", open.join("x".repeat(100)).display()), 2, "choose a shorter one");
    refused(&rig, "unix:/", 2, "needs a name");
}

#[test]
fn an_address_that_is_not_this_machines_or_is_taken_is_refused_before_anything_starts() {
    let rig = Rig::new();
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:80"] {
        refused(&rig, address, 2, "not authenticated");
    }
    refused(&rig, "9464", 2, "127.0.0.1:PORT");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    refused(&rig, &taken.local_addr().unwrap().to_string(), 3, "choose another port");
}

#[track_caller]
fn refused(rig: &Rig, address: &str, code: i32, words: &str) {
    rig.signer(&["--runtime", "native", "--metrics", address]).wait().says(code, words);
}
