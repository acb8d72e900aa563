//! Chances that learn.

/// A chance of a set bit, which moves towards what is seen: fast at first, slower with each bit.
///
/// The upper 22 bits are the chance, the lower 10 count what it has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(u32);

const COUNT_BITS: u32 = 10;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
const ONE: u32 = (1 << 22) - 1;

/// How far to move after `n` bits: 65,536 / (n + 1.5).
const STEPS: [u16; 1 << COUNT_BITS] = steps();

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time"
)]
const fn steps() -> [u16; 1 << COUNT_BITS] {
    let mut table = [0; 1 << COUNT_BITS];
    let mut n = 0;
    while n < table.len() {
        table[n] = (131_072 / (2 * n + 3)) as u16;
        n += 1;
    }
    table
}

impl Chance {
    /// As likely set as not, nothing seen.
    pub(crate) const EVEN: Self = Self::of(1 << 15);

    /// `chance` / 65,536, nothing seen.
    pub(crate) const fn of(chance: u16) -> Self {
        Self((chance as u32) << 16)
    }

    /// In 1/65,536; never 0.
    pub(crate) fn get(self) -> u16 {
        u16::try_from(self.0 >> 16).unwrap_or(u16::MAX).max(1)
    }

    /// Learns from one bit. After `slowest` bits the pace stays as it is.
    pub(crate) fn learn(&mut self, bit: bool, slowest: u32) {
        let seen = self.0 & COUNT_MASK;
        let chance = self.0 >> COUNT_BITS;
        let step = STEPS
            .get(usize::try_from(seen).unwrap_or(0))
            .copied()
            .map_or(0, u64::from);
        let moved = if bit {
            let way = (u64::from(ONE - chance) * step) >> 16;
            chance + u32::try_from(way).unwrap_or(0)
        } else {
            let way = (u64::from(chance) * step) >> 16;
            chance - u32::try_from(way).unwrap_or(0)
        };
        let seen = if seen < slowest { seen + 1 } else { seen };
        self.0 = (moved << COUNT_BITS) | seen;
    }
}

/// A table of chances, reached through a number of any size.
#[derive(Debug)]
pub(crate) struct Chances {
    table: Vec<Chance>,
    mask: usize,
    start: Chance,
    none: Chance,
}

impl Chances {
    /// 2^`bits` of them, each as `start`.
    pub(crate) fn new(bits: u32, start: Chance) -> Self {
        let length = 1_usize << bits;
        Self {
            table: vec![start; length],
            mask: length - 1,
            start,
            none: start,
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.table.fill(self.start);
    }

    pub(crate) fn get(&self, index: usize) -> Chance {
        self.table
            .get(index & self.mask)
            .copied()
            .unwrap_or(self.none)
    }

    pub(crate) fn at(&mut self, index: usize) -> &mut Chance {
        self.table
            .get_mut(index & self.mask)
            .unwrap_or(&mut self.none)
    }
}

/// A table of chances by a hash, each with a few bits that tell whose it is: a chance of somebody
/// else would be worse than none.
///
/// The upper 16 bits are the chance, 6 count what it has seen, 10 name the owner.
#[derive(Debug)]
pub(crate) struct Owned {
    table: Vec<u32>,
    bits: u32,
    none: u32,
}

const UNSEEN: u32 = 1 << 31;

impl Owned {
    /// 2^`bits` of them.
    pub(crate) fn new(bits: u32) -> Self {
        Self {
            table: vec![UNSEEN; 1 << bits],
            bits,
            none: UNSEEN,
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.table.fill(UNSEEN);
    }

    /// The place for a hash of 32 bits, cleared when it was another's.
    pub(crate) fn claim(&mut self, hash: u32) -> usize {
        let index = usize::try_from(hash >> (32 - self.bits)).unwrap_or(0);
        let owner = (hash ^ (hash >> 10)) & 0x3ff;
        if let Some(slot) = self.table.get_mut(index)
            && *slot & 0x3ff != owner
        {
            *slot = UNSEEN | owner;
        }
        index
    }

    /// The chance at a place in 1/65,536, and how many bits it has seen.
    pub(crate) fn get(&self, index: usize) -> (u16, u32) {
        let slot = self.table.get(index).copied().unwrap_or(UNSEEN);
        let chance = u16::try_from(slot >> 16).unwrap_or(u16::MAX).max(1);
        (chance, (slot >> 10) & 0x3f)
    }

    pub(crate) fn learn(&mut self, index: usize, bit: bool, slowest: u32) {
        let slot = self.table.get_mut(index).unwrap_or(&mut self.none);
        let seen = (*slot >> 10) & 0x3f;
        let step = STEPS
            .get(usize::try_from(seen).unwrap_or(0))
            .copied()
            .map_or(0, u32::from);
        let chance = *slot >> 16;
        let moved = if bit {
            chance + (((0xffff - chance) * step) >> 16)
        } else {
            chance - ((chance * step) >> 16)
        };
        let seen = if seen < slowest { seen + 1 } else { seen };
        *slot = moved << 16 | seen << 10 | *slot & 0x3ff;
    }
}
