//! Numbers that are the same in every run.

use crate::record::Slot;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// One of them.
    pub(super) fn of<T: Copy>(&mut self, choices: &[T], otherwise: T) -> T {
        let index = self.below(choices.len());
        choices.get(index).copied().unwrap_or(otherwise)
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Each slot loads half of the time.
    pub(super) fn slots(&mut self) -> [Slot; 2] {
        [(); 2].map(|()| match self.below(8) {
            0 => Slot::Nothing,
            1 => Slot::Broken,
            2 => Slot::NoInitrd,
            3 => Slot::BadInitrd,
            _ => Slot::Loads,
        })
    }

    /// Another value for one byte of the first `length`.
    pub(super) fn damage(&mut self, bytes: &mut [u8], length: usize) {
        let at = self.below(length.min(bytes.len()));
        let flip = u8::try_from(1 + self.below(255)).unwrap_or(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
        }
    }
}
