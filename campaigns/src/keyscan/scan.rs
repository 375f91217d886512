//! Looking for needles in files and in memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::forms::Form;

/// Bytes read at a time.
const CHUNK_LEN: usize = 1 << 20;

/// Needles, by their first two bytes.
pub struct Scanner {
    forms: Vec<Form>,
    by_start: Vec<Vec<u16>>,
    len_max: usize,
}

impl Scanner {
    /// One for these forms, of two bytes at least each.
    pub fn new(forms: Vec<Form>) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (number, form) in (0..).zip(&forms) {
            by_start[start_of(&form.bytes)].push(number);
        }
        let len_max = forms.iter().map(|form| form.bytes.len()).max().unwrap_or(2);
        Self { forms, by_start, len_max }
    }

    /// Calls `found` with the form's number and its place for each one that begins in the first `len` bytes of `bytes`.
    fn scan(&self, bytes: &[u8], len: usize, mut found: impl FnMut(usize, usize)) {
        for place in 0..len.min(bytes.len().saturating_sub(1)) {
            for number in &self.by_start[start_of(&bytes[place..])] {
                if bytes[place..].starts_with(&self.forms[usize::from(*number)].bytes) {
                    found(usize::from(*number), place);
                }
            }
        }
    }

    /// The names of the forms in `bytes`, each once: as they are, and with line breaks taken out.
    pub fn names_in(&self, bytes: &[u8]) -> Vec<&str> {
        let mut names = Vec::new();
        let unfolded: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        for bytes in [bytes, &unfolded] {
            self.scan(bytes, bytes.len(), |number, _| {
                let name = self.forms[number].name.as_str();
                if !names.contains(&name) {
                    names.push(name);
                }
            });
        }
        names
    }

    /// The same of a file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn names_in_file(&self, path: &Path) -> io::Result<Vec<&str>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(self.names_in(&bytes))
    }

    /// What is found in the memory of process `pid`: the form's name and the mapping that it lies in.
    ///
    /// # Errors
    /// The process is gone, or not ours to look at.
    pub fn places_in_memory(&self, pid: u32) -> io::Result<Vec<(&str, String)>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let mut places = Vec::new();
        // What is read of the memory must not lie in ours any longer than needed.
        let mut chunk = Zeroizing::new(vec![0; CHUNK_LEN + self.len_max]);
        for line in maps.lines() {
            let Some((start, end, name)) = readable(line) else { continue };
            let mut at = start;
            while at < end {
                let wanted = ((end - at) as usize).min(chunk.len());
                // A page may be gone, or never have been there: then the next.
                let Ok(len) = memory.read_at(&mut chunk[..wanted], at) else {
                    at += 4096;
                    continue;
                };
                self.scan(&chunk[..len], CHUNK_LEN.min(len), |number, place| {
                    places.push((
                        self.forms[number].name.as_str(),
                        format!("{name} at {:#x}", at + place as u64),
                    ));
                });
                at += CHUNK_LEN.min(len).max(1) as u64;
            }
        }
        Ok(places)
    }
}

fn start_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// Start, end and name of a mapping that can be read.
fn readable(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    let name = words.nth(3).unwrap_or("nameless");
    let (start, end) = range.split_once('-')?;
    let is_devices = name.starts_with("[v");
    (permissions.starts_with('r') && !is_devices).then_some(())?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner() -> Scanner {
        let form = |name: &str| Form { name: name.into(), bytes: name.as_bytes().to_vec().into() };
        Scanner::new(["needle", "needless", "pin"].map(form).into())
    }

    #[test]
    fn all_needles_are_found_also_across_lines_and_at_either_end() {
        assert_eq!(scanner().names_in(b"pin in the hay"), ["pin"]);
        assert_eq!(scanner().names_in(b"hay, needless hay, need\nle"), ["needle", "needless"]);
        assert_eq!(scanner().names_in(b"needl, pi, n"), [""; 0]);
        assert_eq!(scanner().names_in(b""), [""; 0]);
    }

    #[test]
    fn what_lies_in_memory_is_found_wherever_chunks_end() {
        let scanner =
            Scanner::new(vec![Form { name: "it".into(), bytes: vec![0xC3, 1, 2, 0xA5, 9, 9, 1].into() }]);
        let mut memory = vec![0_u8; 3 * CHUNK_LEN];
        let places = [5, CHUNK_LEN - 3, 2 * CHUNK_LEN + 17];
        for place in places {
            memory[place..place + 7].copy_from_slice(&scanner.forms[0].bytes);
        }
        let here = |place: &usize| format!(" at {:#x}", memory.as_ptr() as usize + place);
        let found = scanner.places_in_memory(std::process::id()).unwrap();
        for place in &places {
            assert!(found.iter().any(|(_, found)| found.ends_with(&here(place))), "{place}: {found:?}");
        }
    }
}
