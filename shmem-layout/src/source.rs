//! Sources: who a message comes from, and how far each has got.
//!
//! A source is a name. Its entry holds an id made of the name, the name itself (for people), and `next`, the position
//! after the last one that the consumer has answered for, which the consumer alone writes, before it frees.

use crate::cells::{Cells, Ordering, acquire, acquire_fence};
use crate::failpoint::failpoint;
use crate::layout::{SOURCE_NAME_LEN, SOURCES, slot};
use crate::locks::SOURCE_BYTE;
use crate::membership::JoinError;
use crate::protocol::{Core, RingError};
use crate::state::{Stage, State};

/// A source's entry, as the ring tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its index in the table.
    pub index: u16,
    /// Its name, as far as it is text.
    pub name: String,
    /// The position after the last one that the consumer has answered for.
    pub next: u64,
    /// Whether a live producer writes for it.
    pub is_alive: bool,
}

impl Core {
    /// Takes the source `name` for life, with a new entry if it has none.
    pub fn take_source(&self, name: &str) -> Result<u16, JoinError> {
        let id = source_id(name)
            .ok_or_else(|| JoinError::SourceName { name: name.into(), max: SOURCE_NAME_LEN })?;
        for index in 0..SOURCES {
            let word = self.cells.source_id(index);
            // Two sources may come at once: the swap gives each entry to one id.
            let taken = word.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_err_and(|other| other != id) {
                continue;
            }
            if !self.locks.take(SOURCE_BYTE + index as u64).map_err(RingError::Locks)? {
                return Err(JoinError::SourceTaken { name: name.into() });
            }
            failpoint("join: source locked");
            let mut bytes = [0; SOURCE_NAME_LEN];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            for (word, chunk) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let cell = self.cells.source_name(index, word);
                cell.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
            }
            return Ok(index as u16);
        }
        Err(JoinError::NoSource(SOURCES))
    }

    /// Notes that the record at `position` of `source` is answered for. Relaxed: the free that follows is what shows it.
    pub fn answer_for(&self, source: u16, position: u64) {
        let next = self.cells.source_next(usize::from(source).min(SOURCES - 1));
        next.store(position.saturating_add(1), Ordering::Relaxed);
        failpoint("free: answered for");
    }

    /// The position that a producer of source `index` goes on from: behind all that the ring holds and all that
    /// the consumer has answered for.
    ///
    /// In this order: a record that is freed between the two looks is in `next` by then.
    pub fn resume_position(&self, index: u16) -> u64 {
        let held =
            (0..self.cells.geometry.capacity).filter_map(|slot| self.position_after(slot, index)).max();
        held.unwrap_or(0).max(self.cells.source_next(index.into()).load(Ordering::Relaxed))
    }

    /// The position after the record in `slot`, if that is one of source `index`.
    fn position_after(&self, slot: u64, index: u16) -> Option<u64> {
        loop {
            let state = State(self.cells.state(slot).load(acquire("written: position")));
            let stage = state.stage()?;
            if !matches!(stage, Stage::Written | Stage::Signing | Stage::Signed | Stage::Failed) {
                return None;
            }
            let record = self.cells.slot(slot);
            let (source, position) = (record.get(slot::SOURCE_AND_METHOD) as u16, record.get(slot::POSITION));
            // Words of two laps make no record: who has seen one of the next lap sees that lap.
            acquire_fence("reused: position");
            if State(self.cells.state(slot).load(Ordering::Relaxed)).lap() == state.lap() {
                return (source == index).then(|| position.saturating_add(1));
            }
        }
    }

    /// Every source that the ring knows.
    pub fn sources(&self) -> Result<Vec<Source>, RingError> {
        let mut sources = Vec::new();
        for index in 0..SOURCES {
            if self.cells.source_id(index).load(Ordering::Relaxed) != 0 {
                sources.push(Source {
                    index: index as u16,
                    name: source_name(&self.cells, index),
                    next: self.cells.source_next(index).load(Ordering::Relaxed),
                    is_alive: self.locks.is_held_by_other(SOURCE_BYTE + index as u64)?,
                });
            }
        }
        Ok(sources)
    }
}

/// The name in entry `index`, up to its first zero byte, whatever a peer wrote there.
pub(crate) fn source_name(cells: &Cells, index: usize) -> String {
    let words = (0..SOURCE_NAME_LEN / 8).map(|word| cells.source_name(index, word).load(Ordering::Relaxed));
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The id of a legal name: FNV-1a (Fowler, Noll, Vo; 64 bits), never 0.
fn source_id(name: &str) -> Option<u64> {
    let legal = (1..=SOURCE_NAME_LEN).contains(&name.len()) && !name.chars().any(char::is_control);
    let fnv = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    legal.then_some(fnv.max(1))
}
