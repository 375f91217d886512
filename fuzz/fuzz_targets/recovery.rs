//! Recovery over arbitrary slot states, members and hints: no panic, no endless loop, and a slot moves along legal edges only,
//! and only by who may move it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringseal_fuzz::harness::{Input, Place, World};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let Some(place) = input.byte().map(Place::any) else { return };
    let mut world = World::new(place, false);
    while world.step(&mut input).is_some() {}
});
