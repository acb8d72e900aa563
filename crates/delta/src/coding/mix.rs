//! Several opinions on one bit, weighed by how often each was right. Integers only: both sides
//! must come to the same chance on every processor.

use super::chance::Chance;

/// The logistic curve and its inverse, in units of 1/170: chances of one in 65,536 are reached.
#[derive(Debug)]
pub(crate) struct Curves {
    /// ln(p / (1 - p)) for p = (i + 1/2) / 4,096.
    stretch: Vec<i16>,
    /// 65,536 / (1 + exp(-(i - 2,048) / 170)).
    squash: Vec<u16>,
}

/// The farthest from even that is told apart.
const FAR: i32 = 2047;

/// Every 64th value of the logistic curve, from -2,048 to 2,048.
const SQUASH: [u16; 65] = [
    1, 1, 1, 1, 2, 3, 4, 5, 8, 11, 17, 24, 35, 51, 75, 109, 158, 230, 335, 487, 708, 1026, 1484,
    2141, 3073, 4384, 6199, 8659, 11898, 16008, 20983, 26672, 32768, 38864, 44553, 49528, 53638,
    56877, 59337, 61152, 62463, 63395, 64052, 64510, 64828, 65049, 65201, 65306, 65378, 65427,
    65461, 65485, 65501, 65512, 65519, 65525, 65528, 65531, 65532, 65533, 65534, 65535, 65535,
    65535, 65535,
];

impl Curves {
    pub(crate) fn new() -> Self {
        let mut squash = Vec::with_capacity(4096);
        for pair in SQUASH.windows(2) {
            let [from, to] = pair else { continue };
            for part in 0..64_u32 {
                let value = u32::from(*from) * (64 - part) + u32::from(*to) * part;
                squash.push(u16::try_from(value / 64).unwrap_or(u16::MAX));
            }
        }
        let mut stretch = Vec::with_capacity(4096);
        let mut x = 0_usize;
        for i in 0..4096_u32 {
            let chance = i * 16 + 8;
            while squash.get(x).is_some_and(|s| u32::from(*s) < chance) {
                x += 1;
            }
            stretch.push(i16::try_from(x).unwrap_or(0) - 2048);
        }
        Self { stretch, squash }
    }

    pub(crate) fn stretch(&self, chance: u16) -> i32 {
        self.stretch
            .get(usize::from(chance >> 4))
            .copied()
            .map_or(0, i32::from)
    }

    fn squash(&self, value: i32) -> u16 {
        usize::try_from(value + FAR + 1)
            .ok()
            .and_then(|index| self.squash.get(index))
            .copied()
            .unwrap_or(1 << 15)
    }
}

/// Weighs `N` opinions. Which set of weights is used depends on the situation.
#[derive(Debug)]
pub(crate) struct Mixer<const N: usize> {
    sets: Vec<[i32; N]>,
    spare: [i32; N],
    start: i32,
    inputs: [i32; N],
    set: usize,
    chance: u16,
}

impl<const N: usize> Mixer<N> {
    /// `sets` sets of weights, each weight `start` / 65,536.
    pub(crate) fn new(sets: usize, start: i32) -> Self {
        Self {
            sets: vec![[start; N]; sets],
            spare: [start; N],
            start,
            inputs: [0; N],
            set: 0,
            chance: 1 << 15,
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.sets.fill([self.start; N]);
    }

    /// The chance that follows from `inputs`, with the weights of `set`.
    pub(crate) fn mix(&mut self, curves: &Curves, inputs: [i32; N], set: usize) -> u16 {
        self.inputs = inputs;
        self.set = set;
        let weights = self.sets.get(set).unwrap_or(&self.spare);
        let sum: i64 = weights
            .iter()
            .zip(&inputs)
            .map(|(weight, input)| i64::from(*weight) * i64::from(*input))
            .sum();
        let value = (sum >> 16).clamp(i64::from(-FAR), i64::from(FAR));
        self.chance = curves.squash(i32::try_from(value).unwrap_or(0));
        self.chance
    }

    /// Moves the weights that were used last towards those that would have been right.
    pub(crate) fn learn(&mut self, bit: bool, pace: i32) {
        let wanted = if bit { 65_535 } else { 0 };
        let error = wanted - i32::from(self.chance);
        let weights = self.sets.get_mut(self.set).unwrap_or(&mut self.spare);
        for (weight, input) in weights.iter_mut().zip(&self.inputs) {
            // |input| < 2^11, |error| < 2^16, pace < 2^4: no overflow.
            let step = (input * error / 16 * pace + (1 << 13)) >> 14;
            *weight = weight.saturating_add(step).clamp(-(1 << 20), 1 << 20);
        }
    }
}

/// A chance as an opinion.
pub(crate) fn opinion(curves: &Curves, chance: Chance) -> i32 {
    curves.stretch(chance.get())
}
