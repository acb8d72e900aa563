//! The superblock of squashfs.

use super::{bytes_at, u16_at, u32_at};

/// What the first bytes of a squashfs image say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// When it was made, in seconds since 1970.
    pub(crate) made: u32,
    /// Bytes per block.
    pub(crate) block_size: u32,
    /// The compressor's number.
    pub(crate) compressor: u16,
}

impl Superblock {
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        if bytes_at(image, 0)? != *b"hsqs" {
            return None;
        }
        Some(Self {
            made: u32_at(image, 8)?,
            block_size: u32_at(image, 12)?,
            compressor: u16_at(image, 20)?,
        })
    }

    /// The compressor as `mksquashfs -comp` calls it.
    pub(crate) fn compressor_name(&self) -> &'static str {
        match self.compressor {
            1 => "gzip",
            2 => "lzma",
            3 => "lzo",
            4 => "xz",
            5 => "lz4",
            6 => "zstd",
            _ => "unknown",
        }
    }
}
