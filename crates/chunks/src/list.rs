//! The lists: which chunks a group has.

use core::ops::Range;

use crate::cut::Cutting;
use crate::error::ChunkError;
use crate::index::{Group, Index};
use crate::key::{KEY_LEN, Key};
use crate::{MAX_CHUNK, MAX_GROUP};

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// What it has.
    pub key: Key,
    /// Its length in the image, in bytes.
    pub plain: u32,
    /// Its length in the pack, in bytes; 0 for a chunk of zeros.
    pub packed: u32,
}

/// Bytes of one chunk in a list: key, packed length, and where chunks differ in length that too.
pub(crate) const fn record_len(cutting: Cutting) -> usize {
    match cutting {
        Cutting::Blocks { .. } => KEY_LEN + 2,
        Cutting::Content { .. } => KEY_LEN + 4,
    }
}

pub(crate) fn write(out: &mut Vec<u8>, cutting: Cutting, chunk: Chunk) {
    // Both are at most a little more than MAX_CHUNK, the plain one less one.
    let two = |number: u32| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
    out.extend_from_slice(&chunk.key.to_bytes());
    out.extend_from_slice(&two(chunk.packed));
    if let Cutting::Content { .. } = cutting {
        out.extend_from_slice(&two(chunk.plain));
    }
}

/// Which bytes of the data the list of group `number` has.
#[must_use]
pub fn list_range(index: &Index, number: usize) -> Option<Range<u64>> {
    let group = index.groups().get(number)?;
    // At most 2^22 chunks of 9 bytes.
    let record = record_len(index.cutting()) as u64;
    let start = group.first_chunk * record;
    Some(start..start + u64::from(group.chunks) * record)
}

/// Reads the list of `group`, which ends at byte `end` of the image, and holds it against the index.
///
/// # Errors
/// It is not the list that the index speaks of.
pub fn read_list(
    index: &Index,
    group: &Group,
    bytes: &[u8],
    out: &mut Vec<Chunk>,
) -> Result<(), ChunkError> {
    let cutting = index.cutting();
    let before = out.len();
    let mut place = group.place;
    let end = group.place + u64::from(group.plain);
    let mut packed = 0_u64;
    for record in bytes.chunks_exact(record_len(cutting)).take(MAX_GROUP) {
        let (key, rest) = record
            .split_first_chunk()
            .ok_or(ChunkError::Damaged("a list ends early"))?;
        let mut numbers = rest
            .as_chunks::<2>()
            .0
            .iter()
            .copied()
            .map(u16::from_le_bytes);
        let mut next = || u32::from(numbers.next().unwrap_or(0));
        let chunk_packed = next();
        let plain = match cutting {
            Cutting::Content { .. } => next(),
            Cutting::Blocks { log } => u32::try_from((end - place).min(1 << log)).unwrap_or(0),
        };
        place += u64::from(plain);
        packed += u64::from(chunk_packed);
        if plain == 0 || plain as usize > MAX_CHUNK || place > end {
            return Err(ChunkError::Damaged("a chunk has a length that cannot be"));
        }
        out.push(Chunk {
            key: Key::from_bytes(*key),
            plain,
            packed: chunk_packed,
        });
    }
    let found = out.get(before..).unwrap_or_default();
    if found.len() != usize::from(group.chunks)
        || place != end
        || packed != u64::from(group.packed)
        || crate::held::group_key(found.iter().map(|chunk| (chunk.key, chunk.plain))) != group.key
    {
        return Err(ChunkError::Damaged("a list is not that of its group"));
    }
    Ok(())
}
