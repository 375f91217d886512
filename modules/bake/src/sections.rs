//! A module's bytes, section by section.

use wasmparser::{BinaryReaderError, Parser, Payload, Validator, WasmFeatures};

const EXPORT: u8 = 7;
const DATA: u8 = 11;

/// Zeros within data that a new segment's head would be no shorter than.
const GAP_LEN: usize = 8;

/// The sections of a valid module that says all by itself, but for the custom ones.
pub struct Sections<'a> {
    sections: Vec<(u8, &'a [u8])>,
    exports: u32,
    globals: u32,
}

impl<'a> Sections<'a> {
    /// The sections of `module`.
    pub fn of(module: &'a [u8]) -> Result<Self, String> {
        let words = |error: BinaryReaderError| error.to_string();
        Validator::new_with_features(WasmFeatures::default() | WasmFeatures::WIDE_ARITHMETIC)
            .validate_all(module)
            .map_err(words)?;
        let mut found = Self { sections: Vec::new(), exports: 0, globals: 0 };
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload.map_err(words)?;
            match &payload {
                Payload::ImportSection(_) => return Err("it imports what isn't there".to_owned()),
                Payload::DataCountSection { .. } => return Err("it has passive data".to_owned()),
                Payload::ExportSection(section) => found.exports = section.count(),
                Payload::GlobalSection(section) => found.globals = section.count(),
                _ => {}
            }
            match payload.as_section() {
                Some((id, range)) if id != 0 => {
                    found.sections.push((id, &module[range.start as usize..range.end as usize]));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The module, with each of its globals exported under a name of its own.
    pub fn with_globals_exported(&self) -> Result<Vec<u8>, String> {
        let mut exports = Vec::new();
        write_u32(&mut exports, self.exports + self.globals);
        if let Some((_, body)) = self.sections.iter().find(|(id, _)| *id == EXPORT) {
            exports.extend_from_slice(&body[count_len(body)..]);
        }
        for index in 0..self.globals {
            write_bytes(&mut exports, format!("global {index}").as_bytes())?;
            exports.push(3);
            write_u32(&mut exports, index);
        }
        self.with(EXPORT, &exports)
    }

    /// The module, with what is not zero in `memory` as its data.
    pub fn with_data(&self, memory: &[u8]) -> Result<Vec<u8>, String> {
        let segments = segments(memory);
        let mut data = Vec::new();
        write_u32(&mut data, segments.len() as u32);
        for (start, bytes) in segments {
            // Active, in memory 0, at a constant.
            data.extend_from_slice(&[0, 0x41]);
            write_i32(&mut data, u32::try_from(start).map_err(|_| "its memory is too large")? as i32);
            data.push(0x0b);
            write_bytes(&mut data, bytes)?;
        }
        self.with(DATA, &data)
    }

    /// The module, with `body` in the place of its section `id`, or at that section's place. No section that comes after
    /// these in a module is numbered lower, but for the data count, which is not there.
    fn with(&self, id: u8, body: &[u8]) -> Result<Vec<u8>, String> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let mut others = self.sections.iter().filter(|section| section.0 != id).peekable();
        while let Some((other, bytes)) = others.next_if(|section| section.0 < id) {
            module.push(*other);
            write_bytes(&mut module, bytes)?;
        }
        module.push(id);
        write_bytes(&mut module, body)?;
        for (other, bytes) in others {
            module.push(*other);
            write_bytes(&mut module, bytes)?;
        }
        Ok(module)
    }
}

/// The pieces of `memory`, and where they begin, that together hold all that is not zero.
fn segments(memory: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for (at, _) in memory.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match pieces.last_mut() {
            Some((_, end)) if at - *end < GAP_LEN => *end = at + 1,
            _ => pieces.push((at, at + 1)),
        }
    }
    pieces.into_iter().map(|(start, end)| (start, &memory[start..end])).collect()
}

/// Bytes of the number that `body` begins with.
fn count_len(body: &[u8]) -> usize {
    body.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1
}

fn write_bytes(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    write_u32(to, u32::try_from(bytes.len()).map_err(|_| "it is too large")?);
    to.extend_from_slice(bytes);
    Ok(())
}

/// LEB128, unsigned.
fn write_u32(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// LEB128, signed.
fn write_i32(to: &mut Vec<u8>, mut value: i32) {
    while !(-0x40..0x40).contains(&value) {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_before_long_gaps_and_begin_after_them() {
        let mut memory = [0; 64];
        assert_eq!(segments(&memory), []);
        for at in [0, 1, 1 + GAP_LEN, 3 + 2 * GAP_LEN, 63] {
            memory[at] = 5;
        }
        let places: Vec<_> = segments(&memory).iter().map(|(start, piece)| (*start, piece.len())).collect();
        assert_eq!(places, [(0, 2 + GAP_LEN), (3 + 2 * GAP_LEN, 1), (63, 1)]);
    }

    #[test]
    fn numbers_are_written_as_the_standard_has_them() {
        let unsigned = |value| {
            let mut bytes = Vec::new();
            write_u32(&mut bytes, value);
            bytes
        };
        let signed = |value| {
            let mut bytes = Vec::new();
            write_i32(&mut bytes, value);
            bytes
        };
        assert_eq!(unsigned(624485), [0xe5, 0x8e, 0x26]);
        assert_eq!((unsigned(0), unsigned(127), unsigned(128)), (vec![0], vec![127], vec![0x80, 1]));
        assert_eq!(signed(-123456), [0xc0, 0xbb, 0x78]);
        assert_eq!((signed(63), signed(64), signed(-64)), (vec![63], vec![0xc0, 0], vec![0x40]));
    }
}
