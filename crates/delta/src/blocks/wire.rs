//! The lists as they lie in the blob.
//!
//! ```text
//! lists         old family, 0, new family, its codecs; old blocks; new blocks
//! codecs        of zstd: the level; of others, and of zstd in erofs, both numbers of the first one, how many more there
//!               are, both numbers of each
//! old block     bytes since the one before, whether it is opaque, packed length, plain length
//! new block     bytes since the one before, whether it is copied, packed length, plain length,
//!               for a copied one how far from where the one before ends in the old image, for
//!               a packed one the number of its codec, if there are several, and what the codec
//!               sees behind it, if it fills its output
//! ```

use crate::codec::{Codec, Family, Tail};
use crate::coding::bits::Bits;
use crate::coding::numbers::Numbers;
use crate::container::limit;
use crate::error::DeltaError;
use crate::limits::{MAX_BLOCKS, MAX_CODECS, MAX_IMAGE, MAX_PLAIN};

use super::{Block, Blocks, Lists, Origin, Use, Way};

/// Numbers are coded below this.
const LIMIT: u64 = (1 << 60) - 1;

/// What is known about one list while it is coded.
struct Model {
    gap: Numbers,
    kind: Numbers,
    /// For single blocks, and for what need not be told apart.
    packed: [Numbers; 2],
    plain: [Numbers; 2],
    last_plain: u64,
    moved: Numbers,
    codec: Numbers,
    tail: Numbers,
}

impl Model {
    fn new() -> Self {
        Self {
            gap: Numbers::new(),
            kind: Numbers::new(),
            packed: [Numbers::new(), Numbers::new()],
            plain: [Numbers::new(), Numbers::new()],
            last_plain: 0,
            moved: Numbers::new(),
            codec: Numbers::new(),
            tail: Numbers::new(),
        }
    }

    /// Codes where a block lies, whether it is `many`, and its lengths.
    fn block<B: Bits>(
        &mut self,
        bits: &mut B,
        end: u64,
        wanted: &Block<bool>,
    ) -> Result<Block<bool>, DeltaError> {
        let gap = self.gap.code(bits, wanted.real.wrapping_sub(end) & LIMIT);
        let many = self.kind.code(bits, u64::from(wanted.kind));
        limit("kinds of blocks", many, 1)?;
        let many = many == 1;
        let [one, other] = &mut self.packed;
        let packed = if many { other } else { one };
        let packed = packed.code(bits, wanted.packed.wrapping_sub(1) & LIMIT);
        let [one, other] = &mut self.plain;
        let plain = if many {
            other.code(bits, wanted.plain.wrapping_sub(1) & LIMIT) + 1
        } else {
            let by = wanted.plain.wrapping_sub(self.last_plain).cast_signed();
            let by = one.code_signed(bits, by);
            self.last_plain = self.last_plain.wrapping_add_signed(by);
            self.last_plain
        };
        Ok(Block {
            real: end.checked_add(gap).ok_or(BEYOND)?,
            packed: packed + 1,
            place: 0,
            plain,
            kind: many,
        })
    }
}

impl Model {
    /// Codes how a block is packed.
    fn way<B: Bits>(
        &mut self,
        bits: &mut B,
        codecs: &[Codec],
        wanted: Origin,
    ) -> Result<Way, DeltaError> {
        let wanted = match wanted {
            Origin::Packed(way) => way,
            Origin::Copied(_) => Way::default(),
        };
        let mut way = Way::default();
        if codecs.len() > 1 {
            let number = self.codec.code(bits, wanted.codec.into());
            limit("compressors", number, codecs.len() as u64 - 1)?;
            way.codec = u8::try_from(number).unwrap_or(0);
        }
        if codecs.first().is_some_and(|codec| codec.fills()) {
            way.tail = Tail::from_number(self.tail.code(bits, wanted.tail.to_number()))?;
        }
        Ok(way)
    }
}

const BEYOND: DeltaError = DeltaError::Damaged("a block leaves its image");

/// Holds a block against its limits and gives it its place in the unpacked image.
fn place<K: Copy, J>(
    block: &Block<bool>,
    kind: K,
    most: u64,
    last: Option<&Block<J>>,
    real_len: u64,
) -> Result<Block<K>, DeltaError> {
    limit("bytes of a block", block.packed, most)?;
    limit("plain bytes of a block", block.plain, most)?;
    let (real, before) = last.map_or((0, 0), |last| (last.real_end(), last.place_end()));
    let end = block.real.checked_add(block.packed);
    if block.plain == 0 || end.is_none_or(|end| end > real_len) {
        return Err(BEYOND);
    }
    let place = block.real.checked_sub(real).ok_or(BEYOND)? + before;
    limit("bytes of an unpacked image", place + block.plain, MAX_IMAGE)?;
    Ok(Block {
        real: block.real,
        packed: block.packed,
        place,
        plain: block.plain,
        kind,
    })
}

fn finish<K>(list: Vec<Block<K>>, real_len: u64) -> Result<Blocks<K>, DeltaError> {
    let len = list.last().map_or(real_len, |last| {
        last.place_end() + (real_len - last.real_end())
    });
    limit("bytes of an unpacked image", len, MAX_IMAGE)?;
    Ok(Blocks {
        list,
        real_len,
        len,
    })
}

