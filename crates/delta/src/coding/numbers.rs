//! Numbers of any size as bits: how long first, then the digits.

use super::bits::Bits;
use super::chance::Chance;

/// What is known about one kind of number.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    /// A binary tree over the number of digits, 0 to 63.
    size: [Chance; 64],
    /// A binary tree over the first digits after the leading one, for each size.
    first: [[Chance; 1 << FIRST]; 64],
    spare: Chance,
}

/// So many digits after the leading one are modelled; the rest is taken as it comes.
const FIRST: u32 = 3;
/// How slowly the chances of numbers move at last: there are few numbers.
const SLOWEST: u32 = 60;
const EVEN: u16 = 1 << 15;

impl Numbers {
    pub(crate) fn new() -> Self {
        Self {
            size: [Chance::EVEN; 64],
            first: [[Chance::EVEN; 1 << FIRST]; 64],
            spare: Chance::EVEN,
        }
    }

    /// Codes a number below 2^63.
    pub(crate) fn code<B: Bits>(&mut self, bits: &mut B, value: u64) -> u64 {
        let wanted = u64::BITS - value.leading_zeros();
        let mut node = 1_usize;
        let mut size = 0_u32;
        for place in (0..6).rev() {
            let chance = self.size.get_mut(node).unwrap_or(&mut self.spare);
            let bit = bits.bit((wanted >> place) & 1 == 1, chance.get());
            chance.learn(bit, SLOWEST);
            node = node * 2 + usize::from(bit);
            size = size * 2 + u32::from(bit);
        }
        if size == 0 {
            return 0;
        }
        let digits = usize::try_from(size)
            .ok()
            .and_then(|index| self.first.get_mut(index));
        let mut none = [Chance::EVEN; 1 << FIRST];
        let digits = digits.unwrap_or(&mut none);
        let mut node = 1_usize;
        let mut result = 1_u64;
        for place in (0..size - 1).rev() {
            let bit = (value >> place) & 1 == 1;
            let bit = match digits.get_mut(node) {
                Some(chance) => {
                    let bit = bits.bit(bit, chance.get());
                    chance.learn(bit, SLOWEST);
                    node = node * 2 + usize::from(bit);
                    bit
                }
                None => bits.bit(bit, EVEN),
            };
            result = result * 2 + u64::from(bit);
        }
        result
    }

    /// Codes a number of either sign, between -2^61 and 2^61.
    pub(crate) fn code_signed<B: Bits>(&mut self, bits: &mut B, value: i64) -> i64 {
        // The reader passes whatever it has: only the writer's value must fit.
        let folded = value.unsigned_abs().wrapping_mul(2) | u64::from(value < 0);
        let folded = self.code(bits, folded);
        let size = i64::try_from(folded / 2).unwrap_or(0);
        if folded % 2 == 1 { -size } else { size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bits::{BitReader, BitWriter};
    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            values in proptest::collection::vec((0..63_u32, any::<u64>(), any::<bool>()), 0..300),
        ) {
            let values: Vec<(u64, i64)> = values
                .into_iter()
                .map(|(shift, value, negative)| {
                    let value = (value >> 1) >> shift;
                    let signed = i64::try_from(value / 4).unwrap();
                    (value, if negative { -signed } else { signed })
                })
                .collect();
            let mut writer = BitWriter::new();
            let mut numbers = Numbers::new();
            for (value, signed) in &values {
                numbers.code(&mut writer, *value);
                numbers.code_signed(&mut writer, *signed);
            }
            let mut reader = BitReader::new(writer.finish(), 0);
            let mut numbers = Numbers::new();
            for (value, signed) in &values {
                prop_assert_eq!(numbers.code(&mut reader, 0), *value);
                prop_assert_eq!(numbers.code_signed(&mut reader, 0), *signed);
            }
        }
    }
}
