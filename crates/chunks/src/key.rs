//! Keys: short hashes by which equal chunks are found.

use twox_hash::XxHash3_64;

/// Bytes of a key as it is stored.
pub(crate) const KEY_LEN: usize = 5;

/// 40 bits of the XXH3 of some bytes. Two slots and the missing part of an image of 448 MiB make some
/// 10⁹ pairs, so one update in a thousand meets two chunks with the same key: it fetches a segment again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_64::oneshot(bytes) >> 24)
    }

    /// The 40 bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn to_bytes(self) -> [u8; KEY_LEN] {
        let [a, b, c, d, e, ..] = self.0.to_le_bytes();
        [a, b, c, d, e]
    }

    pub(crate) const fn from_bytes([a, b, c, d, e]: [u8; KEY_LEN]) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}
