//! Compressors of file systems, as the programs that make images use them.
//!
//! Only what one of the [`Codec`]s says can be asked of a device: a closed list, each with limits.
//! Which of them makes which bytes is known for the libraries linked here and for no others, so
//! the encoder tries every block before it counts on one.

mod lz4;
mod xz;
mod zlib;
mod zstd;

use crate::error::DeltaError;
use crate::limits::{
    MAX_PACKED_LZ4, MAX_PACKED_PADDED, MAX_PACKED_XZ, MAX_PACKED_ZLIB, MAX_PACKED_ZSTD,
};

pub(crate) use xz::{Filter, dictionary_len, said};

/// Whose format compressed bytes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Family {
    /// None: there are no compressed blocks.
    #[default]
    None,
    Zstd,
    /// What squashfs calls gzip.
    Zlib,
    Xz,
    /// Blocks of LZ4, behind any number of zeros.
    Lz4,
    /// Frames of zstd, behind any number of zeros.
    PaddedZstd,
}

/// A compressor and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    None,
    /// Levels 1 to 22; 0 is zstd's default.
    Zstd {
        level: u8,
    },
    /// Levels 1 to 9, windows of 2^9 to 2^15 bytes.
    Zlib {
        level: u8,
        window: u8,
    },
    /// The default preset with another dictionary, which is said as .xz says it.
    Xz {
        dictionary: u8,
        filter: Filter,
    },
    /// Fills a block that ends a whole number of pages on, behind zeros if need be: erofs.
    /// Level 0 is the fast one, 3 to 12 are those of the high compressor.
    Lz4 {
        level: u8,
    },
    /// Ends a whole number of pages on, behind zeros if need be: erofs. Levels 1 to 22, and 0 for the
    /// level that mkfs.erofs takes when it is told none, windows of 2^10 to 2^20 bytes. How much of a file goes into a cluster was decided by trying; the block
    /// has just that much, so nothing of that is done again.
    PaddedZstd {
        level: u8,
        window: u8,
    },
}

/// The windows that mkfs.erofs can be given.
pub(crate) const WINDOWS: core::ops::RangeInclusive<u8> = 10..=20;

/// A compressor that fills its output sees this many bytes beyond those that it packs. lz4 never
/// needs more than a few dozen to decide; ADR 17 has the figures.
pub(crate) const AHEAD: usize = 64;

/// What follows the bytes of a block while it is packed. Only compressors that fill their output
/// look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The next bytes of the unpacked image, as many as [`AHEAD`], and then zeros up to more than
    /// 64 KiB: lz4 works otherwise when it sees that there is less.
    Long,
    /// The same, but with few zeros.
    Short,
    /// As many of the next bytes of the unpacked image, [`AHEAD`] at most: the file ends there.
    Exactly(u8),
}

impl Default for Tail {
    fn default() -> Self {
        Self::Exactly(0)
    }
}

impl Tail {
    /// So many of the next bytes of the unpacked image are looked at.
    pub(crate) fn ahead(self) -> usize {
        match self {
            Self::Long | Self::Short => AHEAD,
            Self::Exactly(count) => count.into(),
        }
    }

    pub(crate) fn to_number(self) -> u64 {
        match self {
            Self::Long => 0,
            Self::Short => 1,
            Self::Exactly(count) => 2 + u64::from(count),
        }
    }

    pub(crate) fn from_number(number: u64) -> Result<Self, DeltaError> {
        const UNKNOWN: DeltaError = DeltaError::Damaged("the end of a block is not known");
        match number {
            0 => Ok(Self::Long),
            1 => Ok(Self::Short),
            _ => {
                let count = u8::try_from(number - 2).map_err(|_| UNKNOWN)?;
                if usize::from(count) > AHEAD {
                    return Err(UNKNOWN);
                }
                Ok(Self::Exactly(count))
            }
        }
    }
}

impl Codec {
    pub(crate) fn family(self) -> Family {
        match self {
            Self::None => Family::None,
            Self::Zstd { .. } => Family::Zstd,
            Self::Zlib { .. } => Family::Zlib,
            Self::Xz { .. } => Family::Xz,
            Self::Lz4 { .. } => Family::Lz4,
            Self::PaddedZstd { .. } => Family::PaddedZstd,
        }
    }

    /// What is written of it beside its family: up to two numbers.
    pub(crate) fn to_numbers(self) -> [u64; 2] {
        let numbers = match self {
            Self::None => [0, 0],
            Self::Zstd { level } | Self::Lz4 { level } => [level, 0],
            Self::Zlib { level, window } | Self::PaddedZstd { level, window } => [level, window],
            Self::Xz { dictionary, filter } => [dictionary, filter.number()],
        };
        numbers.map(u64::from)
    }

