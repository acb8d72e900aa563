//! Changed stretches: one bit for each byte that is as guessed, more for a surprise.

use super::guess::{Geography, Guess, Guessers, MARGIN};
use crate::coding::bits::Bits;
use crate::coding::chance::{Chance, Chances};
use crate::coding::mix::{Curves, Mixer, opinion};
use crate::space::Space;

/// Opinions on whether the guess is right.
const FLAG_OPINIONS: usize = 6;
/// Contexts of a surprising byte.
const BYTE_CONTEXTS: usize = 7;
/// Opinions on a bit of it: the contexts, two more guesses, and a constant.
const BYTE_OPINIONS: usize = BYTE_CONTEXTS + 3;
/// A constant opinion, for what is true in every situation.
const ALWAYS: i32 = 256;
const HASH_BITS: u32 = 16;

fn hash(salt: u32, value: u64) -> usize {
    let mixed = (value ^ u64::from(salt) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> (64 - 22)).unwrap_or(0)
}

/// The number of bits of a distance, up to 15.
fn magnitude(value: u32) -> u64 {
    u64::from((u32::BITS - value.leading_zeros()).min(15))
}

/// Everything that is learned within a frame. About 2 MiB.
#[derive(Debug)]
pub(crate) struct Surprise {
    curves: Curves,
    guessers: Guessers,
    flags: [Chances; 4],
    flag_mixer: Mixer<FLAG_OPINIONS>,
    bytes: [Chances; BYTE_CONTEXTS],
    byte_mixer: Mixer<BYTE_OPINIONS>,
    /// How well the further guesses for a surprising byte do.
    further: [Chances; 2],
    /// Which of the last bytes were as guessed.
    hits: u32,
    /// Bytes since the last surprise, and between the two before.
    since: u32,
    before: u32,
    /// The last wrong guess missed by so much, for each guesser.
    missed_by: [u8; 16],
    /// The last new bytes.
    recent: u32,
}

impl Surprise {
    pub(crate) fn new() -> Self {
        let likely = Chance::of(0xF000);
        Self {
            curves: Curves::new(),
            guessers: Guessers::new(),
            flags: core::array::from_fn(|_| Chances::new(HASH_BITS, likely)),
            flag_mixer: Mixer::new(256, 20_000),
            bytes: core::array::from_fn(|_| Chances::new(HASH_BITS - 1, Chance::EVEN)),
            byte_mixer: Mixer::new(16 * 8, 14_000),
            further: core::array::from_fn(|_| Chances::new(11, Chance::EVEN)),
            hits: u32::MAX,
            since: 0,
            before: 0,
            missed_by: [0; 16],
            recent: 0,
        }
    }

    /// Forgets everything: a frame begins.
    pub(crate) fn reset(&mut self) {
        self.guessers.reset();
        for table in self
            .flags
            .iter_mut()
            .chain(&mut self.bytes)
            .chain(&mut self.further)
        {
            table.reset();
        }
        self.flag_mixer.reset();
        self.byte_mixer.reset();
        self.hits = u32::MAX;
        self.since = 0;
        self.before = 0;
        self.missed_by = [0; 16];
        self.recent = 0;
    }

    /// A changed stretch begins at the old place `old`.
    pub(crate) fn begin(&mut self, spaces: &[Space], old: u64) {
        self.guessers.begin(spaces, old);
    }

    /// Codes `out`, which lies at `new` and resembles the old bytes at `old`; `window` holds
    /// [`MARGIN`] old bytes before those, and as many after them. Where `free` says so, the
    /// writer's byte does not matter: it becomes what is guessed.
    pub(crate) fn code<B: Bits>(
        &mut self,
        bits: &mut B,
        geography: &Geography<'_>,
        window: &[u8],
        (old, new): (u64, u64),
        out: &mut [u8],
        free: &[bool],
    ) {
        for (place, (index, byte)) in (0_u64..).zip(out.iter_mut().enumerate()) {
            let at = MARGIN + index;
            self.guessers
                .look(geography, window, at, old + place, new + place);
            let free = free.get(index).copied().unwrap_or(false);
            let wanted = (!free).then_some(*byte);
            *byte = self.one(bits, window, at, wanted);
            self.guessers.learn(*byte);
            self.recent = (self.recent << 8) | u32::from(*byte);
        }
    }

