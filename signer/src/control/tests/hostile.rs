//! Clients that mean no good, or have bad luck.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use cli::Exit;
use extension_engine::Limits;
use rustix::fs::Uid;
use tonic::Code;

use super::support::{PATIENCE, Rig, answer, block_on, ctl_in, event, origin, private_folder, until};
use crate::control::server::IDLE;
use control_protocol::protocol::signer_control_client::SignerControlClient;
use control_protocol::protocol::swap_module_request::To;
use control_protocol::protocol::{
    NewModule, RotateKeyRequest, SetLimitsRequest, StatusRequest, SwapModuleRequest, WatchRequest,
};

/// What an HTTP/2 client says first: the preface, and empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn is_served(rig: &Rig) {
    assert_eq!(rig.ctl(&["status"]).result, Ok(Exit::Done));
}

/// Whether the other end is closed; waits for it.
fn is_closed(mut stream: &UnixStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Does something as another user, whom the kernel takes this thread for.
fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            what()
        });
        other.join().unwrap()
    })
}

#[test]
fn other_users_are_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let rig = Rig::new();
    as_user(65534, || ctl_in(&rig.directory(), &["status"])).fails(Exit::Environment, "it is another user's");
    // If the folder lets them in after all.
    for path in [rig.folder.path(), &rig.directory(), &rig.socket()] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    as_user(65534, || assert!(is_closed(&rig.connect())));
    as_user(65534, || ctl_in(&rig.directory(), &["status"])).fails(Exit::Environment, "does it still run?");
    is_served(&rig);
    assert_eq!(rig.seen.lock().unwrap().len(), 1);
}

#[test]
fn a_client_does_not_tell_another_users_server_anything() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let folder = private_folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let socket = folder.path().join("control.sock");
    let listener = as_user(65534, || UnixListener::bind(&socket).unwrap());
    fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
    let said = as_user(65533, || ctl_in(folder.path(), &["rotate", "--key", "/secret/place"]));
    said.fails(Exit::Environment, "who serves there is user 65534, not you");
    let mut heard = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
    assert!(heard.is_empty());
}

#[test]
fn requests_that_no_client_of_ours_would_send_are_refused() {
    let rig = Rig::new();
    let len_max = usize::try_from(Limits::default().module_len).unwrap();
    let swap = |len: usize, label: &str| SwapModuleRequest {
        method: "ecdsa".into(),
        to: Some(To::Module(NewModule { label: label.into(), wasm: vec![0; len] })),
        runtime: None,
    };
    let refused = |request: SwapModuleRequest| {
        block_on(async {
            let mut client = rig.client(65535).await;
            let refused = client.swap_module(request).await.unwrap_err();
            (refused.code(), refused.message().to_string())
        })
    };
    assert_eq!(refused(swap(len_max + (1 << 20), "x")).0, Code::OutOfRange);
    let (code, words) = refused(swap(len_max + 1, "x"));
    assert_eq!(code, Code::InvalidArgument);
    assert!(words.contains("may have 4194304"), "{words}");
    for label in ["", "two\nlines", "\u{1b}[2J", &"x".repeat(5000)] {
        assert_eq!(refused(swap(1, label)).0, Code::InvalidArgument);
    }
    let nameless = |method: &str, runtime: Option<&str>| SwapModuleRequest {
        method: method.into(),
        to: None,
        runtime: runtime.map(Into::into),
    };
    assert_eq!(refused(nameless("rsa", Some("native"))).0, Code::InvalidArgument);
    assert_eq!(refused(nameless("ecdsa", Some("wasmer"))).0, Code::InvalidArgument);
    assert_eq!(refused(nameless("ecdsa", None)).0, Code::InvalidArgument);
    block_on(async {
        let mut client = rig.client(65535).await;
        let path = |path: &str| RotateKeyRequest { path: Some(path.into()) };
        for path in [path("relative"), path(""), path("/a\0b")] {
            assert_eq!(client.rotate_key(path).await.unwrap_err().code(), Code::InvalidArgument);
        }
        let nothing = SetLimitsRequest::default();
        let odd = SetLimitsRequest { memory_bytes: Some(65537), ..nothing };
        let none = SetLimitsRequest { deadline_ms: Some(0), ..nothing };
        let huge = SetLimitsRequest { module_bytes: Some(u64::MAX), ..nothing };
        for limits in [nothing, odd, none, huge] {
            assert_eq!(client.set_limits(limits).await.unwrap_err().code(), Code::InvalidArgument);
        }
    });
    assert!(rig.seen.lock().unwrap().is_empty());
    // The longest that may be is let through, and so is a longer one when the limit is raised.
    block_on(async {
        let mut client = rig.client(65535).await;
        client.swap_module(swap(len_max, "x")).await.unwrap();
        let higher = Limits { module_len: 2 * len_max as u64, ..Limits::default() };
        rig.on_supervisor(move |server| server.set_limits(&higher));
        client.swap_module(swap(2 * len_max, "x")).await.unwrap();
    });
}

#[test]
fn garbage_ends_the_connection_that_it_comes_over_and_no_other() {
    let rig = Rig::new();
    let mut state = 1_u64;
    let mut random = move |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    for round in 0..200 {
        let mut stream = rig.connect();
        // Every other time what looks like a client at first.
        let mut bytes = if round % 2 == 0 { HELLO.to_vec() } else { Vec::new() };
        bytes.extend(random(1 + round * 40));
        // It may be closed while this is written.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(is_closed(&stream));
    }
    is_served(&rig);
    assert_eq!(*rig.seen.lock().unwrap(), ["Status"]);
}

