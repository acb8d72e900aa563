//! The superblock of erofs.

use super::{bytes_at, u16_at, u32_at};

const START: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Said of an image that lists its compressors. Others have LZ4, or none.
const LISTS_COMPRESSORS: u32 = 2;
const LZ4: u16 = 1 << 0;
const ZSTD: u16 = 1 << 3;

/// What the superblock of an erofs image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// When it was made, in seconds since 1970.
    pub(crate) made: u64,
    pub(crate) uuid: [u8; 16],
    /// A bit for each compressor that files may have.
    compressors: u16,
}

impl Superblock {
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        if u32_at(image, START)? != MAGIC {
            return None;
        }
        Some(Self {
            made: bytes_at(image, START + 24).map(u64::from_le_bytes)?,
            uuid: bytes_at(image, START + 48)?,
            compressors: if u32_at(image, START + 80)? & LISTS_COMPRESSORS == 0 {
                LZ4
            } else {
                u16_at(image, START + 84)?
            },
        })
    }

    /// The library that packs clusters again, if deltas look into them.
    pub(crate) fn packer(&self) -> Option<&'static str> {
        match self.compressors & (LZ4 | ZSTD) {
            0 => None,
            ZSTD => Some("zstd"),
            _ => Some("lz4"),
        }
    }
}
