//! Each call, through the client and the server.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};

use cli::Exit;
use extension_engine::Limits;
use serde_json::json;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use super::support::{Rig, block_on, ctl_in, origin, private_folder, until};
use crate::control::api::{Reason, Request};
use control_protocol::protocol::DrainRequest;

fn last_seen(rig: &Rig) -> String {
    rig.seen.lock().unwrap().last().cloned().unwrap_or_default()
}

#[test]
fn status_says_all_there_is() {
    let rig = Rig::new();
    let said = rig.ctl(&["--json", "status"]).json();
    assert_eq!((&said["pid"], &said["uptime_ms"]), (&json!(4711), &json!(3_723_456)));
    assert_eq!(
        said["limits"],
        json!({"memory_bytes": 64 << 20, "deadline_ms": 500, "stack_bytes": 512 << 10, "module_bytes": 4 << 20,
               "compile_ms": 10_000})
    );
    assert_eq!(said["workers"][1]["last_death"], "deadline missed");
    assert_eq!(said["methods"][0]["variant"], "wide");
    assert_eq!(said["counters"]["cache_disk_hits"], 2);
    let text = rig.ctl(&["status"]).output;
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 120), "{text}");
    for words in
        ["pid 4711, up 62 min", "memory 64 MiB, deadline 500 ms", "0123456789ab  ecdsa-wide.wasm (wide)"]
    {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn modules_are_listed_with_those_of_the_past() {
    let rig = Rig::new();
    let said = rig.ctl(&["modules", "--json"]).json();
    assert_eq!(
        (&said["modules"][0]["present"], &said["modules"][1]["present"]),
        (&json!(false), &json!(true))
    );
    let text = rig.ctl(&["modules"]).output;
    assert!(text.contains("ecdsa-wide.wasm (wide)\n") && text.contains("(wide), serves\n"), "{text}");
}

#[test]
fn each_swap_arrives_as_it_was_meant() {
    let rig = Rig::new();
    let path = rig.folder.path().join("new.wasm");
    fs::write(&path, b"\0asm new").unwrap();
    let path = path.to_str().unwrap();
    let module = format!(
        "Swap {{ method: Ecdsa, to: Module {{ label: {path:?}, bytes: {:?} }}, runtime: None }}",
        b"\0asm new"
    );
    let cases: [(&[&str], &str); 5] = [
        (&["swap", "ecdsa", path], &module),
        (&["swap", "schnorr", "--builtin"], "Swap { method: Schnorr, to: BuiltIn, runtime: None }"),
        (&["swap", "null", "--rollback"], "Swap { method: Null, to: Previous, runtime: None }"),
        (
            &["swap", "ecdsa", "--rollback", "--runtime", "wasmi"],
            "Swap { method: Ecdsa, to: Previous, runtime: Some(Wasmi) }",
        ),
        (
            &["swap", "ecdsa", "--runtime", "native"],
            "Swap { method: Ecdsa, to: Present, runtime: Some(Native) }",
        ),
    ];
    for (arguments, command) in cases {
        let said = rig.ctl(arguments);
        let words = "ecdsa: ecdsa-wide.wasm on wasmtime, generation 3 (prepared in 71 ms, installed in 420 µs, \
                     switched in 640 ns)\n";
        assert_eq!((said.result, said.output.as_str()), (Ok(Exit::Done), words), "{arguments:?}");
        assert_eq!(last_seen(&rig), command);
    }
    let said = rig.ctl(&["--json", "swap", "ecdsa", "--builtin"]).json();
    assert_eq!((&said["switch_ns"], &said["module"]["generation"]), (&json!(640), &json!(3)));
}

#[test]
fn limits_keys_and_the_end_arrive_as_they_were_meant() {
    let rig = Rig::new();
    let cases: [(&[&str], &str, &str); 5] = [
        (
            &["limits", "--memory-limit", "32", "--stack-limit", "256", "--module-limit", "1024"],
            "SetLimits(LimitChanges { memory: Some(33554432), deadline: None, stack: Some(262144), \
             module_len: Some(1048576), compile: None })",
            "limits changed\n",
        ),
        (
            &["limits", "--deadline", "50", "--compile-limit", "20"],
            "SetLimits(LimitChanges { memory: None, deadline: Some(50ms), stack: None, module_len: None, \
             compile: Some(20s) })",
            "limits changed\n",
        ),
        (&["rotate"], "RotateKey { path: None }", "public key 03ee\n"),
        (&["rotate", "--key", "/k/new.pem"], "RotateKey { path: Some(\"/k/new.pem\") }", "public key 03ee\n"),
        (&["drain"], "Drain", "draining: what is claimed is finished, then the signer ends\n"),
    ];
    for (arguments, command, words) in cases {
        let said = rig.ctl(arguments);
        assert_eq!((said.result, said.output.as_str()), (Ok(Exit::Done), words), "{arguments:?}");
        assert_eq!(last_seen(&rig), command);
    }
    assert_eq!(rig.ctl(&["--json", "rotate"]).json(), json!({"public_key": "03ee"}));
    assert_eq!(rig.ctl(&["--json", "drain"]).json(), json!({}));
    rig.ctl(&["rotate", "--key", "here.pem"]);
    let here = std::env::current_dir().unwrap().join("here.pem");
    assert_eq!(last_seen(&rig), format!("RotateKey {{ path: Some({here:?}) }}"));
}

#[test]
fn refusals_are_passed_on_in_their_own_words() {
    for (reason, code) in [
        (Reason::Invalid, tonic::Code::InvalidArgument),
        (Reason::NotNow, tonic::Code::FailedPrecondition),
        (Reason::Unavailable, tonic::Code::Unavailable),
    ] {
        let rig = Rig::refusing(reason, "the reason why");
        for call in [&["status"][..], &["modules"], &["swap", "ecdsa", "--rollback"], &["rotate"], &["drain"]]
        {
            rig.ctl(call).fails(Exit::Failed, "the reason why");
        }
        let refused = block_on(async {
            let mut client = rig.client(65535).await;
            client.drain(DrainRequest {}).await.unwrap_err()
        });
        assert_eq!(refused.code(), code);
    }
}

#[test]
fn what_can_be_refused_at_once_never_reaches_the_supervisor() {
    let rig = Rig::new();
    let long = rig.folder.path().join("long.wasm");
    fs::File::create(&long).unwrap().set_len(Limits::default().module_len + 1).unwrap();
    let long = long.to_str().unwrap();
    let fifo = rig.folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let fifo = fifo.to_str().unwrap();
    let cases: [(&[&str], &str); 11] = [
        (&["swap", "ecdsa", "/no/such.wasm"], "/no/such.wasm"),
        (&["swap", "ecdsa", "/dev/null"], "no file"),
        (&["swap", "ecdsa", fifo], "no file"),
        (&["swap", "ecdsa", long], "4194304 bytes"),
        (&["swap", "ecdsa"], "nothing to swap"),
        (&["swap", "rsa", "--builtin"], "ecdsa, schnorr, null"),
        (&["swap", "ecdsa", "--builtin", "--rollback"], "cannot be used with"),
        (&["swap", "ecdsa", "--runtime", "wasmer"], "native, wasmtime, wasmi, wasm3"),
        (&["limits"], "at least one"),
        (&["limits", "--memory-limit", "4097"], "1..=4096"),
        (&["--timeout", "0", "status"], "above 0"),
    ];
    for (arguments, words) in cases {
        rig.ctl(arguments).fails(Exit::BadInput, words);
    }
    let commands = rig.seen.lock().unwrap().clone();
    assert!(commands.iter().all(|command| command == "Status"), "{commands:?}");
}

#[test]
fn a_client_is_told_when_nobody_serves() {
    let folder = private_folder();
    let words = "nobody serves there; is the signer started, with --control";
    ctl_in(folder.path(), &["status"]).fails(Exit::Environment, words);
    ctl_in(&folder.path().join("absent"), &["watch"]).fails(Exit::Environment, words);
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).unwrap());
    ctl_in(folder.path(), &["drain"]).fails(Exit::Environment, words);
    ctl_in(&folder.path().join("x".repeat(120)), &["drain"]).fails(Exit::BadInput, "may have 107");
    // Who serves is no signer.
    fs::remove_file(folder.path().join("control.sock")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).unwrap();
    let serving = std::thread::spawn(move || {
        use std::io::Write;
        let _ = listener.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    ctl_in(folder.path(), &["status"]).fails(Exit::Environment, "does it still run?");
    serving.join().unwrap();
}

/// A supervisor that keeps what it is asked, and does not answer.
fn stuck() -> (Rig, Arc<Mutex<Vec<Request>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    (Rig::with(Box::new(move |request| keep.lock().unwrap().push(request))), kept)
}

#[test]
fn a_client_does_not_wait_for_ever() {
    let (rig, _kept) = stuck();
    rig.ctl(&["--timeout", "0.05", "status"]).fails(Exit::Environment, "within 0.05 s");
}

#[test]
fn calls_beyond_the_queue_are_refused_and_those_in_it_are_answered() {
    let (rig, kept) = stuck();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..16).map(|_| scope.spawn(|| rig.ctl(&["drain"]))).collect();
        until(|| kept.lock().unwrap().len() == 16);
        rig.ctl(&["status"]).fails(Exit::Failed, "16 calls wait already");
        for request in kept.lock().unwrap().drain(..) {
            (request.reply)(Ok(super::support::answer(&request.command)));
        }
        assert!(waiting.into_iter().all(|call| call.join().unwrap().result == Ok(Exit::Done)));
        let next = scope.spawn(|| rig.ctl(&["drain"]));
        until(|| kept.lock().unwrap().len() == 1);
        kept.lock().unwrap().clear();
        next.join().unwrap().fails(Exit::Failed, "the signer is ending");
    });
}