#[test]
fn clients_that_say_nothing_or_stop_halfway_keep_nobody_out() {
    let rig = Rig::new();
    let mut silent = Vec::new();
    for nth in 0..300 {
        let mut stream = rig.connect();
        // Nothing, half a preface, a preface, half a frame.
        let said = [0, 10, HELLO.len(), HELLO.len() - 3][nth % 4];
        // It may be gone already, for another one.
        let _ = stream.write_all(&HELLO[..said]);
        silent.push(stream);
    }
    is_served(&rig);
    // The oldest had to go.
    assert!(is_closed(&silent[0]));
    is_served(&rig);
}

#[test]
fn who_does_nothing_for_long_is_cut_off_and_who_waits_is_not() {
    let rig = Rig::new();
    let silent = rig.connect();
    let mut half = rig.connect();
    half.write_all(&HELLO[..HELLO.len() - 3]).unwrap();
    block_on(async {
        let mut watching = rig.client(65535).await;
        let mut events = watching.watch(WatchRequest {}).await.unwrap().into_inner();
        let mut idle = rig.client(65535).await;
        idle.status(StatusRequest {}).await.unwrap();
        while idle.status(StatusRequest {}).await.is_ok() {
            tokio::time::sleep(IDLE + IDLE / 5).await;
        }
        assert!(is_closed(&silent) && is_closed(&half));
        rig.on_supervisor(|server| server.publish(event(1)));
        assert_eq!(events.message().await.unwrap().unwrap().worker, Some(1));
    });
}

#[test]
fn a_call_that_never_arrives_is_given_up_on_a_connection_that_is_busy() {
    use tonic::codegen::Service;
    let rig = Rig::new();
    block_on(async {
        let mut connection = rig.connection(65535).await;
        let mut client = SignerControlClient::with_origin(connection.clone(), origin());
        let _events = client.watch(WatchRequest {}).await.unwrap();
        let (sender, body) = tokio::sync::mpsc::channel(1);
        let request = bytes_frame::request("/ringseal.v1.SignerControl/Drain", body);
        sender.send(Ok(bytes_frame::data(&[0, 0, 0, 0]))).await.unwrap();
        let answer = connection.call(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], (Code::DeadlineExceeded as i32).to_string().as_str());
    });
    assert!(rig.seen.lock().unwrap().is_empty());
}

#[test]
fn modules_that_never_arrive_hold_up_other_modules_and_nothing_else() {
    let rig = Rig::new();
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = rig.connection(65535).await;
            clients.push((half_a_swap(&mut client).await, client));
        }
        let mut client = rig.client(65535).await;
        let swap = SwapModuleRequest { method: "ecdsa".into(), to: None, runtime: Some("native".into()) };
        while client.swap_module(swap.clone()).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let refused = client.swap_module(swap.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        client.status(StatusRequest {}).await.unwrap();
        drop(clients);
        while client.swap_module(swap.clone()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
}

/// Begins to send a module, and sends no more than its length.
async fn half_a_swap(client: &mut super::support::Connection) -> impl Sized + use<> {
    use tonic::codegen::Service;
    let (sender, body) =
        tokio::sync::mpsc::channel::<Result<bytes_frame::Frame, std::convert::Infallible>>(1);
    let request = bytes_frame::request("/ringseal.v1.SignerControl/SwapModule", body);
    sender.send(Ok(bytes_frame::data(&[0, 0, 0x10, 0, 0]))).await.unwrap();
    (tokio::spawn(client.call(request)), sender)
}

/// A request whose body is sent as the test likes.
mod bytes_frame {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::mpsc::Receiver;
    use tonic::codegen::{Body, Bytes};

    pub type Frame = hyper::body::Frame<Bytes>;

    pub fn data(bytes: &[u8]) -> Frame {
        Frame::data(Bytes::copy_from_slice(bytes))
    }

    pub fn request(
        path: &str,
        body: Receiver<Result<Frame, Infallible>>,
    ) -> hyper::Request<tonic::body::Body> {
        let request = hyper::Request::post(format!("http://signer{path}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        request.body(tonic::body::Body::new(Sent(body))).unwrap()
    }

    struct Sent(Receiver<Result<Frame, Infallible>>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, Infallible>>> {
            self.0.poll_recv(cx)
        }
    }
}

#[test]
fn a_client_that_hangs_up_in_the_middle_of_a_swap_harms_nothing() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let rig = Rig::with(Box::new(move |request| keep.lock().unwrap().push(request)));
    for _ in 0..3 {
        for _ in 0..16 {
            let before = kept.lock().unwrap().len();
            block_on(async {
                let mut client = rig.client(65535).await;
                let swap =
                    SwapModuleRequest { method: "ecdsa".into(), to: None, runtime: Some("native".into()) };
                let call = tokio::spawn(async move { client.swap_module(swap).await });
                while kept.lock().unwrap().len() == before {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                call.abort();
            });
        }
        // They have hung up, but the supervisor still has work of theirs.
        rig.ctl(&["status"]).fails(Exit::Failed, "calls wait already");
        for request in kept.lock().unwrap().drain(..) {
            (request.reply)(Ok(answer(&request.command)));
        }
    }
    thread::scope(|scope| {
        let status = scope.spawn(|| is_served(&rig));
        until(|| !kept.lock().unwrap().is_empty());
        for request in kept.lock().unwrap().drain(..) {
            (request.reply)(Ok(answer(&request.command)));
        }
        status.join().unwrap();
    });
}
