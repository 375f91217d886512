//! What is served, held against what is documented; and what is an address.
