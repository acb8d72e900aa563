//! A binary arithmetic coder: whoever knows the chances of a bit pays only for the surprise.

/// One side of the coder. The models are written once over this trait, so that the two sides
/// cannot drift apart: the writer is given each bit, the reader ignores what it is given.
pub(crate) trait Bits {
    /// Codes one bit, whose chance of being set is `chance` / 65,536, and returns it.
    /// `chance` is between 1 and 65,535.
    fn bit(&mut self, bit: bool, chance: u16) -> bool;
}

/// The part of the interval that belongs to a set bit ends here.
fn split(low: u32, high: u32, chance: u16) -> u32 {
    let width = u64::from(high - low);
    // Below `width`, because the chance is below one: both parts keep at least one number.
    let part = (width * u64::from(chance)) >> 16;
    low + u32::try_from(part).unwrap_or(0)
}

fn top(value: u32) -> u8 {
    value.to_be_bytes()[0]
}

/// Writes bits.
#[derive(Debug)]
pub(crate) struct BitWriter {
    out: Vec<u8>,
    low: u32,
    high: u32,
}

impl BitWriter {
    pub(crate) fn new() -> Self {
        Self {
            out: Vec::new(),
            low: 0,
            high: u32::MAX,
        }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// All bytes. The reader takes what is missing at the end for zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The shortest beginning that stays inside when zeros follow it.
        for keep in 0..=4_usize {
            let below = u64::from(u32::MAX) >> (8 * keep);
            let value = (u64::from(self.low) + below) & !below;
            if value <= u64::from(self.high) {
                let bytes = u32::try_from(value).unwrap_or(0).to_be_bytes();
                self.out.extend(bytes.iter().take(keep));
                break;
            }
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl Bits for BitWriter {
    fn bit(&mut self, bit: bool, chance: u16) -> bool {
        let middle = split(self.low, self.high, chance);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while top(self.low) == top(self.high) {
            self.out.push(top(self.high));
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
        }
        bit
    }
}

/// Reads bits.
#[derive(Debug)]
pub(crate) struct BitReader {
    bytes: Vec<u8>,
    place: usize,
    low: u32,
    high: u32,
    value: u32,
}

impl BitReader {
    /// Reads from `bytes`, beginning at `start`.
    pub(crate) fn new(bytes: Vec<u8>, start: usize) -> Self {
        let mut reader = Self {
            bytes,
            place: start,
            low: 0,
            high: u32::MAX,
            value: 0,
        };
        for _ in 0..4 {
            reader.shift();
        }
        reader
    }

    /// The buffer, to be used again.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn shift(&mut self) {
        let next = self.bytes.get(self.place).copied().unwrap_or(0);
        self.place = self.place.saturating_add(1);
        self.value = (self.value << 8) | u32::from(next);
    }
}

impl Bits for BitReader {
    fn bit(&mut self, _: bool, chance: u16) -> bool {
        let middle = split(self.low, self.high, chance);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while top(self.low) == top(self.high) {
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(coded in proptest::collection::vec((any::<bool>(), 1..=u16::MAX), 0..2000)) {
            let mut writer = BitWriter::new();
            for (bit, chance) in &coded {
                writer.bit(*bit, *chance);
            }
            let mut reader = BitReader::new(writer.finish(), 0);
            for (bit, chance) in &coded {
                prop_assert_eq!(reader.bit(false, *chance), *bit);
            }
        }
    }

    #[test]
    fn an_expected_bit_costs_nearly_nothing() {
        let mut writer = BitWriter::new();
        for _ in 0..100_000 {
            writer.bit(true, 65_530);
        }
        assert!(writer.finish().len() < 4);
    }
}
