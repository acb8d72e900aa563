//! Where a chunk ends.

use crate::{GOOD_CHUNKS, MAX_CHUNK};

/// How an image is cut. Both sides cut in the same way: it is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Every 2^`log` bytes, 12 to 15: for images whose files lie in whole blocks.
    Blocks {
        /// The size as a power of two.
        log: u8,
    },
    /// Where the bytes themselves say so, every 2^`log` bytes on average, 12 to 14: for images that
    /// are compressed, in which everything after a change lies elsewhere.
    Content {
        /// The average as a power of two.
        log: u8,
    },
}

impl Cutting {
    /// Blocks as small as they can be while an image of `len` bytes has no more of them than a
    /// device can remember.
    #[must_use]
    pub fn blocks(len: u64) -> Self {
        let log = (12..15).find(|log| len >> log <= GOOD_CHUNKS);
        Self::Blocks {
            log: log.unwrap_or(15),
        }
    }

    /// The same, by content.
    #[must_use]
    pub fn content(len: u64) -> Self {
        let log = (13..14).find(|log| len >> log <= GOOD_CHUNKS);
        Self::Content {
            log: log.unwrap_or(14),
        }
    }

    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Blocks { log } => log,
            Self::Content { log } => log | 0x80,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            12..=15 => Some(Self::Blocks { log: byte }),
            0x8c..=0x8e => Some(Self::Content { log: byte & 0x7f }),
            _ => None,
        }
    }

    /// The length of the chunk that `bytes` begin with; `None` when more bytes are needed to tell.
    /// With `last`, no more follow. [`MAX_CHUNK`] bytes are always enough.
    #[must_use]
    pub fn chunk(self, bytes: &[u8], last: bool) -> Option<usize> {
        let found = match self {
            Self::Blocks { log } => Some(1 << log).filter(|size| *size <= bytes.len()),
            Self::Content { log } => by_content(bytes, log),
        };
        found.or_else(|| (last && !bytes.is_empty()).then_some(bytes.len()))
    }
}

/// Cuts after a byte where the hash of those before it has `log` zero bits at its top.
fn by_content(bytes: &[u8], log: u8) -> Option<usize> {
    // Chunks are at least a quarter of the average, which the condition makes up for.
    let (least, most) = (1_usize << (log - 2), MAX_CHUNK.min(4 << log));
    let bits = 64 - u32::from(log);
    // A byte's trace is shifted out after 64 others.
    let start = least.saturating_sub(64);
    let mut hash = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(most).skip(start) {
        hash = (hash << 1).wrapping_add(gear(*byte));
        if at + 1 >= least && hash >> bits == 0 {
            return Some(at + 1);
        }
    }
    (bytes.len() >= most).then_some(most)
}

fn gear(byte: u8) -> u64 {
    GEAR.get(usize::from(byte)).copied().unwrap_or(0)
}

/// One number for each byte, from the sequence of `SplitMix64` that begins with 0.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut at = 0;
    while at < table.len() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        #[allow(clippy::indexing_slicing, reason = "below its length")]
        {
            table[at] = mixed ^ (mixed >> 31);
        }
        at += 1;
    }
    table
};

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a broken promise fails the test"
)]
mod tests {
    use super::*;

    /// Bytes without a pattern.
    fn noise(len: usize) -> Vec<u8> {
        let words = (0..).map(|at: u64| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23));
        let mixed = words.map(|word| word.wrapping_mul(word | 1) >> 17);
        mixed.map(|word| word as u8).take(len).collect()
    }

    fn ends(cutting: Cutting, bytes: &[u8]) -> Vec<usize> {
        let mut ends = vec![];
        let mut at = 0;
        while let Some(len) = cutting.chunk(&bytes[at..], true) {
            at += len;
            ends.push(at);
        }
        ends
    }

    #[test]
    fn the_table_begins_as_the_sequence_does() {
        assert_eq!(GEAR[0], 0xE220_A839_7B1D_CDAF);
        assert_eq!(GEAR[1], 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn chunks_follow_what_is_inserted() {
        let cutting = Cutting::Content { log: 13 };
        let bytes = noise(2 << 20);
        let before = ends(cutting, &bytes);
        let mut longer = bytes.clone();
        longer.splice(1000..1000, *b"seven..");
        let after = ends(cutting, &longer);
        let same = after.iter().filter(|end| before.contains(&(*end - 7)));
        assert!(same.count() + 3 >= before.len());
        let average = bytes.len() / before.len();
        assert!((7000..14_000).contains(&average), "{average}");
        let lengths = before.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(lengths.clone().all(|len| (2048..=MAX_CHUNK).contains(&len)));
    }

    #[test]
    fn it_does_not_matter_how_many_bytes_are_seen() {
        let bytes = noise(300_000);
        for cutting in [
            Cutting::Content { log: 12 },
            Cutting::Content { log: 14 },
            Cutting::Blocks { log: 12 },
        ] {
            let whole = ends(cutting, &bytes);
            let (mut at, mut found) = (0, vec![]);
            while at < bytes.len() {
                let mut seen = at;
                let len = loop {
                    let last = seen == bytes.len();
                    if let Some(len) = cutting.chunk(&bytes[at..seen], last) {
                        break len;
                    }
                    assert!(seen - at < MAX_CHUNK);
                    seen = (seen + 97).min(bytes.len());
                };
                at += len;
                found.push(at);
            }
            assert_eq!(found, whole);
        }
    }

    #[test]
    fn large_images_have_large_chunks() {
        assert_eq!(Cutting::blocks(448 << 20), Cutting::Blocks { log: 12 });
        assert_eq!(Cutting::blocks(600 << 20), Cutting::Blocks { log: 13 });
        assert_eq!(Cutting::blocks(1 << 40), Cutting::Blocks { log: 15 });
        assert_eq!(Cutting::content(100 << 20), Cutting::Content { log: 13 });
        assert_eq!(Cutting::content(3 << 30), Cutting::Content { log: 14 });
        for byte in 0..=u8::MAX {
            let read = Cutting::from_byte(byte);
            assert!(read.is_none_or(|cutting| cutting.to_byte() == byte));
        }
    }
}
