//! A private copy of a file, which is what was read and stays so.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use rustix::fs::{MemfdFlags, SealFlags};

/// Bytes that are copied at once: a power of two, which BLAKE3 takes in whole.
const CHUNK_LEN: usize = 64 * 1024;

/// Copies what is left of `from`, if that is `len` bytes, to a file in memory without a name, and shows each piece of it to
/// `look` on the way, once. The copy is sealed: nobody can write it, not even this process.
///
/// A runtime maps such a file, where bytes would have to be copied once more: and new pages are what costs most.
pub(super) fn copy(mut from: &File, len: u64, mut look: impl FnMut(&[u8])) -> io::Result<Option<File>> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut to = File::from(rustix::fs::memfd_create("ringseal-module", flags)?);
    let mut chunk = [0; CHUNK_LEN];
    let mut copied = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                copied += read as u64;
                if copied > len {
                    return Ok(None);
                }
                look(&chunk[..read]);
                to.write_all(&chunk[..read])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // Against writes to come: as good as against all, for nobody has mapped it to write. Sealing against those too is refused if
    // anything else holds one of its pages for a tenth of a second: seen, once in some 300,000 copies (`EBUSY`).
    let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&to, seals)?;
    Ok((copied == len).then_some(to))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_copy_is_what_was_seen_and_stays_so() {
        let mut original = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3 * CHUNK_LEN + 5).map(|i| (i / 7) as u8).collect();
        original.write_all(&bytes).unwrap();
        original.seek(SeekFrom::Start(3)).unwrap();
        let (mut seen, mut held) = (Vec::new(), Vec::new());
        let copy = copy(&original, bytes.len() as u64 - 3, |piece| seen.extend_from_slice(piece));
        let mut copy = copy.unwrap().unwrap();
        copy.seek(SeekFrom::Start(0)).unwrap();
        copy.read_to_end(&mut held).unwrap();
        assert_eq!(seen, bytes[3..]);
        assert_eq!(held, bytes[3..]);
        copy.write_at(b"x", 0).unwrap_err();
        copy.set_len(3).unwrap_err();
        copy.set_len(1 << 20).unwrap_err();
    }

    #[test]
    fn a_file_of_another_length_is_not_copied() {
        let mut original = tempfile::tempfile().unwrap();
        original.write_all(b"0123456789").unwrap();
        for len in [0, 9, 11] {
            original.seek(SeekFrom::Start(0)).unwrap();
            assert!(copy(&original, len, |_| ()).unwrap().is_none(), "{len}");
        }
    }
}