impl Lists {
    /// Codes both lists. `self` is what is written; the reader gives one of [`Lists::none`].
    pub(crate) fn code<B: Bits>(&self, bits: &mut B) -> Result<Self, DeltaError> {
        let mut small = Numbers::new();
        let family = Family::from_number(small.code(bits, self.family.number()))?;
        limit("settings of the old image", small.code(bits, 0), 0)?;
        let codecs = self.codecs(bits, &mut small)?;
        Ok(Self {
            family,
            old: self.old(bits, family)?,
            new: self.new_blocks(bits, &codecs)?,
            codecs,
        })
    }

    fn codecs<B: Bits>(&self, bits: &mut B, small: &mut Numbers) -> Result<Vec<Codec>, DeltaError> {
        let family = Family::from_number(small.code(bits, self.new_family().number()))?;
        let [first, second] = self.codec(0).to_numbers();
        let first = small.code(bits, first);
        if matches!(family, Family::None | Family::Zstd) {
            return Ok(vec![Codec::from_numbers(family, [first, 0])?]);
        }
        let second = small.code(bits, second);
        let mut codecs = vec![Codec::from_numbers(family, [first, second])?];
        let more = small.code(bits, (self.codecs.len() as u64).saturating_sub(1));
        limit("compressors", more, MAX_CODECS as u64 - 1)?;
        for number in 1..=u8::try_from(more).unwrap_or(0) {
            let numbers = self.codec(number).to_numbers();
            let numbers = numbers.map(|number| small.code(bits, number));
            codecs.push(Codec::from_numbers(family, numbers)?);
        }
        Ok(codecs)
    }

    fn old<B: Bits>(&self, bits: &mut B, family: Family) -> Result<Blocks<Use>, DeltaError> {
        let wanted = &self.old;
        let count = Numbers::new().code(bits, wanted.list.len() as u64);
        limit("blocks", count, MAX_BLOCKS as u64)?;
        let count = usize::try_from(count).unwrap_or(0);
        let mut list: Vec<Block<Use>> = Vec::with_capacity(count);
        let mut model = Model::new();
        for index in 0..count {
            let want = wanted.list.get(index).copied().unwrap_or_default();
            let want = of_kind(&want, want.kind == Use::Opaque);
            let end = list.last().map_or(0, Block::real_end);
            let block = model.block(bits, end, &want)?;
            let (kind, most) = match (block.kind, family) {
                (true, _) => (Use::Opaque, MAX_IMAGE),
                (false, Family::None) => return Err(DeltaError::Damaged("a block of no kind")),
                (false, _) => (Use::Unpacked, MAX_PLAIN as u64),
            };
            let block = place(&block, kind, most, list.last(), wanted.real_len)?;
            list.push(block);
        }
        finish(list, wanted.real_len)
    }

    fn new_blocks<B: Bits>(
        &self,
        bits: &mut B,
        codecs: &[Codec],
    ) -> Result<Blocks<Origin>, DeltaError> {
        let wanted = &self.new;
        let count = Numbers::new().code(bits, wanted.list.len() as u64);
        limit("blocks", count, MAX_BLOCKS as u64)?;
        let count = usize::try_from(count).unwrap_or(0);
        let mut list: Vec<Block<Origin>> = Vec::with_capacity(count);
        let mut model = Model::new();
        // Where the copied block before ends in the old image.
        let mut copied = 0_u64;
        for index in 0..count {
            let want = wanted.list.get(index).copied().unwrap_or_default();
            let from = match want.kind {
                Origin::Copied(from) => Some(from),
                Origin::Packed(_) => None,
            };
            let end = list.last().map_or(0, Block::real_end);
            let block = model.block(bits, end, &of_kind(&want, from.is_some()))?;
            let block = if block.kind {
                let by = from.unwrap_or(0).wrapping_sub(copied).cast_signed();
                let by = model.moved.code_signed(bits, by);
                let from = copied.checked_add_signed(by).ok_or(BEYOND)?;
                copied = from.checked_add(block.packed).ok_or(BEYOND)?;
                if copied > self.old.real_len {
                    return Err(BEYOND);
                }
                let kind = Origin::Copied(from);
                place(&block, kind, MAX_IMAGE, list.last(), wanted.real_len)?
            } else {
                let way = model.way(bits, codecs, want.kind)?;
                let family = codecs.first().map_or(Family::None, |codec| codec.family());
                if family == Family::None {
                    return Err(DeltaError::Damaged("a block of no kind"));
                }
                let most = family.most_packed() as u64;
                let kind = Origin::Packed(way);
                place(&block, kind, most, list.last(), wanted.real_len)?
            };
            list.push(block);
        }
        finish(list, wanted.real_len)
    }
}

fn of_kind<K>(block: &Block<K>, many: bool) -> Block<bool> {
    Block {
        real: block.real,
        packed: block.packed,
        place: block.place,
        plain: block.plain,
        kind: many,
    }
}
