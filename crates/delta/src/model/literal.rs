//! Bytes that no run covers, one by one: what stood near their neighbours, and what was sent before.

use crate::coding::bits::Bits;
use crate::coding::chance::{Chance, Chances, Owned};
use crate::coding::mix::{Curves, Mixer, opinion};

/// Contexts of a byte: the 1, 2, 3, 4 and 6 bytes before it, some of them with holes, for tables,
/// and the neighbours' guesses.
const CONTEXTS: usize = 10;
/// A followed place that was wrong more often is left.
const PATIENCE: u32 = 8;
/// Who names a byte: the run before, the run after, and the last place with the same bytes.
const VOICES: usize = 3;
const OPINIONS: usize = CONTEXTS + VOICES + 1;
const ALWAYS: i32 = 256;
const HASH_BITS: u32 = 16;
/// Sent bytes that are remembered, as a power of two.
const HISTORY_BITS: u32 = 17;
/// Places that are remembered by the five bytes before them.
const PLACE_BITS: u32 = 15;
/// A place must share so many bytes to be followed.
const SHORTEST: usize = 5;

fn hash(salt: u64, value: u64) -> usize {
    let mixed = (value ^ salt << 58).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> 40).unwrap_or(0)
}

fn hash32(salt: u64, value: u64) -> u32 {
    let mixed = (value ^ salt << 58).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    u32::try_from(mixed >> 32).unwrap_or(0)
}

/// Everything that is learned about literals within a frame. About 3 MiB.
#[derive(Debug)]
pub(crate) struct Literals {
    curves: Curves,
    tables: [Owned; CONTEXTS],
    voices: [Chances; VOICES],
    /// How often each voice was right lately.
    record: [u8; VOICES],
    mixer: Mixer<OPINIONS>,
    history: Vec<u8>,
    count: usize,
    places: Vec<u32>,
    /// The place in the history that is followed, if any, and for how many bytes it was right.
    followed: usize,
    agreed: usize,
    /// How often it was wrong lately.
    wrong: u32,
    following: bool,
    /// The last eight bytes, the latest lowest.
    recent: u64,
}

impl Literals {
    pub(crate) fn new() -> Self {
        Self {
            curves: Curves::new(),
            tables: core::array::from_fn(|_| Owned::new(HASH_BITS)),
            voices: core::array::from_fn(|_| Chances::new(12, Chance::of(0xC000))),
            record: [0; VOICES],
            mixer: Mixer::new(256 * 3, 14_000),
            history: vec![0; 1 << HISTORY_BITS],
            count: 0,
            places: vec![0; 1 << PLACE_BITS],
            followed: 0,
            agreed: 0,
            wrong: 0,
            following: false,
            recent: 0,
        }
    }

    /// Forgets everything: a frame begins.
    pub(crate) fn reset(&mut self) {
        self.tables.iter_mut().for_each(Owned::reset);
        self.voices.iter_mut().for_each(Chances::reset);
        self.record = [0; VOICES];
        self.mixer.reset();
        self.history.fill(0);
        self.count = 0;
        self.places.fill(0);
        self.followed = 0;
        self.agreed = 0;
        self.following = false;
        self.recent = 0;
    }

    fn past(&self, place: usize) -> u8 {
        let index = place & ((1 << HISTORY_BITS) - 1);
        self.history.get(index).copied().unwrap_or(0)
    }

