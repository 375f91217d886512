//! The consumer through its public interface: most of it without a ring, and `kill` with one and the program itself.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod compare;
mod fake_ring;
mod hgrm;
mod journal;
mod kill;
mod random;
mod recorder;
mod refusal;
mod report;
mod resume;
mod run;
mod signed;
mod vectors;
mod verify;
