//! Compressors of file systems, as the programs that make images use them.
//!
//! Only what one of the [`Codec`]s says can be asked of a device: a closed list, each with limits.
//! Which of them makes which bytes is known for the libraries linked here and for no others, so
//! the encoder tries every block before it counts on one.

mod zstd;

use crate::error::DeltaError;
use crate::limits::MAX_PACKED_PLAIN;

/// Whose format compressed bytes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Family {
    /// None: there are no compressed blocks.
    #[default]
    None,
    Zstd,
}

/// A compressor and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) family: Family,
    /// For zstd: the level, 1 to 22.
    pub(crate) level: u8,
}

impl Codec {
    pub(crate) const NONE: Self = Self {
        family: Family::None,
        level: 0,
    };

    /// Three numbers: the family, its level, and one that is 0 for now.
    pub(crate) fn to_numbers(self) -> [u64; 2] {
        let family = match self.family {
            Family::None => 0,
            Family::Zstd => 1,
        };
        [family, self.level.into()]
    }

    /// Holds the numbers against the closed list.
    pub(crate) fn from_numbers([family, level]: [u64; 2]) -> Result<Self, DeltaError> {
        const UNKNOWN: DeltaError = DeltaError::Damaged("a compressor that is not known");
        let level = u8::try_from(level).map_err(|_| UNKNOWN)?;
        let family = match (family, level) {
            (0, 0) => Family::None,
            (1, 0..=22) => Family::Zstd,
            _ => return Err(UNKNOWN),
        };
        Ok(Self { family, level })
    }
}

/// Compressors and decompressors, made when they are first needed. Blocks do not depend on the
/// ones before.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    zstd: zstd::Zstd,
}

impl Codecs {
    /// Unpacks a block of at most `most` bytes into `out`, in place of what was there.
    ///
    /// The error says what is wrong with it. More than `most` bytes are never made.
    pub(crate) fn unpack(
        &mut self,
        family: Family,
        packed: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        out.clear();
        out.reserve_exact(most);
        match family {
            Family::None => Err("it is not compressed"),
            Family::Zstd => self.zstd.unpack(packed, out),
        }
    }

    /// Packs a block of at most [`MAX_PACKED_PLAIN`] bytes into `out`, in place of what was there.
    pub(crate) fn pack(
        &mut self,
        codec: Codec,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        out.clear();
        if plain.len() > MAX_PACKED_PLAIN {
            return Err("the block is too long");
        }
        match codec.family {
            Family::None => Err("there is no compressor"),
            Family::Zstd => self.zstd.pack(codec.level, plain, out),
        }
    }
}
