//! The old image unpacked, as far as somebody asks for it.

use crate::codec::{Codecs, Family};
use crate::error::SourceError;
use crate::limits::{MAX_KEPT, MAX_READ};
use crate::source::Source;

use super::{Block, Blocks, Use};

/// Blocks of the old image.
pub(crate) type OldBlocks = Blocks<Use>;

/// Blocks that were unpacked, the one used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: Vec<(usize, Vec<u8>)>,
    packed: Vec<u8>,
}

/// The unpacked old image.
pub(crate) struct Unpacked<'a> {
    pub(crate) source: &'a mut dyn Source,
    pub(crate) blocks: &'a OldBlocks,
    pub(crate) family: Family,
    pub(crate) codecs: &'a mut Codecs,
    pub(crate) shelf: &'a mut Shelf,
}

/// Reads in pieces that a source takes.
pub(crate) fn read_pieces(
    source: &mut dyn Source,
    mut offset: u64,
    out: &mut [u8],
) -> Result<(), SourceError> {
    for piece in out.chunks_mut(MAX_READ) {
        source.read_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

impl Shelf {
    /// Makes room for a block of `len` bytes: as many as fit are kept.
    fn room(&mut self, len: usize) -> Vec<u8> {
        let mut spare = Vec::new();
        let mut sum: usize = self.kept.iter().map(|(_, bytes)| bytes.len()).sum();
        while !self.kept.is_empty() && sum + len > MAX_KEPT {
            spare = self.kept.remove(0).1;
            sum -= spare.len();
        }
        spare
    }
}

impl Unpacked<'_> {
    fn unpack(&mut self, number: usize, block: &Block<Use>) -> Result<&[u8], SourceError> {
        let place = self
            .shelf
            .kept
            .iter()
            .position(|(known, _)| *known == number);
        let entry = if let Some(place) = place {
            self.shelf.kept.remove(place)
        } else {
            let wrong = |what| SourceError::Packed {
                offset: block.real,
                what,
            };
            if block.kind == Use::Opaque {
                return Err(wrong("the delta does not say what is in it"));
            }
            // Both lengths were held against their limits when the list was read.
            let len = usize::try_from(block.plain).unwrap_or(0);
            let packed = usize::try_from(block.packed).unwrap_or(0);
            self.shelf.packed.resize(packed, 0);
            read_pieces(self.source, block.real, &mut self.shelf.packed)?;
            let mut bytes = self.shelf.room(len);
            if bytes.capacity() > 2 * len {
                bytes = Vec::new();
            }
            self.codecs
                .unpack(self.family, &self.shelf.packed, len, &mut bytes)
                .map_err(wrong)?;
            if bytes.len() != len {
                return Err(wrong("it has another length"));
            }
            (number, bytes)
        };
        self.shelf.kept.push(entry);
        let bytes = self.shelf.kept.last().map(|(_, bytes)| bytes.as_slice());
        Ok(bytes.unwrap_or_default())
    }
}

impl Source for Unpacked<'_> {
    fn read_at(&mut self, offset: u64, mut buffer: &mut [u8]) -> Result<(), SourceError> {
        let mut place = offset;
        let mut number = self.blocks.at_place(place);
        while !buffer.is_empty() {
            let next = self.blocks.list.get(number).copied();
            let inside = next.filter(|block| block.place <= place);
            let end = match (inside, next) {
                (Some(block), _) => block.place_end(),
                (None, Some(block)) => block.place,
                (None, None) => self.blocks.len,
            };
            let count = usize::try_from(end.saturating_sub(place)).unwrap_or(usize::MAX);
            let count = count.min(buffer.len());
            let Some((now, later)) = buffer.split_at_mut_checked(count).filter(|_| count > 0)
            else {
                return Err(SourceError::TooShort {
                    len: self.blocks.real_len,
                });
            };
            if let Some(block) = inside {
                let bytes = self.unpack(number, &block)?;
                let from = usize::try_from(place - block.place).unwrap_or(usize::MAX);
                let bytes = bytes.get(from..).and_then(|rest| rest.get(..count));
                now.copy_from_slice(bytes.unwrap_or_default());
                number += 1;
            } else {
                self.source
                    .read_at(self.blocks.real_beside(number, place), now)?;
            }
            place += count as u64;
            buffer = later;
        }
        Ok(())
    }
}

impl Blocks<Use> {
    /// Where a byte that is in no block lies in the image, if `next` is the next block.
    fn real_beside(&self, next: usize, place: u64) -> u64 {
        let before = next.checked_sub(1).and_then(|index| self.list.get(index));
        before.map_or(place, |block| {
            block.real_end() + place.saturating_sub(block.place_end())
        })
    }
}
