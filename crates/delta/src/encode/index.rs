//! Finds where the old image has the same bytes as a place of the new one.

/// Candidates for one hash.
const WAYS: usize = 4;
const FREE: u32 = u32::MAX;

/// Places of the old image by a hash of the bytes there.
#[derive(Debug)]
pub(super) struct Index {
    table: Vec<u32>,
    /// 2^bits buckets are in use.
    bits: u32,
    /// Every so many bytes a place is kept.
    stride: usize,
    /// So many bytes are hashed: 12 or 24.
    window: usize,
    /// Where the indexed bytes begin in the old image.
    start: usize,
}

pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn four(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(
        bytes[at..at + 4].try_into().expect("four bytes"),
    ))
}

/// Whether the window at `at` is one byte again and again.
pub(super) fn is_constant(bytes: &[u8], at: usize, window: usize) -> bool {
    let first = eight(bytes, at);
    first == first.rotate_left(8) && first == eight(bytes, at + window - 8) && {
        window < 17 || first == eight(bytes, at + 8)
    }
}

impl Index {
    pub(super) fn empty() -> Self {
        Self {
            table: Vec::new(),
            bits: 0,
            stride: 1,
            window: 12,
            start: 0,
        }
    }

    fn hash(&self, bytes: &[u8], at: usize) -> usize {
        let first = eight(bytes, at).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = if self.window == 12 {
            first ^ (four(bytes, at + 8).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).rotate_left(31)
        } else {
            first
                ^ eight(bytes, at + 8)
                    .wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
                    .rotate_left(31)
                ^ eight(bytes, at + 16)
                    .wrapping_mul(0x1656_67B1_9E37_79F9)
                    .rotate_left(17)
        };
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> (64 - self.bits)) as usize
    }

    /// Indexes a whole image in at most `memory` bytes, with two threads.
    pub(super) fn whole(old: &[u8], memory: usize) -> Self {
        let mut stride = 8;
        while old.len() / stride * 4 > memory {
            stride *= 2;
        }
        let mut index = Self {
            table: Vec::new(),
            bits: bits_for(old.len() / stride),
            stride,
            window: 24,
            start: 0,
        };
        let mut table = vec![FREE; WAYS << index.bits];
        // Each thread fills its half of the buckets: the outcome does not depend on their pace.
        let half = table.len() / 2;
        let (low, high) = table.split_at_mut(half);
        std::thread::scope(|scope| {
            let index = &index;
            scope.spawn(move || index.insert(low, 0, old));
            index.insert(high, half, old);
        });
        index.table = table;
        index
    }

    /// Indexes every place of `old[start..end]`, in the memory of the index before.
    pub(super) fn local(&mut self, old: &[u8], start: usize, end: usize) {
        self.bits = bits_for(2 * (end - start));
        self.stride = 1;
        self.window = 12;
        self.start = start;
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        table.resize(WAYS << self.bits, FREE);
        self.insert(&mut table, 0, &old[start..end]);
        self.table = table;
    }

    fn insert(&self, part: &mut [u32], first: usize, old: &[u8]) {
        let Some(last) = old.len().checked_sub(self.window) else {
            return;
        };
        for (number, at) in (0..=last).step_by(self.stride).enumerate() {
            if is_constant(old, at, self.window) {
                continue;
            }
            let slot = self.hash(old, at) * WAYS;
            if slot < first || slot - first >= part.len() {
                continue;
            }
            let ways = &mut part[slot - first..slot - first + WAYS];
            keep(ways, number as u32);
        }
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Where the old image may have the bytes that are at `at` of the new one.
    pub(super) fn find(&self, new: &[u8], at: usize) -> impl Iterator<Item = usize> + '_ {
        let slot = self.hash(new, at) * WAYS;
        self.table[slot..slot + WAYS]
            .iter()
            .take_while(|way| **way != FREE)
            .map(|way| *way as usize * self.stride + self.start)
    }
}

/// Keeps a place in its bucket. What occurs often is represented by its first places and a late
/// one. Most buckets are not in a cache: without a branch on what is in them, the processor waits
/// for several at once.
fn keep(ways: &mut [u32], number: u32) {
    let taken = ways.iter().filter(|way| **way != FREE).count();
    let place = &mut ways[taken.min(WAYS - 1)];
    let kept = taken < WAYS || number % 4 == 3;
    *place = if kept { number } else { *place };
}

fn bits_for(places: usize) -> u32 {
    let buckets = (places / WAYS).next_power_of_two();
    buckets.trailing_zeros().clamp(8, 28)
}

#[cfg(test)]
mod tests {
    use super::{FREE, WAYS, keep};

    #[test]
    fn first_places_and_a_late_one_are_kept() {
        let mut ways = [FREE; WAYS];
        let mut seen = Vec::new();
        for number in [5, 6, 8, 9, 10, 11, 12, 14, 15, 16] {
            keep(&mut ways, number);
            seen.push(ways);
        }
        assert_eq!(seen[0], [5, FREE, FREE, FREE]);
        assert_eq!(seen[3], [5, 6, 8, 9]);
        assert_eq!(seen[4], [5, 6, 8, 9]);
        assert_eq!(seen[5], [5, 6, 8, 11]);
        assert_eq!(seen[9], [5, 6, 8, 15]);
    }
}
