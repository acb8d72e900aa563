//! Where the compressed blocks of an image lie.
//!
//! An image may say anything: what makes no sense is left out, and its bytes count as they are.
//! Nothing here panics or takes more memory than the image has bytes.

mod erofs;
pub(crate) mod squashfs;

use crate::codec::{Codec, Family};

/// A compressed block, as the file system's tables name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Where it begins in the image.
    pub(crate) offset: u64,
    /// Its length there, never 0.
    pub(crate) packed: u32,
    /// It has at most so many bytes when it is unpacked.
    pub(crate) most: u32,
    /// So many bytes of the same file follow the block, as far as that is known.
    pub(crate) left: u32,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.packed)
    }
}

/// Where a file begins: in the image, and so many bytes into the block there when it is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileStart {
    pub(crate) offset: u64,
    pub(crate) inside: u32,
}

/// What is known about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) family: Family,
    /// How its blocks may have been made, the likeliest first.
    pub(crate) codecs: Vec<Codec>,
    /// In order, without overlaps, inside of the image.
    pub(crate) blocks: Vec<Found>,
    /// In order.
    pub(crate) files: Vec<FileStart>,
}

/// Reads what an image says about itself; `None` when it has no compressed blocks that are known.
pub(crate) fn layout(image: &[u8]) -> Option<Layout> {
    squashfs::layout(image).or_else(|| erofs::layout(image))
}

/// Sorts blocks, and leaves out those that overlap one before or leave the image.
fn in_order(blocks: &mut Vec<Found>, len: u64) {
    blocks.sort_unstable();
    blocks.dedup();
    let mut end = 0;
    blocks.retain(|block| {
        let sound = block.packed > 0
            && block.offset >= end
            && block
                .offset
                .checked_add(block.packed.into())
                .is_some_and(|end| end <= len);
        if sound {
            end = block.end();
        }
        sound
    });
}

/// The bytes from `offset` on, as many as `N`.
fn bytes_at<const N: usize>(image: &[u8], offset: u64) -> Option<[u8; N]> {
    let offset = usize::try_from(offset).ok()?;
    image.get(offset..)?.first_chunk().copied()
}

fn u16_at(image: &[u8], offset: u64) -> Option<u16> {
    bytes_at(image, offset).map(u16::from_le_bytes)
}

fn u32_at(image: &[u8], offset: u64) -> Option<u32> {
    bytes_at(image, offset).map(u32::from_le_bytes)
}

fn u64_at(image: &[u8], offset: u64) -> Option<u64> {
    bytes_at(image, offset).map(u64::from_le_bytes)
}

/// The bytes `offset..offset + len`.
fn part(image: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(len)?).ok()?;
    image.get(start..end)
}
