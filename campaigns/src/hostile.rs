//! `campaign hostile`: the message is read once.
//!
//! A signer that reads a message twice, while another process flips a bit of it in between, makes the nonce for one message
//! and the challenge for another, and gives its key away. So the real signer signs one message again and again while a
//! flipper flips, and no two signatures may share R with different s. First of all a control, a signer that does read twice,
//! has to be caught by the same judge over the same flipper: else the rest proves nothing.

pub mod double_reader;
pub mod flipper;
mod judge;
mod load;
mod nonce_reuse;
pub mod raw_ring;

use std::time::{Duration, Instant};

use clap::Args;
use cli::{Exit, Failure};
use k256::elliptic_curve::sec1::ToSec1Point;

use self::judge::{Counts, Judge};
use self::load::Load;
use crate::support::process::{Process, manner};
use crate::support::rng::Rng;
use crate::support::session::{Common, Session};
use crate::support::site::Site;

/// What the campaign is told.
#[derive(Args)]
pub struct HostileOptions {
    #[command(flatten)]
    common: Common,

    /// Signatures in all; most of them on the fast runtimes
    #[arg(long, default_value_t = 1_000_000)]
    signatures: u64,

    /// The runtimes to sign on
    #[arg(long, value_delimiter = ',', default_value = "native,wasmtime,wasmi,wasm3")]
    runtimes: Vec<String>,
}

/// Bytes of the message: four words, which all lie on one line of the cache.
const MESSAGE_LEN: usize = 32;

/// Few slots, so that each is flipped often.
const CAPACITY: &str = "32";

/// The control must be caught within so many signatures, and so much time.
const CONTROL_SIGNATURES: u64 = 100_000;
const CONTROL_LIMIT: Duration = Duration::from_secs(60);

/// How long a signer may take to end once the stream has.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Runs the campaign.
///
/// # Errors
/// Arguments or environment; what goes wrong in the campaign is a complaint of its verdict.
pub fn run(options: &HostileOptions) -> Result<Exit, Failure> {
    let session = Session::begin("hostile", &options.common)?;
    let mut rng = session.rng();
    let caught = control(&session, &mut rng)?;
    let mut all = Counts::default();
    for (runtime, signatures) in shares(&options.runtimes, options.signatures) {
        let counts = of_runtime(&session, runtime, signatures, &mut rng)?;
        all.add(&counts);
    }
    let control = caught.map_or("control NOT caught: this proves nothing".to_owned(), |after| {
        format!("control caught after {after}")
    });
    session.finish(format_args!("{} signatures, shared R {}; {control}", all.total(), all.shared))
}

/// How many of `signatures` each runtime makes: wasmi and wasm3, which take one and two milliseconds for each, make few.
fn shares(runtimes: &[String], signatures: u64) -> Vec<(&str, u64)> {
    let weight = |runtime: &str| match runtime {
        "wasm3" => 2,
        "wasmi" => 6,
        _ => 46,
    };
    let total: u64 = runtimes.iter().map(|runtime| weight(runtime)).sum();
    let mut left = signatures;
    let mut shares: Vec<_> = runtimes
        .iter()
        .map(|runtime| {
            let share = signatures * weight(runtime) / total.max(1);
            left -= share;
            (runtime.as_str(), share)
        })
        .collect();
    if let Some((_, share)) = shares.first_mut() {
        *share += left;
    }
    shares
}

/// A message, and the same with the bit flipped that the flipper flips.
struct Messages {
    bit: usize,
    both: [Vec<u8>; 2],
}

impl Messages {
    fn draw(rng: &mut Rng) -> Self {
        let message: Vec<u8> = (0..MESSAGE_LEN).map(|_| rng.next() as u8).collect();
        let bit = rng.within(0..8 * MESSAGE_LEN as u64) as usize;
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        Self { bit, both: [message, flipped] }
    }
}

/// Makes the ring of a run.
fn create_ring(site: &Site) -> Result<(), Failure> {
    let message_capacity = MESSAGE_LEN.to_string();
    site.create_ring(&["--capacity", CAPACITY, "--message-capacity", &message_capacity].map(str::to_owned))
}

/// Starts this program's own subcommand `name` on the site's ring.
pub fn start_own(site: &Site, name: &str, arguments: &[String]) -> Result<Process, Failure> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::environment(format_args!("this program's own path: {error}")))?;
    let first = [name.to_owned(), "--ring".to_owned(), site.ring().display().to_string()];
    Process::start(name, &own, first.iter().chain(arguments), site.path(&format!("{name}.said")))
}

fn start_flipper(site: &Site, messages: &Messages, rng: &mut Rng) -> Result<Process, Failure> {
    let arguments = ["--bit".into(), messages.bit.to_string(), "--seed".into(), rng.next().to_string()];
    start_own(site, "flipper", &arguments)
}

/// An error if one of these has ended, as none should.
fn all_live(processes: &mut [&mut Process]) -> Result<(), Failure> {
    for process in processes {
        if let Some(status) = process.try_wait()? {
            let (name, words) = (process.name(), process.last_words());
            let message = format!("{name} has ended, {}: {words}", manner(status));
            return Err(Failure::environment(message));
        }
    }
    Ok(())
}

