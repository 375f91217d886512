//! The control plane: what an operator asks of a running signer, and what it tells.
//!
//! The server runs on threads of its own and knows no ring, no worker and no key: it turns calls into [`Request`]s for
//! the supervisor's one thread, and passes on what that answers.

pub(crate) mod api;
