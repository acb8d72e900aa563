//! What the map of old places to new ones gets wrong, learnt while coding.

use super::guess::low32;

/// Corrections of the map, by old place.
#[derive(Debug)]
pub(crate) struct Corrections(Vec<(u32, i32)>);

const CORRECTION_BITS: u32 = 14;

impl Corrections {
    pub(crate) fn new() -> Self {
        Self(vec![(0, 0); 1 << CORRECTION_BITS])
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.0.fill((0, 0));
    }

    fn slot(target: u64) -> (usize, u32) {
        let hash = target.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = usize::try_from(hash >> (64 - CORRECTION_BITS)).unwrap_or(0);
        (index, low32(hash) | 1)
    }

    pub(super) fn get(&self, target: u64) -> u32 {
        let (index, tag) = Self::slot(target);
        match self.0.get(index) {
            Some((known, by)) if *known == tag => by.cast_unsigned(),
            _ => 0,
        }
    }

    /// `mapped`, with the correction for `target`.
    pub(crate) fn correct(&self, target: u64, mapped: u64) -> u64 {
        let by = i64::from(self.get(target).cast_signed());
        mapped.wrapping_add_signed(by)
    }

    pub(crate) fn set(&mut self, target: u64, by: u32) {
        let (index, tag) = Self::slot(target);
        if let Some(place) = self.0.get_mut(index) {
            *place = (tag, by.cast_signed());
        }
    }
}
