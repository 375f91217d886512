//! The control plane's protocol, and how it is spoken: gRPC over HTTP/2 on a Unix socket.
//!
//! This crate knows no ring, no worker and no key. A [`Server`] receives [`Call`]s on one thread of its own, holds them
//! to bounds, and hands them to whoever serves; a [`Client`] makes them, and blocks. No async leaves this crate, and
//! neither does the code that the compiler makes for HTTP/2, which takes it longer than the rest of the signer.
//!
//! What a client can cost is bounded: connections, calls, their rate, the length of messages, the events that wait for
//! a reader, and the time that each may take. The server's thread yields to all others: it is niced.
//!
//! ```
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use control_protocol::Client;
//!
//! let refused = Client::connect(Path::new("no/control.sock"), "no", Duration::from_secs(1)).err();
//! assert_eq!(refused.map(|failure| failure.exit), Some(cli::Exit::Environment));
//! ```

mod calls;
mod client;
mod connections;
mod events;
mod pace;
pub mod protocol;
mod server;
mod service;

pub use calls::{Call, Refusal, Reply};
pub use client::{Client, Events};
pub use server::{Bounds, Handler, Responder, Server};
pub use tonic::Code;
