//! What hostile clients of the control plane do to the data path: they ping and send garbage without a pause, at the signer
//! that signs, or at another one, which tells what they cost by computing at all.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::measure::{Contender, Values};
use crate::pipeline::{Programs, Setup};
use crate::process::{Process, work_folder};

/// HTTP/2's preface (RFC 9113, 3.4) with settings that say nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// An HTTP/2 ping (RFC 9113, 6.7), which is to be answered with as many bytes.
const PING: &[u8; 17] = b"\0\0\x08\x06\0\0\0\0\0ringseal";

/// Whose control plane the clients are at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// There are none.
    Nobodys,
    /// That of the signer that signs.
    Own,
    /// That of a signer that has nothing to do.
    Anothers,
}

impl At {
    /// The name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            At::Nobodys => "no clients",
            At::Own => "two clients",
            At::Anothers => "two clients of another signer",
        }
    }
}

/// Ringseal natively at a rate, with clients.
pub struct Beside<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// What is run.
    pub setup: Setup,
    /// Where the clients are.
    pub at: At,
}

impl Contender for Beside<'_> {
    fn name(&self) -> String {
        self.at.name().into()
    }

    fn sample(&mut self) -> Result<Values> {
        let (own, others) = (work_folder()?, work_folder()?);
        let other = (self.at == At::Anothers).then(|| self.other(others.path())).transpose()?;
        let setup = Setup { control: Some(own.path().to_owned()), ..self.setup.clone() };
        let (end, pongs) = (AtomicBool::new(false), AtomicU64::new(0));
        let socket = (if other.is_some() { &others } else { &own }).path().join("control.sock");
        let ran = thread::scope(|scope| {
            if self.at != At::Nobodys {
                scope.spawn(|| again_and_again(&end, || ping(&socket, &pongs)));
                scope.spawn(|| again_and_again(&end, || send_garbage(&socket)));
            }
            let ran = self.programs.run(&setup);
            end.store(true, Ordering::Relaxed);
            ran
        })?;
        other.map(Process::stop).transpose()?;
        let pongs = pongs.into_inner();
        if (pongs > 0) != (self.at != At::Nobodys) {
            return Err(
                format!("{pongs} pings were answered: the clients were not where they should be").into()
            );
        }
        let [p50, p99, p99_9] = ran.end_to_end_us;
        Ok(Values::from([("p50", p50), ("p99", p99), ("p99.9", p99_9), ("answers", pongs as f64)]))
    }
}

impl Beside<'_> {
    /// A signer with a ring of its own, to which nobody writes, and its control plane in the same folder.
    fn other(&self, folder: &Path) -> Result<Process> {
        let (ring, key) = (folder.join("ring"), self.programs.key(folder)?);
        self.programs.create_ring(&ring, 8, 64)?;
        let mut signer = self.programs.signer(&ring, &key, "native");
        Process::start("signer", signer.arg("--control").arg(folder))
    }
}

/// What a client meets is its own fault, and no reason to stop.
fn again_and_again(end: &AtomicBool, attack: impl Fn() -> io::Result<()>) {
    while !end.load(Ordering::Relaxed) {
        if attack().is_err() {
            // There is no server yet, or any more.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let client = UnixStream::connect(socket)?;
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    client.set_write_timeout(Some(Duration::from_millis(100)))?;
    Ok(client)
}

/// A thousand pings on one connection, each when the one before it was answered.
fn ping(socket: &Path, pongs: &AtomicU64) -> io::Result<()> {
    let (mut client, mut answer) = (connect(socket)?, [0; 4096]);
    client.write_all(PREFACE)?;
    for _ in 0..1000 {
        client.write_all(PING)?;
        if client.read(&mut answer)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        pongs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What is no HTTP/2, until the server has had enough of it.
fn send_garbage(socket: &Path) -> io::Result<()> {
    let mut client = connect(socket)?;
    client.write_all(&[0xa5; 60_000])?;
    // It ends the connection; how is all the same.
    let _ = client.read(&mut [0; 4096]);
    Ok(())
}
