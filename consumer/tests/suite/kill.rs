//! The program itself, killed at random moments under load: each position must stand in the journal once and in order.
