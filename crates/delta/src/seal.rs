//! Checksums of ext4 metadata, which the decoder makes itself: nothing can be guessed about them,
//! and a file that moves by a block changes those of all inodes behind it.
//!
//! The encoder lists only places where the same code gave it the new image's bytes.

use crate::coding::bits::Bits;
use crate::coding::numbers::Numbers;
use crate::container::limit;
use crate::error::DeltaError;

/// A part of an inode table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Inodes {
    /// Where it lies in the new image; a multiple of the size of an inode.
    pub(crate) offset: u64,
    /// Number of the first inode.
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// What to seal in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seals {
    /// Where the file system's checksums begin.
    pub(crate) seed: u32,
    /// Size of an inode as a power of two: 7 to 12.
    pub(crate) inode_log: u8,
    /// Size of a directory's block as a power of two; 0 leaves directories as they are.
    pub(crate) block_log: u8,
    /// What all directories were generated with.
    pub(crate) generation: u32,
    pub(crate) inodes: Vec<Inodes>,
    /// Blocks that look like a directory's and are not sealed, in order.
    pub(crate) except: Vec<u64>,
}

/// Most parts of inode tables, and most exceptions, of one group.
pub(crate) const MOST: usize = 1 << 12;

/// CRC-32C, as the kernel does it: without the inversions at both ends.
pub(crate) fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| {
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        crc >> 8 ^ TABLE.get(index).copied().unwrap_or(0)
    })
}