    /// Holds the numbers against the closed list.
    pub(crate) fn from_numbers(family: Family, numbers: [u64; 2]) -> Result<Self, DeltaError> {
        const UNKNOWN: DeltaError = DeltaError::Damaged("a compressor that is not known");
        let [first, second] = numbers.map(|number| u8::try_from(number).ok());
        let (first, second) = first.zip(second).ok_or(UNKNOWN)?;
        match (family, first, second) {
            (Family::None, 0, 0) => Ok(Self::None),
            (Family::Zstd, level @ 0..=22, 0) => Ok(Self::Zstd { level }),
            (Family::Zlib, level @ 1..=9, window @ 9..=15) => Ok(Self::Zlib { level, window }),
            (Family::Xz, dictionary, filter) => {
                // More would take more memory, and blocks are no longer than that.
                dictionary_len(dictionary)
                    .filter(|len| *len <= Family::Xz.most_packed())
                    .ok_or(UNKNOWN)?;
                let filter = Filter::from_number(filter).ok_or(UNKNOWN)?;
                Ok(Self::Xz { dictionary, filter })
            }
            (Family::Lz4, level @ (0 | 3..=12), 0) => Ok(Self::Lz4 { level }),
            (Family::PaddedZstd, level @ 0..=22, window) if WINDOWS.contains(&window) => {
                Ok(Self::PaddedZstd { level, window })
            }
            _ => Err(UNKNOWN),
        }
    }

    /// Whether it packs as many bytes as fill its output.
    pub(crate) fn fills(self) -> bool {
        matches!(self, Self::Lz4 { .. })
    }
}

impl Family {
    /// Most bytes of a block that a device packs, before and after.
    pub(crate) fn most_packed(self) -> usize {
        match self {
            Self::None => 0,
            Self::Zstd => MAX_PACKED_ZSTD,
            Self::Zlib => MAX_PACKED_ZLIB,
            Self::Xz => MAX_PACKED_XZ,
            Self::Lz4 => MAX_PACKED_LZ4,
            Self::PaddedZstd => MAX_PACKED_PADDED,
        }
    }

    /// Its name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd | Self::PaddedZstd => "zstd",
            Self::Zlib => "zlib",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
        }
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
            Self::Zlib => 2,
            Self::Xz => 3,
            Self::Lz4 => 4,
            Self::PaddedZstd => 5,
        }
    }

    pub(crate) fn from_number(number: u64) -> Result<Self, DeltaError> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Zstd,
            2 => Self::Zlib,
            3 => Self::Xz,
            4 => Self::Lz4,
            5 => Self::PaddedZstd,
            _ => return Err(DeltaError::Damaged("a compressor that is not known")),
        })
    }
}

/// The libraries that pack blocks of the new image, and their versions: others make other bytes.
pub const PACKERS: [(&str, &str); 4] = [
    ("zstd", "1.5.7"),
    ("zlib", "1.4"),
    ("xz", "5.8.4"),
    ("lz4", "1.10.0"),
];

/// Compressors and decompressors, made when they are first needed. Blocks do not depend on the
/// ones before.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    zstd: zstd::Zstd,
    zlib: zlib::Zlib,
    source: Vec<u8>,
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
            Family::Zlib => self.zlib.unpack(packed, most, out),
            Family::Xz => xz::unpack(packed, out),
            Family::Lz4 => lz4::unpack(behind_zeros(packed)?, most, out),
            Family::PaddedZstd => self.zstd.unpack(behind_zeros(packed)?, out),
        }
    }

    /// Packs a block into `out`, in place of what was there. `plain` has its `len` bytes and
    /// those that the compressor may look at beyond them; `wanted` bytes are to come out.
    pub(crate) fn pack(
        &mut self,
        codec: Codec,
        (plain, len): (&[u8], usize),
        tail: Tail,
        wanted: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        out.clear();
        let own = plain.get(..len).ok_or("the block has another length")?;
        if len.max(wanted) > codec.family().most_packed() {
            return Err("the block is too long");
        }
        match codec {
            Codec::None => Err("there is no compressor"),
            Codec::Zstd { level } => self.zstd.pack(level, own, out),
            Codec::Zlib { level, window } => self.zlib.pack(level, window, own, out),
            Codec::Xz { dictionary, filter } => xz::pack(dictionary, filter, own, out),
            Codec::Lz4 { level } => {
                lz4::fill(level, (plain, len), tail, wanted, &mut self.source, out)?;
                put_behind_zeros(out, wanted)
            }
            Codec::PaddedZstd { level, window } => {
                self.zstd.pack_within(level, window, own, wanted, out)?;
                put_behind_zeros(out, wanted)
            }
        }
    }
}

/// What follows the zeros that a cluster of erofs begins with. Neither a block of LZ4 nor a frame of
/// zstd begins with one.
fn behind_zeros(packed: &[u8]) -> Result<&[u8], &'static str> {
    let start = packed.iter().position(|byte| *byte != 0);
    let packed = start.and_then(|start| packed.get(start..));
    packed.ok_or("there are only zeros")
}

/// Moves what was made to the end of a cluster of `wanted` bytes, behind zeros.
fn put_behind_zeros(out: &mut Vec<u8>, wanted: usize) -> Result<(), &'static str> {
    let zeros = wanted.checked_sub(out.len()).ok_or("it is too long")?;
    out.resize(wanted, 0);
    out.rotate_right(zeros);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::PACKERS;

    #[test]
    fn the_versions_that_publishers_name_are_those_that_are_linked() {
        assert_eq!(PACKERS[0], ("zstd", zstd_safe::version_string()));
    }
}
