//! Events, and who watches them.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use cli::Exit;
use tokio::time::timeout;
use tonic::Streaming;

use super::support::{PATIENCE, Rig, block_on, ctl_to, event, until};
use control_protocol::protocol::{Event, WatchRequest};

/// Events until `last` has come, with a watcher that is told of them by `ctl`.
fn watch(rig: &Rig, arguments: &[&str], count: usize) -> Vec<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::scope(|scope| {
        let directory = rig.directory();
        let arguments: Vec<_> = arguments.iter().copied().chain(["watch"]).collect();
        let watching = scope.spawn(move || {
            let mut left = count;
            ctl_to(&directory, &arguments, &mut |line| {
                sender.send(line.to_string()).unwrap();
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let mut first = None;
        // The first event may come before the watcher.
        until(|| {
            rig.on_supervisor(|server| server.publish(event(0)));
            first = lines.recv_timeout(Duration::from_millis(20)).ok();
            first.is_some()
        });
        for number in 1..100 {
            rig.on_supervisor(move |server| server.publish(event(number)));
        }
        let mut all = vec![first.unwrap()];
        all.extend((1..count).map(|_| lines.recv_timeout(PATIENCE).unwrap()));
        // A reader that went away is no error.
        assert_eq!(watching.join().unwrap(), Ok(Exit::Done));
        all
    })
}

#[test]
fn events_are_printed_as_they_come_until_nobody_reads_them() {
    let rig = Rig::new();
    let lines = watch(&rig, &[], 30);
    assert_eq!(lines[0], "2026-11-20T17:31:02.123Z  worker-started  worker 0  event 0\n");
    let lines = watch(&rig, &["--json"], 30);
    let last: serde_json::Value = serde_json::from_str(&lines[29]).unwrap();
    let expected = serde_json::json!({
        "unix_ms": 1_795_195_862_123_u64, "kind": "worker-started", "worker": last["worker"], "method": null,
        "generation": null, "text": format!("event {}", last["worker"]), "missed": 0
    });
    assert_eq!(last, expected);
}

#[test]
fn a_watcher_gets_the_last_event_and_then_the_end() {
    let mut rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut events = runtime.block_on(async {
        let mut client = rig.client(65535).await;
        client.watch(WatchRequest {}).await.unwrap().into_inner()
    });
    let watching = std::thread::spawn(move || {
        runtime.block_on(async {
            let mut texts = Vec::new();
            while let Some(event) = events.message().await.unwrap() {
                texts.push(event.text);
            }
            texts
        })
    });
    rig.on_supervisor(|server| (0..200).for_each(|number| server.publish(event(number))));
    rig.stop();
    let texts = watching.join().unwrap();
    assert_eq!(texts, (0..200).map(|number| format!("event {number}")).collect::<Vec<_>>());
}

const EVENTS: u32 = 100_000;

/// Reads until the last event has come, and checks that every event has come or is said to be missing. Says how many came.
async fn all_accounted_for(rig: &Rig, events: &mut Streaming<Event>) -> u32 {
    let (mut received, mut next, mut is_told) = (0, 0, false);
    while next <= EVENTS {
        match timeout(Duration::from_millis(100), events.message()).await {
            Ok(event) => {
                let event = event.unwrap().unwrap();
                let number = event.worker.unwrap();
                assert_eq!(u64::from(number), u64::from(next) + event.missed, "after {received}");
                (received, next) = (received + 1, number + 1);
            }
            // All that found room has come: one more tells of the rest.
            Err(_) if !is_told => {
                rig.on_supervisor(|server| server.publish(event(EVENTS)));
                is_told = true;
            }
            Err(_) => {}
        }
    }
    received
}

#[test]
fn who_does_not_read_holds_up_nobody_who_does_and_learns_how_much_it_missed() {
    const AT_ONCE: u32 = 100;
    let rig = Rig::new();
    block_on(async {
        let mut client = rig.client(65535).await;
        let mut slow = client.watch(WatchRequest {}).await.unwrap().into_inner();
        let mut client = rig.client(65535).await;
        let mut quick = client.watch(WatchRequest {}).await.unwrap().into_inner();
        for first in (0..EVENTS).step_by(AT_ONCE as usize) {
            rig.on_supervisor(move |server| (first..first + AT_ONCE).for_each(|n| server.publish(event(n))));
            for number in first..first + AT_ONCE {
                let event = quick.message().await.unwrap().unwrap();
                assert_eq!((event.worker, event.missed), (Some(number), 0));
            }
        }
        let received = all_accounted_for(&rig, &mut slow).await;
        // What waits for a client: its queue, the windows, and what is being sent.
        assert!(received < 10_000, "{received} of {EVENTS} events were kept");
    });
}

#[test]
fn more_events_than_the_server_can_pass_on_hold_up_nobody_and_are_counted() {
    let rig = Rig::new();
    block_on(async {
        let mut client = rig.client(65535).await;
        let mut events = client.watch(WatchRequest {}).await.unwrap().into_inner();
        rig.on_supervisor(|server| (0..EVENTS).for_each(|number| server.publish(event(number))));
        let received = all_accounted_for(&rig, &mut events).await;
        assert!(received < 10_000, "{received} of {EVENTS} events were kept");
    });
    assert_eq!(rig.ctl(&["status"]).result, Ok(Exit::Done));
}

#[test]
fn there_are_only_so_many_watchers_and_one_that_ends_makes_room() {
    let rig = Rig::new();
    block_on(async {
        let mut watchers = Vec::new();
        for _ in 0..16 {
            let mut client = rig.client(65535).await;
            watchers.push((client.watch(WatchRequest {}).await.unwrap(), client));
        }
        let mut client = rig.client(65535).await;
        let refused = client.watch(WatchRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        watchers.pop();
        while client.watch(WatchRequest {}).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}
