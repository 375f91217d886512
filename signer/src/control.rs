//! The control plane: what an operator asks of a running signer, and what it tells.
//!
//! The server runs on one thread of its own and knows no ring, no worker and no key: it turns calls into [`Request`]s
//! for the supervisor's one thread, and passes on what that answers.
//!
//! ```text
//! client ──gRPC, control.sock──► server's thread ──Request, eventfd──► supervisor's thread
//!                                        ◄──────reply, publish(Event)──────┘
//! ```
//!
//! What a client can cost is bounded: connections, calls, their rate, the length of messages, the events that wait for
//! a reader, and the time that each may take. The thread yields to all others (it is niced), and shares nothing with
//! the workers, which are other processes.
//!
//! [`Request`]: api::Request

pub(crate) mod api;
mod connections;
mod convert;
mod directory;
mod events;
mod pace;
pub(crate) mod protocol;
mod server;
mod service;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;

pub(crate) use directory::{Directory, socket_path};
pub(crate) use server::Server;

/// The control plane's part of the signer's command line.
#[derive(Args)]
pub(crate) struct ControlArguments {
    /// Serve `signer ctl` in this folder of mode 0700, which is made if it is missing, and remember there what is swapped
    #[arg(long, value_name = "DIR")]
    pub control: Option<PathBuf>,
}
