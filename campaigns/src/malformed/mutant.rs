//! Damaged modules.

use crate::support::rng::Rng;

/// A number in more bytes than any may have, or than it needs.
const LONG_NUMBERS: [&[u8]; 5] = [
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x00],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
];

/// One of `modules`, damaged in one to three ways; some of them only so little that it is still a module.
pub fn draw(modules: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = one_of(modules, rng).to_vec();
    for _ in 0..rng.choose(&[1, 1, 1, 1, 2, 3]) {
        match rng.within(0..100) {
            0..30 => flip_bits(&mut bytes, rng),
            30..65 => change_constant(&mut bytes, rng),
            65..70 => bytes.truncate(at(&bytes, rng)),
            70..75 => drop(cut(&mut bytes, rng)),
            75..80 => {
                let piece = cut(&mut bytes.clone(), rng);
                let place = at(&bytes, rng);
                bytes.splice(place..place, piece);
            }
            80..90 => lengthen_number(&mut bytes, rng),
            _ => splice_section(&mut bytes, one_of(modules, rng), rng),
        }
    }
    bytes
}

fn one_of<'a>(modules: &'a [Vec<u8>], rng: &mut Rng) -> &'a [u8] {
    &modules[rng.within(0..modules.len() as u64) as usize]
}

/// A place in `bytes`, or behind them. The head, which says what it is, is mostly spared.
fn at(bytes: &[u8], rng: &mut Rng) -> usize {
    let len = bytes.len() as u64;
    (if rng.percent(2) { rng.within(0..len + 1) } else { rng.within(8.min(len)..len + 1) }) as usize
}

fn flip_bits(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..rng.choose(&[1, 1, 1, 3]) {
        let place = at(bytes, rng);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << rng.within(0..8);
        }
    }
}

/// Another one-byte operand behind an opcode of memory, constants, locals or branches: what a validator may well let pass.
fn change_constant(bytes: &mut [u8], rng: &mut Rng) {
    let start = at(bytes, rng);
    let is_opcode = |byte: &u8| matches!(byte, 0x0c..=0x0e | 0x20..=0x24 | 0x28..=0x3e | 0x41 | 0x42);
    let opcode = bytes.iter().skip(start).position(is_opcode);
    if let Some(operand) = opcode.and_then(|opcode| bytes.get_mut(start + opcode + 1)) {
        *operand = rng.within(0..128) as u8;
    }
}

fn cut(bytes: &mut Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let start = at(bytes, rng);
    let end = (start + rng.within(1..64) as usize).min(bytes.len());
    bytes.drain(start..end).collect()
}

fn lengthen_number(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let place = at(bytes, rng);
    let end = (place + 1).min(bytes.len());
    bytes.splice(place..end, rng.choose(&LONG_NUMBERS).iter().copied());
}

/// A section of another module, in the place of one, or between two.
fn splice_section(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let (own, others) = (sections(bytes), sections(other));
    if own.is_empty() || others.is_empty() {
        return;
    }
    let (mut range, piece) = (rng.choose(&own), rng.choose(&others));
    if rng.percent(50) {
        range.1 = range.0;
    }
    bytes.splice(range.0..range.1, other[piece.0..piece.1].iter().copied());
}

/// Where the sections begin and end, as far as they can be told.
fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut sections, mut start) = (Vec::new(), 8);
    while start < bytes.len() {
        let (mut len, mut shift, mut place) = (0_u64, 0, start + 1);
        while let Some(byte) = bytes.get(place).filter(|_| shift < 35) {
            len |= u64::from(byte & 0x7f) << shift;
            (shift, place) = (shift + 7, place + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let end = (place as u64 + len).min(bytes.len() as u64) as usize;
        sections.push((start, end));
        start = end;
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_and_mutants_repeat_with_their_seed() {
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0".to_vec();
        assert_eq!(sections(&module), [(8, 14), (14, 18)]);
        let modules = [module];
        let draw_all = || {
            let mut rng = Rng::new(1);
            (0..2000).map(|_| draw(&modules, &mut rng.fork())).collect::<Vec<_>>()
        };
        assert_eq!(draw_all(), draw_all());
        // In so small a module there is often nothing of the kind that would be damaged.
        assert!(draw_all().iter().filter(|mutant| **mutant == modules[0]).count() < 1000);
    }

    #[test]
    fn nothing_is_too_short_to_be_damaged() {
        let mut rng = Rng::new(2);
        for len in 0..12 {
            for _ in 0..500 {
                draw(&[vec![0x20; len]], &mut rng);
            }
        }
    }
}
