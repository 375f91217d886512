//! Keyscan: a key that is known here is looked for, in every form that it could be written down in, wherever a signer at
//! work may have left it.
//!
//! The scanner is shown that it finds the key where it lies: in a file, an argument, an environment, a copy of the ring, and
//! its own memory. Memory of other processes is for root alone to look at.

mod cores;
mod forms;
mod round;
mod scan;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use clap::Args;
use cli::{Exit, Failure};
use k256::SecretKey;
use k256::pkcs8::DecodePrivateKey;

use crate::support::session::{Common, Session};
use crate::support::site::Site;
use cores::Cores;
use round::Round;
use scan::Scanner;

/// What the campaign is told.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Signers on each runtime, each with a key of its own
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u64,
    /// What signs
    #[arg(long, value_name = "RUNTIMES", value_delimiter = ',', default_value = "native,wasmtime,wasmi")]
    runtimes: Vec<String>,
    /// Say where in a signer's memory its key lies
    #[arg(long)]
    places: bool,
}

/// What was looked at.
#[derive(Default)]
struct Counts {
    places: u64,
    crashes: u64,
    rotations: u64,
    /// The most copies of a worker's current key in its own memory, for each runtime; and of a supervisor's.
    copies: BTreeMap<String, usize>,
}

/// Runs the campaign.
///
/// # Errors
/// It can't go on.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let session = Session::begin("keyscan", &options.common)?;
    let mut rng = session.rng();
    let is_root = rustix::process::geteuid().is_root();
    let cores = Cores::allow()?;
    show_that_it_is_found(&session)?;
    let can_rotate = Site::new(&session)?.run("signer", &["ctl".into(), "--help".into()]).is_ok();
    let mut counts = Counts::default();
    for _ in 0..options.rounds {
        for runtime in &options.runtimes {
            let round = Round {
                session: &session,
                cores: &cores,
                runtime,
                is_root,
                can_rotate,
                says_places: options.places,
            };
            let result = round.run(&mut rng.fork(), &mut counts);
            session.heed(result)?;
        }
    }
    let copies: Vec<_> = counts.copies.iter().map(|(whose, most)| format!("{whose} {most}")).collect();
    let notes = [
        (!is_root, "memory not looked at: only root may"),
        (!cores.can_be_seen, "cores not looked at: this machine leaves none here"),
        (!can_rotate, "rotation not tried: this signer has no ctl"),
    ];
    let notes: String =
        notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| format!("; {note}")).collect();
    let complaints = session.complaints();
    session.finish(format_args!(
        "{} signers, {} places looked at, {} crashes, {} rotations; key found where it must not be: {} times; copies in \
         own memory at most: {}{notes}",
        options.rounds * options.runtimes.len() as u64,
        counts.places,
        counts.crashes,
        counts.rotations,
        complaints,
        if copies.is_empty() { "-".to_owned() } else { copies.join(", ") }
    ))
}

/// The key of `site`.
fn key_of(site: &Site) -> Result<SecretKey, Failure> {
    let pem = fs::read_to_string(site.path("key")).map_err(Failure::environment)?;
    SecretKey::from_pkcs8_pem(&pem).map_err(Failure::environment)
}

/// Plants copies of a key in each kind of place, and complains where the scanner does not see them.
fn show_that_it_is_found(session: &Session) -> Result<(), Failure> {
    let site = Site::new(session)?;
    site.create_ring(&[])?;
    let key = key_of(&site)?;
    let scanner = Scanner::new(forms::halves(forms::all(&key)));
    let expect = |what: &str, is_found: bool| {
        if !is_found {
            session.complain(format_args!("the scanner does not see a key in {what}: it proves nothing"));
        }
    };
    let in_file = |name: &str, bytes: &[u8]| {
        let path = site.path(name);
        let written = fs::write(&path, bytes).and_then(|()| scanner.names_in_file(&path));
        written.map(|names| !names.is_empty()).map_err(Failure::environment)
    };
    for form in forms::all(&key) {
        let text = [b"before ", &**form.bytes, b" behind"].concat();
        expect(&format!("a file, {}", form.name), in_file("planted", &text)?);
    }
    expect("its own file", scanner.names_in_file(&site.path("key")).is_ok_and(|names| !names.is_empty()));
    let mut ring = fs::read(site.ring()).map_err(Failure::environment)?;
    expect("a ring that holds none", !in_file("ring", &ring)?);
    let at = ring.len() / 2 + 5;
    ring[at..at + 32].copy_from_slice(&key.to_bytes());
    expect("a copy of the ring", in_file("ring", &ring)?);
    let digits = hex::encode(key.to_bytes());
    let sleeper = |argument: &str, variable: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r _", argument]).env("PLANTED", variable).stdin(Stdio::piped());
        command.spawn().map_err(Failure::environment)
    };
    let finds = |mut child: Child, what: &str| {
        let found = round::wait_until_executed(child.id()).and_then(|()| {
            scanner
                .names_in_file(format!("/proc/{}/{what}", child.id()).as_ref())
                .map_err(Failure::environment)
        });
        let _ = child.kill();
        let _ = child.wait();
        found.map(|names| !names.is_empty())
    };
    expect("an argument", finds(sleeper(&digits, "")?, "cmdline")?);
    expect("an environment", finds(sleeper("", &digits)?, "environ")?);
    expect("memory", scanner.places_in_memory(std::process::id()).is_ok_and(|places| !places.is_empty()));
    Ok(())
}
