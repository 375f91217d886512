//! The control plane: what an operator asks of a running signer, and what it tells.
//!
//! The server runs on one thread of its own (see [`control_protocol`]) and knows no ring, no worker and no key: it turns
//! calls into [`Request`]s for the supervisor's one thread, and passes on what that answers. It shares nothing with the
//! workers, which are other processes.
//!
//! ```text
//! client ──gRPC, control.sock──► server's thread ──Request, eventfd──► supervisor's thread
//!                                        ◄──────reply, publish(Event)──────┘
//! ```
//!
//! [`Request`]: api::Request

pub(crate) mod api;
mod convert;
mod directory;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;

pub(crate) use directory::{Directory, socket_path};
pub(crate) use server::Server;

/// The control plane's part of the signer's command line.
#[derive(Args)]
pub(crate) struct ControlArguments {
    /// Serve `signer ctl` in this folder
    ///
    /// It has mode 0700, and is made if it is missing. What is swapped is remembered there, and serves again after a restart
    #[arg(long, value_name = "DIR", help_heading = "Operation")]
    pub control: Option<PathBuf>,
}
