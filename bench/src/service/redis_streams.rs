//! A signer behind Redis Streams: messages are added to one stream, signatures to another. The server listens on a Unix
//! socket of the run alone, and saves nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, Pipeline};
use shmem_layout::now_ns;

use crate::process::{PATIENCE, Process, say, told};
use crate::service::load::{Answers, Order, Schedule, message_of};
use crate::service::signer::Signer;
use crate::{Result, process};

const REQUESTS: &str = "requests";
const SIGNATURES: &str = "signatures";

/// Messages in one go when nothing says when they are due, and read at most.
const BATCH: usize = 64;

/// Whether there is a server to start; else why not.
pub fn is_available() -> Result<()> {
    let mut command = Command::new("redis-server");
    match command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("redis-server is not installed (Debian's package redis-server)".into()),
    }
}

/// Starts a server in `folder`, and waits until it answers.
pub fn start_server(folder: &Path) -> Result<Process> {
    let mut command = Command::new("redis-server");
    command.args([
        "--port",
        "0",
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
        "--unixsocketperm",
        "700",
    ]);
    command.arg("--unixsocket").arg(folder.join("redis")).arg("--dir").arg(folder);
    let server = Process::start("redis-server", command.stdout(Stdio::null()).stdin(Stdio::null()))?;
    let started = Instant::now();
    while connect(folder).is_err() {
        if started.elapsed() > PATIENCE {
            return Err("redis-server does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

fn connect(folder: &Path) -> Result<Connection> {
    let client = Client::open(format!("unix://{}", folder.join("redis").display()))?;
    let mut connection = client.get_connection()?;
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}

/// Reads what has come to `stream` after `last`, waiting for it: index, bytes.
fn read(connection: &mut Connection, stream: &str, last: &mut String) -> Result<Vec<(u64, Vec<u8>)>> {
    let options = StreamReadOptions::default().block(100).count(BATCH);
    let reply: Option<StreamReadReply> = connection.xread_options(&[stream], &[last.as_str()], &options)?;
    let mut entries = Vec::new();
    for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
        let field = |name: &str| entry.get::<Vec<u8>>(name).ok_or("an entry without what it should have");
        let index = field("i")?.try_into().map_err(|_| "an index of another length")?;
        entries.push((u64::from_le_bytes(index), field("bytes")?));
        *last = entry.id;
    }
    Ok(entries)
}

fn add(pipeline: &mut Pipeline, stream: &str, i: u64, bytes: &[u8]) {
    pipeline.xadd(stream, "*", &[("i", &i.to_le_bytes()[..]), ("bytes", bytes)]).ignore();
}

/// The signer's process: signs until its input ends.
pub fn serve(folder: &Path) -> Result<()> {
    let (mut signer, mut connection) = (Signer::new()?, connect(folder)?);
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = over.clone();
    std::thread::spawn(move || {
        let _ = told();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    say(&"ready")?;
    let mut last = "0".to_owned();
    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
        let mut answers = redis::pipe();
        let entries = read(&mut connection, REQUESTS, &mut last)?;
        for (i, message) in &entries {
            add(&mut answers, SIGNATURES, *i, &signer.sign(message)?);
        }
        if !entries.is_empty() {
            answers.exec(&mut connection)?;
        }
    }
    Ok(())
}

/// The client's process: does the order that it is told, with one connection to write and one to read.
pub fn load(folder: &Path) -> Result<()> {
    let (mut writer, mut reader) = (connect(folder)?, connect(folder)?);
    say(&"ready")?;
    let order: Order = serde_json::from_str(&told()?.ok_or("no order")?)?;
    let schedule = Schedule::from_now(order.rate);
    let (count, rate) = (order.count, order.rate);
    let writing = std::thread::spawn(move || -> Result<()> {
        let mut i = 0;
        while i < count {
            let mut pipeline = redis::pipe();
            if rate.is_some() {
                Schedule::wait_for(&schedule, i);
                add(&mut pipeline, REQUESTS, i, &message_of(i));
                i += 1;
            } else {
                let end = count.min(i + BATCH as u64);
                (i..end).for_each(|i| add(&mut pipeline, REQUESTS, i, &message_of(i)));
                i = end;
            }
            pipeline.exec(&mut writer)?;
        }
        Ok(())
    });
    let mut answers = Answers::new(order.known, count, schedule);
    let (mut last, mut quiet_since) = ("0".to_owned(), Instant::now());
    while answers.count() < count {
        let entries = read(&mut reader, SIGNATURES, &mut last)?;
        if !entries.is_empty() {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() > process::PATIENCE {
            return Err("no signature has come for long".into());
        }
        let came_ns = now_ns();
        for (i, signature) in entries {
            answers.take(i, came_ns, &signature)?;
        }
    }
    writing.join().map_err(|_| "the writing thread panicked")??;
    say(&answers.finish())
}
