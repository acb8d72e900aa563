//! Programs in the image: where their parts lie in a file and where in memory.

use crate::coding::bits::Bits;
use crate::coding::numbers::Numbers;
use crate::error::DeltaError;
use crate::map::AddressMap;

/// What the machine code of a program is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Machine {
    /// Something without predictions of its own.
    #[default]
    Other,
    X86_64,
    AArch64,
}

/// A part of a program that is loaded into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its length in the file.
    pub(crate) len: u64,
    /// So many zero bytes follow it in memory.
    pub(crate) zeros: u64,
    /// Where it begins in memory.
    pub(crate) address: u64,
}

/// A program of the old image and its successor in the new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Space {
    /// Where the file begins in the old image.
    pub(crate) old: u64,
    /// Length of the file in the old image.
    pub(crate) old_len: u64,
    /// Where its successor begins in the new image.
    pub(crate) new: u64,
    pub(crate) machine: Machine,
    pub(crate) old_pieces: Vec<Piece>,
    pub(crate) new_pieces: Vec<Piece>,
    /// Addresses of the table that leads to the unwind information, which counts from its own
    /// beginning; 0 when there is none.
    pub(crate) old_table: u64,
    pub(crate) new_table: u64,
}

/// Most parts of one program that are told apart.
pub(crate) const MAX_PIECES: usize = 8;

fn address_in(pieces: &[Piece], offset: u64) -> Option<u64> {
    pieces.iter().find_map(|piece| {
        let inside = offset.checked_sub(piece.offset)?;
        (inside < piece.len).then(|| piece.address.wrapping_add(inside))
    })
}

impl Space {
    pub(crate) fn old_end(&self) -> u64 {
        self.old.saturating_add(self.old_len)
    }

    /// The address in memory of the byte at `place` of the old image.
    pub(crate) fn old_address(&self, place: u64) -> Option<u64> {
        address_in(&self.old_pieces, place.checked_sub(self.old)?)
    }

    /// The address in memory of the byte at `place` of the new image.
    pub(crate) fn new_address(&self, place: u64) -> Option<u64> {
        address_in(&self.new_pieces, place.checked_sub(self.new)?)
    }

    /// What the address became in the new program.
    pub(crate) fn moved(&self, address: u64, map: &AddressMap) -> Option<u64> {
        for (index, piece) in self.old_pieces.iter().enumerate() {
            let Some(inside) = address.checked_sub(piece.address) else {
                continue;
            };
            if inside < piece.len {
                let old = self.old.checked_add(piece.offset)?.checked_add(inside)?;
                let new = old.checked_add_signed(map.shift(old)?)?;
                return self.new_address(new);
            }
            if inside - piece.len < piece.zeros {
                let now = self.new_pieces.get(index)?;
                return Some(
                    now.address
                        .wrapping_add(now.len)
                        .wrapping_add(inside - piece.len),
                );
            }
        }
        None
    }
}

struct SpaceModel {
    distance: Numbers,
    length: Numbers,
    moved: Numbers,
    small: Numbers,
    offset: Numbers,
    size: Numbers,
    address: Numbers,
    table: Numbers,
}

impl SpaceModel {
    fn new() -> Self {
        Self {
            distance: Numbers::new(),
            length: Numbers::new(),
            moved: Numbers::new(),
            small: Numbers::new(),
            offset: Numbers::new(),
            size: Numbers::new(),
            address: Numbers::new(),
            table: Numbers::new(),
        }
    }