    /// Codes one byte, for which the neighbours guess `near`.
    pub(crate) fn code<B: Bits>(&mut self, bits: &mut B, near: [Option<u8>; 2], wanted: u8) -> u8 {
        let past = self.following.then(|| self.past(self.followed));
        let [before, after] = near;
        let voices = [before, after, past];
        let named = |voice: Option<u8>| voice.map_or(256, u64::from);
        let recent = self.recent;
        let contexts = [
            recent & 0xff,
            recent & 0xffff,
            recent & 0xff_ffff,
            recent & 0xffff_ffff,
            recent & 0xffff_ffff_ffff,
            recent & 0xff00_0000_ff00_0000,
            recent & 0xff00_ff00,
            recent & 0xff00_0000_0000_0000,
            named(before) << 9 | named(after),
            named(before) << 16 | recent & 0xffff,
        ];
        let length = match self.agreed {
            _ if !self.following => 0,
            0 => 1,
            1..=3 => 2,
            4..=7 => 3,
            8..=15 => 4,
            16..=31 => 5,
            _ => 6,
        };
        let mut node = 1_u32;
        for place in 0..8_u32 {
            let mut opinions = [ALWAYS; OPINIONS];
            let mut indices = [0_usize; CONTEXTS];
            let tables = (1_u64..).zip(self.tables.iter_mut());
            for ((index, context), (salt, table)) in indices.iter_mut().zip(contexts).zip(tables) {
                *index = table.claim(hash32(salt, context << 8 | u64::from(node)));
            }
            let (hashed, rest) = opinions.split_at_mut(CONTEXTS);
            for ((value, table), index) in hashed.iter_mut().zip(&self.tables).zip(indices) {
                let (chance, seen) = table.get(index);
                *value = if seen == 0 {
                    0
                } else {
                    self.curves.stretch(chance)
                };
            }
            let mut spoken = [None; VOICES];
            let mut speakers = 0_usize;
            for (which, (spoken, voice)) in spoken.iter_mut().zip(voices).enumerate() {
                let Some(byte) = voice.map(u32::from) else {
                    continue;
                };
                if (byte | 256) >> (8 - place) != node {
                    continue;
                }
                speakers |= 1 << which;
                let record = self.record.get(which).copied().map_or(0, usize::from);
                let record = if which == 2 { length } else { record };
                let index = record << 3 | usize::try_from(place).unwrap_or(0);
                *spoken = Some((index, (byte >> (7 - place)) & 1 == 1));
            }
            for ((value, table), spoken) in rest.iter_mut().zip(&self.voices).zip(spoken) {
                *value = spoken.map_or(0, |(index, bit)| {
                    let sure = opinion(&self.curves, table.get(index));
                    if bit { sure } else { -sure }
                });
            }
            let set = (length * 8 + speakers) * 8 + usize::try_from(place).unwrap_or(0);
            let chance = self.mixer.mix(&self.curves, opinions, set);
            let bit = bits.bit((wanted >> (7 - place)) & 1 == 1, chance);
            self.mixer.learn(bit, 3);
            for (table, index) in self.tables.iter_mut().zip(indices) {
                table.learn(index, bit, 60);
            }
            for (table, spoken) in self.voices.iter_mut().zip(spoken) {
                if let Some((index, said)) = spoken {
                    table.at(index).learn(said == bit, 255);
                }
            }
            node = node << 1 | u32::from(bit);
        }
        let [byte, ..] = node.to_le_bytes();
        for (record, voice) in self.record.iter_mut().zip(voices) {
            if let Some(said) = voice {
                *record = *record << 1 | u8::from(said == byte);
            }
        }
        self.remember(byte, past);
        byte
    }

    fn remember(&mut self, byte: u8, past: Option<u8>) {
        let index = self.count & ((1 << HISTORY_BITS) - 1);
        if let Some(place) = self.history.get_mut(index) {
            *place = byte;
        }
        self.count = self.count.wrapping_add(1);
        self.recent = self.recent << 8 | u64::from(byte);
        self.followed = self.followed.wrapping_add(1);
        if past == Some(byte) {
            self.agreed += 1;
        } else {
            self.agreed = 0;
            self.wrong += 1;
            self.following = self.following && self.wrong <= PATIENCE;
        }
        if self.agreed > 15 {
            self.wrong = 0;
        }
        let key = hash(9, self.recent & 0xff_ffff_ffff) & ((1 << PLACE_BITS) - 1);
        let known = self.places.get(key).copied().unwrap_or(0);
        if self.agreed == 0 && known > 0 {
            let known = usize::try_from(known).unwrap_or(0);
            let same = (1..=32)
                .take_while(|back| {
                    known >= *back
                        && self.count - known < (1 << HISTORY_BITS) - 32
                        && self.past(known - back) == self.past(self.count - back)
                })
                .count();
            if same >= SHORTEST {
                self.followed = known;
                self.agreed = same;
                self.following = true;
                self.wrong = 0;
            }
        }
        if let Some(place) = self.places.get_mut(key) {
            *place = u32::try_from(self.count).unwrap_or(0);
        }
    }
}