    fn one<B: Bits>(&mut self, bits: &mut B, window: &[u8], at: usize, wanted: Option<u8>) -> u8 {
        let (guess, trust, second) = self.guessers.best();
        let wanted = wanted.unwrap_or(guess.byte);
        let around = |index: usize| u64::from(window.get(index).copied().unwrap_or(0));
        let (was, last, next) = (around(at), around(at - 1), around(at + 1));
        let kind = u64::from(guess.kind);
        // Which byte of an instruction says what it may be.
        let lane = self.guessers.lane() << 48;
        let contexts = [
            hash(
                1,
                lane | kind << 9 | u64::from(second.is_some()) << 8 | u64::from(self.hits & 0xff),
            ),
            hash(2, lane | u64::from(guess.byte) << 16 | last << 8 | kind),
            hash(
                3,
                lane | was << 24 | next << 16 | last << 8 | u64::from(self.hits & 3),
            ),
            hash(
                4,
                lane | u64::from(self.since.min(63)) << 16
                    | u64::from(self.before.min(63)) << 8
                    | kind,
            ),
        ];
        let mut opinions = [ALWAYS; FLAG_OPINIONS];
        let (first, rest) = opinions.split_at_mut(1);
        if let [first] = first {
            *first = opinion(&self.curves, trust);
        }
        for ((opinion_of, table), context) in rest.iter_mut().zip(&self.flags).zip(contexts) {
            *opinion_of = opinion(&self.curves, table.get(context));
        }
        let quiet = magnitude(self.since);
        let set = usize::try_from(kind << 4 | quiet).unwrap_or(0);
        let chance = self.flag_mixer.mix(&self.curves, opinions, set);
        let hit = bits.bit(wanted == guess.byte, chance);
        self.flag_mixer.learn(hit, 2);
        for (table, context) in self.flags.iter_mut().zip(contexts) {
            table.at(context).learn(hit, 255);
        }
        self.hits = (self.hits << 1) | u32::from(hit);
        if hit {
            self.since = self.since.saturating_add(1);
            return guess.byte;
        }
        self.before = self.since;
        self.since = 0;
        let second = second.map(|(guess, _)| guess);
        let byte = self.surprising(bits, guess, second, [was, last, next], wanted);
        if let Some(by) = self.missed_by.get_mut(usize::from(guess.kind)) {
            *by = byte.wrapping_sub(guess.byte);
        }
        byte
    }

    fn surprising<B: Bits>(
        &mut self,
        bits: &mut B,
        guess: Guess,
        second: Option<Guess>,
        [was, last, next]: [u64; 3],
        wanted: u8,
    ) -> u8 {
        let kind = u64::from(guess.kind);
        let by = self.missed_by.get(usize::from(guess.kind)).copied();
        let third = guess.byte.wrapping_add(by.unwrap_or(0));
        let recent = u64::from(self.recent);
        let expected = u64::from(guess.byte);
        let contexts = [
            kind << 8,
            expected << 8 | kind,
            (recent & 0xff) << 8,
            (recent & 0xffff) << 8,
            was << 16 | expected << 8 | kind,
            was << 16 | next << 8,
            (recent & 0xff) << 16 | last << 8 | 1,
        ];
        let further = [
            second.map_or((0, 0), |g| (u32::from(g.byte), usize::from(g.kind))),
            (u32::from(third), usize::from(guess.kind)),
        ];
        let lane = self.guessers.lane() << 48;
        let seconds = second.is_some();
        let mut node = 1_u32;
        for place in 0..8_u32 {
            let mut opinions = [ALWAYS; BYTE_OPINIONS];
            let mut indices = [0_usize; BYTE_CONTEXTS];
            for (salt, (index, context)) in (8_u32..).zip(indices.iter_mut().zip(contexts)) {
                *index = hash(salt, lane | context << 8 | u64::from(node));
            }
            let (hashed, rest) = opinions.split_at_mut(BYTE_CONTEXTS);
            for ((value, table), index) in hashed.iter_mut().zip(&self.bytes).zip(indices) {
                *value = opinion(&self.curves, table.get(index));
            }
            let mut spoken = [None; 2];
            for (which, (spoken, (byte, kind))) in spoken.iter_mut().zip(further).enumerate() {
                let agrees = (byte | 256) >> (8 - place) == node;
                if agrees && (which == 1 || seconds) {
                    let bit = (byte >> (7 - place)) & 1 == 1;
                    let index = kind << 3 | usize::try_from(place).unwrap_or(0);
                    *spoken = Some((index, bit));
                }
            }
            for ((value, table), spoken) in rest.iter_mut().zip(&self.further).zip(spoken) {
                *value = spoken.map_or(0, |(index, bit)| {
                    let sure = opinion(&self.curves, table.get(index));
                    if bit { sure } else { -sure }
                });
            }
            let set = usize::try_from(kind << 3 | u64::from(place)).unwrap_or(0);
            let chance = self.byte_mixer.mix(&self.curves, opinions, set);
            let bit = bits.bit((wanted >> (7 - place)) & 1 == 1, chance);
            self.byte_mixer.learn(bit, 4);
            for (table, index) in self.bytes.iter_mut().zip(indices) {
                table.at(index).learn(bit, 127);
            }
            for (table, spoken) in self.further.iter_mut().zip(spoken) {
                if let Some((index, said)) = spoken {
                    table.at(index).learn(said == bit, 255);
                }
            }
            node = node << 1 | u32::from(bit);
        }
        let [byte, ..] = node.to_le_bytes();
        byte
    }
}
