//! The supervisor's end of the control plane: calls come out of it as [`Request`]s.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use cli::Failure;
use control_protocol::{Bounds, Call, Code, Handler, Refusal, Responder};
use extension_engine::Limits;

use super::api::{Event, Request};
use super::convert;
use super::directory::Directory;
use crate::inbox::{Inbox, Outbox, inbox};

/// How long a client may do nothing.
pub(super) const IDLE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// A control plane that is served. Dropped, it ends: calls that wait are told so, answers under way and events that were
/// published are sent, for which clients have a second or two, and the socket is removed.
pub(crate) struct Server {
    /// Dropped first: calls that wait lose their responder with it. Only then: the server waits for its clients.
    requests: Inbox<Request>,
    server: control_protocol::Server,
}

impl Server {
    /// Begins to serve in `directory`, which stays claimed for as long as the server lives. Calls are held to `limits`
    /// (see [`Server::set_limits`]).
    ///
    /// # Errors
    /// The socket, the thread or what they need can't be had.
    pub fn start(directory: &Directory, limits: &Limits) -> Result<Self, Failure> {
        let said = |error: std::io::Error| {
            Failure::environment(format_args!("can't serve the control plane: {error}"))
        };
        let (requests, sender) = inbox().map_err(said)?;
        let handler = handler(sender);
        let held = directory.try_clone().map_err(said)?;
        // Dropped with the thread: until then nobody else has the folder.
        let on_end = move || held.remove_socket();
        let server = control_protocol::Server::start(directory.listen()?, bounds(limits), handler, on_end);
        Ok(Self { requests, server: server.map_err(said)? })
    }

    /// The next call that waits, if any. Once there is none, [`AsFd::as_fd`] is readable when there is one again.
    pub fn next_request(&self) -> Option<Request> {
        self.requests.next()
    }

    /// The limits have changed.
    pub fn set_limits(&self, limits: &Limits) {
        self.server.set_bounds(bounds(limits));
    }

    /// Tells it to whoever watches. Never blocks.
    pub fn publish(&self, event: Event) {
        self.server.publish(event.into());
    }
}

impl AsFd for Server {
    /// Readable when a call waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds { module_len: limits.module_len, compile: limits.compile, idle: IDLE }
}

/// Puts calls into the queue; what is wrong with a call at first sight does not get there.
fn handler(requests: Outbox<Request>) -> Handler {
    Box::new(move |call: Call, respond: Responder| match convert::command(call) {
        Ok(command) => {
            let reply = Box::new(move |answer| respond(convert::reply(answer)));
            // If nobody takes it any more, it is dropped, which says so to the client.
            requests.put(Request { command, reply });
        }
        Err(message) => respond(Err(Refusal::new(Code::InvalidArgument, message))),
    })
}
