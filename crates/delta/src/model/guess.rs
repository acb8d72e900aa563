//! What a byte of the new image may be, given the old image and where its bytes went.

use crate::coding::chance::{Chance, Chances};
use crate::map::AddressMap;
use crate::space::{Machine, Space};

use super::arm::{Arm, Field};
use super::corrections::Corrections;
use super::x86::{is_operand, relative};

/// Who guesses. The order decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The byte is as it was.
    Same,
    /// An operand of an x86-64 instruction that counts from the next one.
    Operand,
    /// A word that is an address.
    Address,
    /// A word that counts from its own place.
    Relative,
    /// A word that counts from the beginning of its table.
    Table,
    /// A word that is a block number of the file system.
    Block,
    /// An AArch64 branch that counts from itself.
    Instruction,
    /// The word changes as the one 4 bytes before did; and so on.
    Stride4,
    Stride8,
    Stride16,
    Stride24,
    /// An AArch64 instruction with a page's number.
    Page,
    /// One with the twelve bits below.
    Offset,
    /// One that counts from itself, and not far.
    Near,
}

pub(crate) const KINDS: usize = 14;
const STRIDES: [(usize, usize); 4] = [
    (Kind::Stride4 as usize, 4),
    (Kind::Stride8 as usize, 8),
    (Kind::Stride16 as usize, 16),
    (Kind::Stride24 as usize, 24),
];

/// The decoder sees so many old bytes before a place and after it.
pub(crate) const MARGIN: usize = 32;

/// A guess for one byte.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Guess {
    pub(crate) byte: u8,
    pub(crate) kind: u8,
    /// Which byte of its word, and whether the word was wrong already.
    pub(crate) detail: u8,
}

/// What guesses about addresses are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geography<'a> {
    pub(crate) map: &'a AddressMap,
    /// In the order of the old image.
    pub(crate) spaces: &'a [Space],
    pub(crate) old_len: u64,
    /// Size of a block of the file system as a power of two; 0 when there is none.
    pub(crate) block_log: u8,
}

/// A word that somebody has an opinion on.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// What it becomes.
    value: u32,
    /// Which old place it points to, when it points.
    target: u64,
    /// What the map alone would have made of it.
    plain: u32,
    live: bool,
    wrong: bool,
}

/// The low 32 bits.
pub(crate) fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The four bytes at `at`, or 0 beyond the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    at.checked_add(4)
        .and_then(|end| bytes.get(at..end))
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn byte_of(word: u32, index: usize) -> u8 {
    word.to_le_bytes().get(index & 3).copied().unwrap_or(0)
}

/// All guesses, and what is known about the guessers.
#[derive(Debug)]
pub(crate) struct Guessers {
    /// How often a guesser is right, by its recent record.
    trust: Chances,
    /// The last eight outcomes of each.
    record: [u8; KINDS],
    corrections: Corrections,
    /// Aligned words, one for each guesser but the first two.
    words: [Word; KINDS],
    /// The operand under way, if any, and how many of its bytes are done.
    operand: Word,
    operand_done: usize,
    arm: Arm,
    /// The address of the AArch64 instruction under way.
    instruction: Option<u64>,
    phase: usize,
    in_words: bool,
    /// The current byte's guesses.
    current: [Guess; KINDS],
    count: usize,
    /// New bytes of this stretch, the last ones at the end.
    recent: [u8; MARGIN],
    known: usize,
    /// Index into the spaces of the one at or after the current place.
    space: usize,
}

fn trust_index(guess: &Guess, record: u8) -> usize {
    (usize::from(guess.kind) << 11) | (usize::from(record) << 3) | usize::from(guess.detail)
}

