//! The control plane: what an operator asks of a running signer, and what it tells.
//!
//! The server runs on threads of its own and knows no ring, no worker and no key: it turns calls into [`Request`]s for
//! the supervisor's one thread, and passes on what that answers.

pub(crate) mod api;

use std::os::unix::net::UnixStream;
use std::path::Path;

use cli::Failure;

/// The server, as the supervisor has it.
pub(crate) struct Control;

impl Control {
    pub fn start(_directory: &Path) -> Result<Self, Failure> {
        Err(Failure::environment("there is no control plane yet"))
    }

    /// Readable when there is a request.
    pub fn woken(&self) -> &UnixStream {
        unreachable!()
    }

    /// The next request, if there is one.
    pub fn request(&mut self) -> Option<api::Request> {
        None
    }

    /// Tells whoever watches.
    pub fn publish(&self, _event: api::Event) {}
}