/// Has a signer that reads twice sign until it is caught; after how many signatures.
fn control(session: &Session, rng: &mut Rng) -> Result<Option<u64>, Failure> {
    let site = Site::new(session)?;
    create_ring(&site)?;
    let messages = Messages::draw(rng);
    let (secret, public) = control_key(rng)?;
    let key = site.path("control-key");
    std::fs::write(&key, hex::encode(secret)).map_err(Failure::environment)?;
    let mut judge = Judge::new(messages.both.clone(), &public)?;
    let mut load = Load::join(&site.ring())?;
    let mut flipper = start_flipper(&site, &messages, rng)?;
    let mut signer = start_own(&site, "double-reader", &["--key".into(), key.display().to_string()])?;
    let started = Instant::now();
    let is_enough = |judge: &Judge| judge.leak().is_some() || started.elapsed() >= CONTROL_LIMIT;
    let look_after = || all_live(&mut [&mut flipper, &mut signer]);
    load.run(&messages.both[0], CONTROL_SIGNATURES, &mut judge, is_enough, look_after)?;
    let after = judge.counts.total();
    if judge.leak().is_none() {
        session.complain(format_args!("the control was not caught within {after} signatures"));
        return Ok(None);
    }
    match judge.recovered_key() {
        Some(recovered) if nonce_reuse::is_same_secret(&recovered, &secret) => {
            session
                .say(format_args!("control: caught after {after} signatures, and its secret key recovered"));
        }
        _ => session.complain("the control was caught, but its secret key does not follow"),
    }
    Ok(Some(after))
}

/// A secret key, and its public key.
fn control_key(rng: &mut Rng) -> Result<([u8; 32], [u8; 33]), Failure> {
    let mut secret = [0; 32];
    secret.iter_mut().for_each(|byte| *byte = rng.next() as u8);
    let key = k256::SecretKey::from_slice(&secret)
        .map_err(|_| Failure::failed("the control's key is none; take another seed"))?;
    Ok((secret, compressed(key.public_key().to_sec1_point(true).as_bytes())?))
}

fn compressed(bytes: &[u8]) -> Result<[u8; 33], Failure> {
    bytes.try_into().map_err(|_| Failure::environment("the public key is none"))
}

/// Has the real signer sign on `runtime`.
fn of_runtime(session: &Session, runtime: &str, signatures: u64, rng: &mut Rng) -> Result<Counts, Failure> {
    let site = Site::new(session)?;
    create_ring(&site)?;
    let messages = Messages::draw(rng);
    let public = hex::decode(site.public_key()).map_err(Failure::environment)?;
    let mut judge = Judge::new(messages.both.clone(), &compressed(&public)?)?;
    let mut load = Load::join(&site.ring())?;
    let mut flipper = start_flipper(&site, &messages, rng)?;
    let mut signer = site.signer(runtime, &[])?;
    let started = Instant::now();
    let look_after = || all_live(&mut [&mut flipper, &mut signer]);
    load.run(&messages.both[0], signatures, &mut judge, |judge| judge.leak().is_some(), look_after)?;
    let (elapsed, counts) = (started.elapsed(), judge.counts);
    all_live(&mut [&mut flipper])?;
    drop(flipper);
    load.close()?;
    let percent = |part: u64| 100.0 * part as f64 / counts.total().max(1) as f64;
    session.say(format_args!(
        "{runtime}: {} signatures in {:.1} s, {:.1} % of the message and {:.1} % of the flipped one, shared R {}",
        counts.total(),
        elapsed.as_secs_f64(),
        percent(counts.of[0]),
        percent(counts.of[1]),
        counts.shared,
    ));
    let before = session.complaints();
    if let Some(leak) = judge.leak() {
        let key =
            judge.recovered_key().map_or("the key does not follow from it", |_| "the secret key follows");
        session.complain(format_args!(
            "{runtime}: two signatures ({} and {}) share R {}: {key}",
            leak.methods[0],
            leak.methods[1],
            hex::encode(leak.r)
        ));
    }
    if counts.invalid > 0 {
        session.complain(format_args!("{runtime}: {} signatures are of neither message", counts.invalid));
    }
    if counts.of.iter().any(|of| percent(*of) < 1.0) {
        session.complain(format_args!("{runtime}: the flipper does not hit, which proves nothing"));
    }
    match signer.wait_for(END_LIMIT)? {
        Some(status) if status.success() => {}
        Some(status) => session.complain(format_args!(
            "{runtime}: the signer ended with {}: {}",
            manner(status),
            signer.last_words()
        )),
        None => session.complain(format_args!("{runtime}: the signer did not end with the stream")),
    }
    if session.complaints() > before {
        drop(load);
        session.say(site.keep());
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_has_a_runtime_and_the_slow_ones_make_few() {
        let runtimes = ["native", "wasmtime", "wasmi", "wasm3"].map(str::to_owned);
        assert_eq!(
            shares(&runtimes, 1000),
            [("native", 460), ("wasmtime", 460), ("wasmi", 60), ("wasm3", 20)]
        );
        assert_eq!(shares(&runtimes[2..], 7), [("wasmi", 6), ("wasm3", 1)]);
    }
}
