//! What file systems say about themselves, read from an image in memory.
//!
//! Nothing here is needed to publish: it is for advice and reports. An image may say anything;
//! what makes no sense is `None`, never a panic, and never more work than a fixed budget.

pub(crate) mod erofs;
pub(crate) mod ext4;
pub(crate) mod squashfs;
pub(crate) mod tree;

/// The bytes from `offset` on, as many as `N`.
pub(crate) fn bytes_at<const N: usize>(image: &[u8], offset: u64) -> Option<[u8; N]> {
    let offset = usize::try_from(offset).ok()?;
    image.get(offset..)?.first_chunk().copied()
}

pub(crate) fn u16_at(image: &[u8], offset: u64) -> Option<u16> {
    bytes_at(image, offset).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(image: &[u8], offset: u64) -> Option<u32> {
    bytes_at(image, offset).map(u32::from_le_bytes)
}

/// Two halves of a number, as ext4 keeps them.
pub(crate) fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// A UUID as tools write it.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let text = hex::encode(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .into_iter()
        .filter_map(|part| text.get(part))
        .collect::<Vec<_>>()
        .join("-")
}