const TABLE: [u32; 256] = table();

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ (0x82F6_3B78 & (value & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

const GENERATION: usize = 0x64;
const LOW: usize = 0x7C;
const EXTRA: usize = 0x80;
const HIGH: usize = 0x82;

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Where an inode has its checksum: the lower half, and the upper one if there is room for it.
pub(crate) fn inode_places(inode: &[u8]) -> (usize, Option<usize>) {
    let extra = inode.get(EXTRA..EXTRA + 2);
    let extra = extra.map_or(0, |two| {
        two.iter().rev().fold(0, |n, b| n << 8 | u16::from(*b))
    });
    (LOW, (extra >= 4).then_some(HIGH))
}

/// Writes an inode's checksum. An inode that was never used has none.
fn seal_inode(inode: &mut [u8], seed: u32, number: u32) {
    if inode.iter().take(128).all(|byte| *byte == 0) {
        return;
    }
    let (low, high) = inode_places(inode);
    set(inode, low, &[0, 0]);
    if let Some(high) = high {
        set(inode, high, &[0, 0]);
    }
    let generation = inode.get(GENERATION..GENERATION + 4).unwrap_or_default();
    let crc = crc32c(crc32c(seed, &number.to_le_bytes()), generation);
    let [a, b, c, d] = crc32c(crc, inode).to_le_bytes();
    set(inode, low, &[a, b]);
    if let Some(high) = high {
        set(inode, high, &[c, d]);
    }
}

/// The first block of a directory begins with the entry for itself…
const ITSELF: [u8; 8] = [12, 0, 1, 2, b'.', 0, 0, 0];
/// … and ends with room for the checksum.
const TAIL: [u8; 8] = [0, 0, 0, 0, 12, 0, 0, 0xDE];

/// Whether this is the first block of a directory, with room for a checksum.
pub(crate) fn is_directory(block: &[u8]) -> bool {
    let tail = block
        .len()
        .checked_sub(12)
        .and_then(|at| block.get(at..at + 8));
    tail == Some(&TAIL[..]) && block.get(4..12) == Some(&ITSELF[..])
}

fn seal_directory(block: &mut [u8], seed: u32, generation: u32) {
    let number = block.get(..4).unwrap_or_default();
    let at = block.len().saturating_sub(12);
    let crc = crc32c(crc32c(seed, number), &generation.to_le_bytes());
    let crc = crc32c(crc, block.get(..at).unwrap_or_default());
    set(block, at + 8, &crc.to_le_bytes());
}

impl Seals {
    /// Seals what lies in a segment, which begins at `start` of the new image.
    pub(crate) fn apply(&self, segment: &mut [u8], start: u64) {
        let size = 1_usize << self.inode_log.clamp(7, 12);
        let end = start + segment.len() as u64;
        for part in &self.inodes {
            let part_end = part.offset + (u64::from(part.count) << self.inode_log);
            let (from, to) = (part.offset.max(start), part_end.min(end));
            if from >= to {
                continue;
            }
            let skipped = (from - part.offset) >> self.inode_log;
            let number = part.first.wrapping_add(u32::try_from(skipped).unwrap_or(0));
            let (from, to) = (from - start, to - start);
            let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
            let inodes = segment.get_mut(range).unwrap_or_default();
            for (by, inode) in (0_u32..).zip(inodes.chunks_exact_mut(size)) {
                seal_inode(inode, self.seed, number.wrapping_add(by));
            }
        }
        if self.block_log == 0 {
            return;
        }
        let size = 1_usize << self.block_log.clamp(10, 16);
        for (block, at) in segment.chunks_exact_mut(size).zip((start..).step_by(size)) {
            if is_directory(block) && self.except.binary_search(&at).is_err() {
                seal_directory(block, self.seed, self.generation);
            }
        }
    }

    /// Whether there is nothing to seal.
    pub(crate) fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.block_log == 0
    }

    /// The part of it that lies in a group.
    pub(crate) fn within(&self, start: u64, end: u64) -> Self {
        let inode = |at: u64| at >> self.inode_log;
        let inodes = self.inodes.iter().filter_map(|part| {
            let part_end = part.offset + (u64::from(part.count) << self.inode_log);
            let (from, to) = (part.offset.max(start), part_end.min(end));
            (from < to).then(|| Inodes {
                offset: from,
                first: part.first + u32::try_from(inode(from - part.offset)).unwrap_or(0),
                count: u32::try_from(inode(to - from)).unwrap_or(0),
            })
        });
        Self {
            inodes: inodes.collect(),
            except: self
                .except
                .iter()
                .copied()
                .filter(|at| (start..end).contains(at))
                .collect(),
            ..*self
        }
    }

    /// Codes it.
    pub(crate) fn code<B: Bits>(&self, bits: &mut B) -> Result<Self, DeltaError> {
        let mut plain = Numbers::new();
        if plain.code(bits, u64::from(!self.is_empty())) == 0 {
            return Ok(Self::default());
        }
        let number = |value: u64| u32::try_from(value).map_err(|_| DeltaError::Damaged("a seal"));
        let mut small = |value: u32, bits: &mut B| number(plain.code(bits, value.into()));
        let seed = small(self.seed, bits)?;
        let inode_log = small(self.inode_log.into(), bits)?;
        let block_log = small(self.block_log.into(), bits)?;
        let generation = small(self.generation, bits)?;
        let sizes = u8::try_from(inode_log)
            .ok()
            .zip(u8::try_from(block_log).ok());
        let (inode_log, block_log) = sizes
            .filter(|(inode, block)| (7..=12).contains(inode) && matches!(block, 0 | 10..=16))
            .ok_or(DeltaError::Damaged("the size of what is sealed"))?;
        let (mut counts, mut numbers, mut places) =
            (Numbers::new(), Numbers::new(), Numbers::new());
        let mut inodes = Vec::new();
        let count = counts.code(bits, self.inodes.len() as u64);
        limit("parts of inode tables", count, MOST as u64)?;
        // Parts follow each other: no byte is sealed twice, whatever the blob says.
        let mut end = 0_u64;
        for index in 0..usize::try_from(count).unwrap_or(0) {
            let wanted = self.inodes.get(index).copied().unwrap_or_default();
            let distance =
                places.code(bits, (wanted.offset.wrapping_sub(end) & LIMIT) >> inode_log);
            let offset = distance.checked_mul(1 << inode_log);
            let offset = offset.and_then(|by| end.checked_add(by));
            let part = Inodes {
                offset: offset
                    .filter(|at| *at <= crate::limits::MAX_IMAGE)
                    .ok_or(DeltaError::Damaged("an inode table leaves the image"))?,
                first: number(numbers.code(bits, wanted.first.into()))?,
                count: number(counts.code(bits, wanted.count.into()))?,
            };
            end = part.offset + (u64::from(part.count) << inode_log);
            inodes.push(part);
        }
        let mut except = Vec::new();
        let count = counts.code(bits, self.except.len() as u64);
        limit("exceptions", count, MOST as u64)?;
        let mut place = 0_u64;
        for index in 0..usize::try_from(count).unwrap_or(0) {
            let wanted = self.except.get(index).copied().unwrap_or_default();
            place = place.saturating_add(places.code(bits, wanted.wrapping_sub(place) & LIMIT));
            except.push(place);
        }
        Ok(Self {
            seed,
            inode_log,
            block_log,
            generation,
            inodes,
            except,
        })
    }
}

/// Numbers are coded below this.
const LIMIT: u64 = (1 << 60) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::bits::{BitReader, BitWriter};

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn what_was_written_is_read() {
        let seals = Seals {
            seed: 0xFFFF_FFFF,
            inode_log: 8,
            block_log: 12,
            generation: 7,
            inodes: vec![
                Inodes {
                    offset: 4096,
                    first: 1,
                    count: 300,
                },
                Inodes {
                    offset: 1 << 30,
                    first: 8193,
                    count: 1,
                },
            ],
            except: vec![8192, 1 << 33],
        };
        let mut writer = BitWriter::new();
        seals.code(&mut writer).unwrap();
        let mut reader = BitReader::new(writer.finish(), 0);
        assert_eq!(Seals::default().code(&mut reader).unwrap(), seals);
    }
}