impl Guessers {
    pub(crate) fn new() -> Self {
        Self {
            trust: Chances::new(15, Chance::of(0xF000)),
            record: [0; KINDS],
            corrections: Corrections::new(),
            words: [Word::default(); KINDS],
            operand: Word::default(),
            operand_done: 4,
            arm: Arm::new(),
            instruction: None,
            phase: 0,
            in_words: false,
            current: [Guess::default(); KINDS],
            count: 0,
            recent: [0; MARGIN],
            known: 0,
            space: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.trust.reset();
        self.record = [0; KINDS];
        self.corrections.clear();
        self.begin(&[], 0);
    }

    /// A stretch begins at the old place `old`: nothing is known about the bytes before it.
    pub(crate) fn begin(&mut self, spaces: &[Space], old: u64) {
        self.words = [Word::default(); KINDS];
        self.operand_done = 4;
        self.arm.begin();
        self.instruction = None;
        self.known = 0;
        self.space = spaces.partition_point(|space| space.old_end() <= old);
    }

    /// The guesses for the byte at `old` and `new`; `window[at]` is the old byte.
    pub(crate) fn look(
        &mut self,
        geography: &Geography<'_>,
        window: &[u8],
        at: usize,
        old: u64,
        new: u64,
    ) -> &[Guess] {
        let space = loop {
            match geography.spaces.get(self.space) {
                Some(space) if space.old_end() <= old => self.space += 1,
                Some(space) if space.old <= old => break Some(space),
                _ => break None,
            }
        };
        let start = space.map_or(0, |space| space.old);
        let phase = usize::try_from((old - start) & 3).unwrap_or(0);
        self.phase = phase;
        if phase == 0 {
            self.instruction = None;
            self.words = [Word::default(); KINDS];
            self.look_at_word(geography, space, window, at, old, new);
        }
        if self.operand_done == 4 && space.is_none_or(|s| s.machine == Machine::X86_64) {
            self.look_at_operand(geography, space, window, at, old, new);
        }
        self.count = 0;
        let was = window.get(at).copied().unwrap_or(0);
        // All AArch64 instructions are words.
        self.in_words = space.is_some_and(|space| space.machine == Machine::AArch64);
        let detail = if self.in_words { phase } else { 0 };
        self.add(Kind::Same as usize, was, detail);
        if self.operand_done < 4 {
            let done = self.operand_done;
            let (value, wrong) = (self.operand.value, self.operand.wrong);
            self.add(
                Kind::Operand as usize,
                byte_of(value, done),
                done | usize::from(wrong) << 2,
            );
        }
        for kind in Kind::Address as usize..KINDS {
            if let Some(word) = self.words.get(kind).copied().filter(|word| word.live) {
                let detail = phase | usize::from(word.wrong) << 2;
                self.add(kind, byte_of(word.value, phase), detail);
            }
        }
        self.current.get(..self.count).unwrap_or_default()
    }

    /// Tells the bytes of an instruction apart where all instructions are words; else 0.
    pub(crate) fn lane(&self) -> u64 {
        if self.in_words {
            self.phase as u64 + 1
        } else {
            0
        }
    }

    fn add(&mut self, kind: usize, byte: u8, detail: usize) {
        if let Some(place) = self.current.get_mut(self.count) {
            *place = Guess {
                byte,
                kind: u8::try_from(kind).unwrap_or(0),
                detail: u8::try_from(detail).unwrap_or(0),
            };
            self.count += 1;
        }
    }

    fn set_word(&mut self, kind: Kind, was: u32, value: u32, target: u64) {
        let value_now = if target == 0 {
            value
        } else {
            value.wrapping_add(self.corrections.get(target))
        };
        if let Some(place) = self.words.get_mut(kind as usize) {
            *place = Word {
                value: value_now,
                target,
                plain: value,
                live: value_now != was,
                wrong: false,
            };
        }
    }

    fn look_at_word(
        &mut self,
        geography: &Geography<'_>,
        space: Option<&Space>,
        window: &[u8],
        at: usize,
        old: u64,
        new: u64,
    ) {
        if let Some(space) = space.filter(|space| space.machine == Machine::AArch64)
            && self.look_at_instruction(geography, space, (window, at), (old, new))
        {
            return;
        }
        let was = word(window, at);
        if was != 0 {
            let map = geography.map;
            if let Some(space) = space {
                let target = u64::from(was);
                if let Some(now) = space.moved(target, map) {
                    let key = target.wrapping_add(space.old);
                    self.set_word(Kind::Address, was, low32(now), key);
                }
                if space.old_table != 0 {
                    let target = space
                        .old_table
                        .wrapping_add_signed(i64::from(was.cast_signed()));
                    if let Some(now) = space.moved(target, map) {
                        let now = low32(now.wrapping_sub(space.new_table));
                        let key = target.wrapping_add(space.old);
                        self.set_word(Kind::Table, was, now, key);
                    }
                }
            }
            if let Some((target, now)) = relative(geography, space, old, new, was, 0) {
                self.set_word(Kind::Relative, was, now, target);
            }
            if geography.block_log != 0 {
                let target = u64::from(was) << geography.block_log;
                if target < geography.old_len
                    && let Some(shift) = map.shift(target)
                {
                    let by = shift >> geography.block_log;
                    let now = was.wrapping_add(low32(by.cast_unsigned()));
                    self.set_word(Kind::Block, was, now, 0);
                }
            }
        }
        for (kind, stride) in STRIDES {
            if self.known < stride || at < stride {
                continue;
            }
            let before = word(&self.recent, MARGIN - stride);
            let by = before.wrapping_sub(word(window, at - stride));
            if by != 0
                && let Some(place) = self.words.get_mut(kind)
            {
                place.value = was.wrapping_add(by);
                place.live = true;
            }
        }
    }

    /// Whether there is an AArch64 instruction with an opinion on it. Others have none then.
    fn look_at_instruction(
        &mut self,
        geography: &Geography<'_>,
        space: &Space,
        code: (&[u8], usize),
        (old, new): (u64, u64),
    ) -> bool {
        self.instruction = space.old_address(old);
        let map = (space, geography.map);
        let found = self.arm.look(map, &self.corrections, code, (old, new));
        let Some((field, value)) = found else {
            return false;
        };
        let kind = match field {
            Field::Branch => Kind::Instruction,
            Field::Page => Kind::Page,
            Field::Offset(_) => Kind::Offset,
            Field::Near(_) => Kind::Near,
        };
        if let Some(place) = self.words.get_mut(kind as usize) {
            place.value = value;
            place.live = true;
        }
        true
    }

    fn look_at_operand(
        &mut self,
        geography: &Geography<'_>,
        space: Option<&Space>,
        window: &[u8],
        at: usize,
        old: u64,
        new: u64,
    ) {
        let byte = |back: usize| {
            at.checked_sub(back)
                .and_then(|index| window.get(index))
                .copied()
                .unwrap_or(0)
        };
        if !is_operand(byte(2), byte(1)) {
            return;
        }
        let was = word(window, at);
        if was.cast_signed().unsigned_abs() >= 1 << 28 {
            return;
        }
        if let Some((target, plain)) = relative(geography, space, old, new, was, 4) {
            self.operand = Word {
                value: plain.wrapping_add(self.corrections.get(target)),
                target,
                plain,
                live: true,
                wrong: false,
            };
            self.operand_done = 0;
        }
    }

    /// The guess that is most often right, and the best of those that differ from it.
    pub(crate) fn best(&self) -> (Guess, Chance, Option<(Guess, Chance)>) {
        let trusted = |guess: &Guess| {
            let record = self.record.get(usize::from(guess.kind)).copied();
            self.trust.get(trust_index(guess, record.unwrap_or(0)))
        };
        let guesses = self.current.get(..self.count).unwrap_or_default();
        let mut best = (Guess::default(), Chance::of(1));
        for guess in guesses {
            let chance = trusted(guess);
            if chance.get() > best.1.get() {
                best = (*guess, chance);
            }
        }
        let mut second: Option<(Guess, Chance)> = None;
        for guess in guesses.iter().filter(|guess| guess.byte != best.0.byte) {
            let chance = trusted(guess);
            if second.is_none_or(|(_, known)| chance.get() > known.get()) {
                second = Some((*guess, chance));
            }
        }
        (best.0, best.1, second)
    }

    /// The byte turned out to be `byte`.
    pub(crate) fn learn(&mut self, byte: u8) {
        for guess in self.current.get(..self.count).unwrap_or_default() {
            let right = guess.byte == byte;
            let kind = usize::from(guess.kind);
            if let Some(record) = self.record.get_mut(kind) {
                self.trust.at(trust_index(guess, *record)).learn(right, 255);
                *record = (*record << 1) | u8::from(right);
            }
            if kind >= Kind::Address as usize {
                let phase = usize::from(guess.detail & 3);
                if let Some(word) = self.words.get_mut(kind) {
                    adjust(word, phase, guess.byte, byte);
                    if phase == 3 && word.target != 0 {
                        let by = word.value.wrapping_sub(word.plain);
                        self.corrections.set(word.target, by);
                    }
                }
            }
        }
        self.recent.rotate_left(1);
        if let Some(last) = self.recent.last_mut() {
            *last = byte;
        }
        self.known = (self.known + 1).min(MARGIN);
        if self.phase == 3
            && let Some(here) = self.instruction
        {
            let now = word(&self.recent, MARGIN - 4);
            self.arm.learn(now, here, &mut self.corrections);
        }
        if self.operand_done < 4 {
            let guessed = byte_of(self.operand.value, self.operand_done);
            adjust(&mut self.operand, self.operand_done, guessed, byte);
            self.operand_done += 1;
            if self.operand_done == 4 {
                let by = self.operand.value.wrapping_sub(self.operand.plain);
                self.corrections.set(self.operand.target, by);
            }
        }
    }
}

/// After a wrong byte the rest of the word is guessed from what it is then: its value becomes the
/// nearest one with that byte.
fn adjust(word: &mut Word, index: usize, guessed: u8, byte: u8) {
    if guessed != byte {
        let by = i32::from(byte.wrapping_sub(guessed).cast_signed());
        let by = by
            .cast_unsigned()
            .wrapping_shl(8 * u32::try_from(index & 3).unwrap_or(0));
        word.value = word.value.wrapping_add(by);
        word.wrong = true;
    }
}