#[test]
fn calls_that_wait_are_told_of_the_end() {
    let mut rig = Rig::new();
    let (begin, end) = mpsc::channel::<()>();
    let (busy, is_busy) = mpsc::channel();
    std::thread::scope(|scope| {
        // The supervisor does something long, and then ends.
        let directory = rig.directory();
        let waiting = scope.spawn(move || {
            is_busy.recv().unwrap();
            let waiting = std::thread::spawn(move || ctl_in(&directory, &["status"]));
            std::thread::sleep(std::time::Duration::from_millis(100));
            begin.send(()).unwrap();
            waiting.join().unwrap()
        });
        rig.on_supervisor(move |_| {
            busy.send(()).unwrap();
            end.recv().unwrap();
        });
        rig.stop();
        let said = waiting.join().unwrap();
        // It may have come too late to be asked, or been told, or been answered before the end.
        if said.result != Ok(Exit::Done) {
            said.fails(Exit::Failed, "the signer is ending");
        }
    });
    assert!(!rig.socket().exists());
}

#[test]
fn reflection_tells_what_can_be_called() {
    let rig = Rig::new();
    let ask = |what: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        block_on(async {
            let mut client = ServerReflectionClient::with_origin(rig.connection(65535).await, origin());
            let requests = tonic::codegen::tokio_stream::once(request);
            let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
            let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
            answer.message_response.unwrap()
        })
    };
    let MessageResponse::ListServicesResponse(services) = ask(MessageRequest::ListServices(String::new()))
    else {
        panic!("no services")
    };
    assert!(services.service.iter().any(|service| service.name == "ringseal.v1.SignerControl"));
    let symbol = MessageRequest::FileContainingSymbol("ringseal.v1.SignerControl.SwapModule".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol) else { panic!("no file") };
    let file = &files.file_descriptor_proto[0];
    assert!(file.windows(17).any(|bytes| bytes == b"SwapModuleRequest"));
    let services = block_on(async {
        let client = rig.connection(65535).await;
        let mut client =
            v1alpha::server_reflection_client::ServerReflectionClient::with_origin(client, origin());
        let request = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            )),
        };
        let answers = client.server_reflection_info(tonic::codegen::tokio_stream::once(request)).await;
        answers.unwrap().into_inner().message().await.unwrap().unwrap()
    });
    assert!(format!("{services:?}").contains("ringseal.v1.SignerControl"));
}
