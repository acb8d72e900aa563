//! The superblock of erofs.

use super::{bytes_at, u32_at};

const START: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;

/// What the superblock of an erofs image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// When it was made, in seconds since 1970.
    pub(crate) made: u64,
    pub(crate) uuid: [u8; 16],
}

impl Superblock {
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        if u32_at(image, START)? != MAGIC {
            return None;
        }
        Some(Self {
            made: bytes_at(image, START + 24).map(u64::from_le_bytes)?,
            uuid: bytes_at(image, START + 48)?,
        })
    }
}
