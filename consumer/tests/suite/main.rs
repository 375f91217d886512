//! The consumer's ring-independent half, through its public interface.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod compare;
mod hgrm;
mod journal;
mod recorder;
mod signed;
mod vectors;
mod verify;
