//! `campaign starter`: takes a role of a ring, or makes one, at the moment when a gate opens, together with all others that
//! wait there.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cli::{Exit, Failure};
use shmem_layout::{RingOptions, RingPath, attach, create};

/// What a starter is told.
#[derive(Args)]
pub struct StarterOptions {
    /// The ring
    #[arg(long)]
    ring: PathBuf,

    /// What it wants to be
    #[arg(long)]
    role: Role,

    /// A FIFO: open once it has a writer, and shut once it has none
    #[arg(long)]
    gate: PathBuf,
}

/// What a starter wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The consumer
    Consumer,
    /// The producer of one source
    Producer,
    /// Who makes the ring
    Creator,
}

impl Role {
    /// The name that the option takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Creator => "creator",
        }
    }
}

/// The source that they all want.
pub const SOURCE: &str = "wanted";

/// Tries, and holds what it got until the gate shuts.
///
/// # Errors
/// Another one has it, by the name that the ring's crate gives that.
pub fn run(options: &StarterOptions) -> Result<Exit, Failure> {
    // Opening a FIFO for reading waits for a writer: the kernel lets all go at once.
    let mut gate = File::open(&options.gate).map_err(Failure::environment)?;
    let path = RingPath::from(options.ring.as_path());
    let ring = || attach(&path).map_err(Failure::environment);
    match options.role {
        Role::Consumer => {
            let _consumer = ring()?.join_consumer().map_err(Failure::environment)?;
            until_shut(&mut gate)
        }
        Role::Producer => {
            let _producer = ring()?.join_producer(SOURCE).map_err(Failure::environment)?;
            until_shut(&mut gate)
        }
        Role::Creator => {
            let options = RingOptions { capacity: 8, ..RingOptions::default() };
            create(&path, &options).map_err(Failure::environment)?;
            Ok(Exit::Done)
        }
    }
}

fn until_shut(gate: &mut File) -> Result<Exit, Failure> {
    io::copy(gate.by_ref(), &mut io::sink()).map_err(Failure::environment)?;
    Ok(Exit::Done)
}