    /// Codes the parts of one program. Values are below 2^61, or this side does not send them.
    fn pieces<B: Bits>(&mut self, bits: &mut B, wanted: &[Piece], like: &[Piece]) -> Vec<Piece> {
        let count = self.small.code(bits, wanted.len() as u64);
        let count = usize::try_from(count).unwrap_or(0).min(MAX_PIECES);
        let mut pieces: Vec<Piece> = Vec::with_capacity(count);
        for index in 0..count {
            let want = wanted.get(index).copied().unwrap_or_default();
            let hint = like.get(index).copied().unwrap_or_default();
            let relative = |value: u64, hint: u64| value.wrapping_sub(hint).cast_signed();
            let offset = self
                .offset
                .code_signed(bits, relative(want.offset, hint.offset));
            let len = self.size.code_signed(bits, relative(want.len, hint.len));
            let zeros = self
                .size
                .code_signed(bits, relative(want.zeros, hint.zeros));
            let bias = |piece: &Piece| piece.address.wrapping_sub(piece.offset);
            let address = self
                .address
                .code_signed(bits, relative(bias(&want), bias(&hint)));
            let offset = hint.offset.wrapping_add_signed(offset);
            pieces.push(Piece {
                offset,
                len: hint.len.wrapping_add_signed(len),
                zeros: hint.zeros.wrapping_add_signed(zeros),
                address: bias(&hint)
                    .wrapping_add_signed(address)
                    .wrapping_add(offset),
            });
        }
        pieces
    }

    fn space<B: Bits>(&mut self, bits: &mut B, wanted: &Space, place: u64) -> Space {
        let distance = self
            .distance
            .code(bits, wanted.old.wrapping_sub(place) & LIMIT);
        let old = place.wrapping_add(distance);
        let old_len = self.length.code(bits, wanted.old_len & LIMIT);
        let moved = wanted.new.wrapping_sub(wanted.old).cast_signed();
        let new = old.wrapping_add_signed(self.moved.code_signed(bits, moved));
        let machine = match self.small.code(bits, wanted.machine as u64) {
            1 => Machine::X86_64,
            2 => Machine::AArch64,
            _ => Machine::Other,
        };
        let old_pieces = self.pieces(bits, &wanted.old_pieces, &[]);
        let new_pieces = self.pieces(bits, &wanted.new_pieces, &old_pieces);
        let old_table = self.table.code(bits, wanted.old_table & LIMIT);
        let moved = wanted
            .new_table
            .wrapping_sub(wanted.old_table)
            .cast_signed();
        let new_table = old_table.wrapping_add_signed(self.table.code_signed(bits, moved));
        Space {
            old,
            old_len,
            new,
            machine,
            old_pieces,
            new_pieces,
            old_table,
            new_table,
        }
    }
}

/// Numbers are coded below this.
const LIMIT: u64 = (1 << 60) - 1;

/// Whether every number of the space can be written.
pub(crate) fn is_plain(space: &Space) -> bool {
    let pieces = space.old_pieces.iter().chain(&space.new_pieces);
    space.old_pieces.len() <= MAX_PIECES
        && space.new_pieces.len() <= MAX_PIECES
        && space.old_table < LIMIT / 2
        && space.new_table < LIMIT / 2
        && pieces
            .flat_map(|p| [p.offset, p.len, p.zeros, p.address])
            .all(|number| number < LIMIT / 2)
}

/// Writes the spaces, which are in the order of the old image and do not overlap.
pub(crate) fn write_spaces<B: Bits>(bits: &mut B, spaces: &[Space]) {
    Numbers::new().code(bits, spaces.len() as u64);
    let mut model = SpaceModel::new();
    let mut place = 0;
    for space in spaces {
        model.space(bits, space, place);
        place = space.old_end();
    }
}

/// Reads what [`write_spaces`] wrote. Wrong numbers make wrong predictions, not errors: only
/// their order is checked.
pub(crate) fn read_spaces<B: Bits>(bits: &mut B, most: usize) -> Result<Vec<Space>, DeltaError> {
    let count = Numbers::new().code(bits, 0);
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= most)
        .ok_or(DeltaError::TooMany {
            what: "programs",
            found: count,
            limit: most as u64,
        })?;
    let mut spaces = Vec::with_capacity(count);
    let mut model = SpaceModel::new();
    let mut place = 0;
    for _ in 0..count {
        let space = model.space(bits, &Space::default(), place);
        if space.old < place || space.old.checked_add(space.old_len).is_none() {
            return Err(DeltaError::Damaged("programs overlap"));
        }
        place = space.old_end();
        spaces.push(space);
    }
    Ok(spaces)
}
