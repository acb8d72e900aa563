//! Compressed blocks of both images, and the unpacked images that a delta of them is about.
//!
//! In an *unpacked image* each listed block has the place of its plain bytes; everything else is
//! as in the real one. The two lists say what there is; what is not listed stays as it is. A part
//! that only moved is one entry however many blocks it has, so the lists of a small change are
//! small, and a device reads no file system.

mod old;
mod wire;

use core::ops::Range;

use crate::codec::{AHEAD, Codec, Family, Tail};

pub(crate) use old::{OldBlocks, Shelf, Unpacked, read_pieces};

/// What a device does with a block of the old image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Use {
    /// Unpacks it when one of its bytes is needed.
    #[default]
    Unpacked,
    /// Never looks into it.
    Opaque,
}

/// How a block of the new image comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From its plain bytes, by one of the new image's codecs.
    Packed(Way),
    /// As it lies in the old image, from this place on.
    Copied(u64),
}

/// How a block is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Way {
    /// The number of the codec among the new image's.
    pub(crate) codec: u8,
    /// What the codec sees behind the block.
    pub(crate) tail: Tail,
}

impl Default for Origin {
    fn default() -> Self {
        Self::Copied(0)
    }
}

/// One block, or several that need not be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Block<K> {
    /// Where it begins in its image.
    pub(crate) real: u64,
    /// Its length there, never 0.
    pub(crate) packed: u64,
    /// Where it begins in the unpacked image.
    pub(crate) place: u64,
    /// Its length there, never 0.
    pub(crate) plain: u64,
    pub(crate) kind: K,
}

impl<K> Block<K> {
    pub(crate) fn real_end(&self) -> u64 {
        self.real + self.packed
    }

    pub(crate) fn place_end(&self) -> u64 {
        self.place + self.plain
    }
}

/// The blocks of one image, in order; they do not overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocks<K> {
    pub(crate) list: Vec<Block<K>>,
    /// Length of the image.
    pub(crate) real_len: u64,
    /// Length of the unpacked image.
    pub(crate) len: u64,
}

impl<K> Blocks<K> {
    /// No blocks: the unpacked image is the image.
    pub(crate) fn none(real_len: u64) -> Self {
        Self {
            list: Vec::new(),
            real_len,
            len: real_len,
        }
    }

    /// The number of the first block that ends behind the place of the image.
    pub(crate) fn at_real(&self, real: u64) -> usize {
        self.list.partition_point(|block| block.real_end() <= real)
    }

    /// The number of the first block that ends behind the place of the unpacked image.
    pub(crate) fn at_place(&self, place: u64) -> usize {
        self.list
            .partition_point(|block| block.place_end() <= place)
    }

    /// Where bytes that are in no block lie in the unpacked image, if `next` is the next block.
    fn beside(&self, next: usize, real: u64) -> u64 {
        let before = next.checked_sub(1).and_then(|index| self.list.get(index));
        before.map_or(real, |block| {
            block.place_end() + real.saturating_sub(block.real_end())
        })
    }

    /// Where the byte at `real` lies in the unpacked image; for one inside of a block, where its
    /// block begins.
    pub(crate) fn start_of(&self, real: u64) -> u64 {
        let next = self.at_real(real);
        match self.list.get(next) {
            Some(block) if block.real <= real => block.place,
            _ => self.beside(next, real),
        }
    }

    /// Where everything before `real` ends in the unpacked image; inside of a block, where its
    /// block ends.
    pub(crate) fn end_of(&self, real: u64) -> u64 {
        let next = self.at_real(real);
        match self.list.get(next) {
            Some(block) if block.real < real => block.place_end(),
            _ => self.beside(next, real),
        }
    }
}

/// Blocks of the new image.
pub(crate) type NewBlocks = Blocks<Origin>;

impl NewBlocks {
    /// The part of the unpacked image that makes a part of the image: whole blocks, and what codecs
    /// see behind them.
    pub(crate) fn around(&self, real: &Range<u64>) -> Range<u64> {
        let start = self.start_of(real.start);
        if real.is_empty() {
            return start..start;
        }
        let whole = self.end_of(real.end);
        let behind = self.list.partition_point(|block| block.real < real.end);
        let last = self.list.get(..behind).unwrap_or_default();
        let mut end = whole;
        for block in last.iter().rev() {
            if block.place_end().saturating_add(AHEAD as u64) <= whole {
                break;
            }
            if let Origin::Packed(way) = block.kind {
                end = end.max(block.place_end() + way.tail.ahead() as u64);
            }
        }
        start..end.min(self.len).max(whole)
    }

    /// Whether the place of the image is inside of a block that is packed.
    pub(crate) fn cuts_packed(&self, real: u64) -> bool {
        let block = self.list.get(self.at_real(real));
        block.is_some_and(|block| matches!(block.kind, Origin::Packed(_)) && block.real < real)
    }
}

/// Both lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lists {
    /// What the old image's blocks are compressed by.
    pub(crate) family: Family,
    pub(crate) old: OldBlocks,
    /// What makes the new image's blocks: of one family, never empty.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) new: NewBlocks,
}

impl Lists {
    /// Of images without compressed blocks.
    pub(crate) fn none(old_len: u64, new_len: u64) -> Self {
        Self {
            family: Family::None,
            old: Blocks::none(old_len),
            codecs: vec![Codec::None],
            new: Blocks::none(new_len),
        }
    }

    /// The codec with this number.
    pub(crate) fn codec(&self, number: u8) -> Codec {
        let codec = self.codecs.get(usize::from(number)).copied();
        codec.unwrap_or(Codec::None)
    }

    /// What the new image's blocks are compressed by.
    pub(crate) fn new_family(&self) -> Family {
        self.codec(0).family()
    }
}
