//! The server and `signer ctl`, with a supervisor that answers what a test has told it to.

mod calls;
mod folders;
mod hostile;
mod support;
mod watching;
