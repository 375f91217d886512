//! What Ringseal costs: see `benches/`, each of which says what it measures and how it is run.
