//! What is done to a ring's file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, ftruncate};

use crate::support::rng::Rng;

const PAGE: u64 = 4096;

/// Harm that a peer with write access, or a file system without room, can do to a ring.
#[derive(Clone, Debug)]
pub enum Damage {
    /// Cut to this length.
    Cut(u64),
    /// Cut to this length, and grown again: zeros where the rest was.
    CutAndGrown(u64),
    /// Holes of these pages.
    Punched(Vec<(u64, u64)>),
    /// The same on a file system that is full from then on, so that nobody can fill a hole again.
    PunchedAndFull(Vec<(u64, u64)>, PathBuf),
}

impl Damage {
    /// Draws damage to a ring of `len` bytes.
    pub fn draw(len: u64, rng: &mut Rng) -> Self {
        match rng.within(0..6) {
            0 => Self::Cut(0),
            1 => Self::Cut(PAGE),
            2 => Self::Cut(rng.within(0..len)),
            3 => Self::CutAndGrown(rng.within(0..len)),
            4 => Self::Punched(vec![(0, len)]),
            _ => Self::Punched(Self::draw_holes(len, rng)),
        }
    }

    /// Draws damage to a ring of `len` bytes on a file system with room for no more than that and the file `filler`.
    pub fn draw_full(len: u64, filler: PathBuf, rng: &mut Rng) -> Self {
        let holes = if rng.percent(50) { vec![(0, len)] } else { Self::draw_holes(len, rng) };
        Self::PunchedAndFull(holes, filler)
    }

    fn draw_holes(len: u64, rng: &mut Rng) -> Vec<(u64, u64)> {
        let pages = len.div_ceil(PAGE);
        let hole = |rng: &mut Rng| {
            let first = rng.within(0..pages);
            (first * PAGE, rng.within(1..(pages - first).min(16) + 1) * PAGE)
        };
        (0..rng.within(1..4)).map(|_| hole(rng)).collect()
    }

    /// Whether bytes are gone, and not only what they held.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::CutAndGrown(_))
    }

    /// Whether nothing of the ring's first slots is left, so that nobody can go on.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Cut(len) if *len <= PAGE)
    }

    /// Does it.
    ///
    /// # Errors
    /// The file system doesn't let us.
    pub fn inflict(&self, ring: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(ring)?;
        let punch = |holes: &[(u64, u64)]| {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            holes.iter().try_for_each(|(offset, len)| fallocate(&file, how, *offset, *len))
        };
        match self {
            Self::Cut(len) => ftruncate(&file, *len)?,
            Self::CutAndGrown(len) => {
                let whole = file.metadata()?.len();
                ftruncate(&file, *len)?;
                ftruncate(&file, whole)?;
            }
            Self::Punched(holes) => punch(holes)?,
            Self::PunchedAndFull(holes, filler) => {
                punch(holes)?;
                fill(filler)?;
            }
        }
        Ok(())
    }
}

/// Writes to `filler` until its file system is full.
pub fn fill(filler: &Path) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(filler)?;
    loop {
        match file.write_all(&[0xA5; PAGE as usize]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What stands in `folder`, by name.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
