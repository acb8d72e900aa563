//! AArch64 instructions that name a place: branches, which count from themselves, and the two
//! halves of an address: `adrp` has its page, an `add` or a load behind it the twelve bits below.

use super::corrections::Corrections;
use super::guess::{low32, word};
use crate::map::AddressMap;
use crate::space::Space;

/// What part of an instruction says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// `b`, `bl`: 26 bits of words.
    Branch,
    /// `adrp`: 21 bits of pages, the lowest two apart.
    Page,
    /// `add`, or a load or store: twelve bits, in units of the power of two.
    Offset(u32),
    /// Conditional branches and loads of literals: so many bits of words, from bit 5 on.
    Near(u32),
}

impl Field {
    fn of(instruction: u32) -> Option<Self> {
        if instruction & 0x7C00_0000 == 0x1400_0000 {
            return Some(Self::Branch);
        }
        if instruction & 0x9F00_0000 == 0x9000_0000 {
            return Some(Self::Page);
        }
        if instruction & 0xFFC0_0000 == 0x9100_0000 {
            return Some(Self::Offset(0));
        }
        if instruction & 0x3B00_0000 == 0x3900_0000 {
            // Registers of 128 bits have a size of their own.
            let wide = instruction & 0x0480_0000 == 0x0480_0000;
            return Some(Self::Offset(instruction >> 30 | u32::from(wide) << 2));
        }
        if instruction & 0xFF00_0010 == 0x5400_0000
            || instruction & 0x7E00_0000 == 0x3400_0000
            || instruction & 0x3B00_0000 == 0x1800_0000
        {
            return Some(Self::Near(19));
        }
        (instruction & 0x7E00_0000 == 0x3600_0000).then_some(Self::Near(14))
    }

    const fn mask(self) -> u32 {
        match self {
            Self::Branch => 0x03FF_FFFF,
            Self::Page => 0x60FF_FFE0,
            Self::Offset(_) => 0x003F_FC00,
            Self::Near(bits) => ((1 << bits) - 1) << 5,
        }
    }

    /// Where the instruction `word` at the address `here` points; `page` is what its register
    /// holds.
    fn target(self, word: u32, here: u64, page: Option<u64>) -> Option<u64> {
        let signed = |value: u32, bits: u32| {
            let up = 32 - bits;
            i64::from((value << up).cast_signed() >> up)
        };
        match self {
            Self::Branch => here.checked_add_signed(signed(word, 26) * 4),
            Self::Page => {
                let pages = ((word >> 5) & 0x7_FFFF) << 2 | (word >> 29) & 3;
                (here & !0xFFF).checked_add_signed(signed(pages, 21) * 4096)
            }
            Self::Offset(scale) => page?.checked_add(u64::from((word >> 10) & 0xFFF) << scale),
            Self::Near(bits) => here.checked_add_signed(signed(word >> 5, bits) * 4),
        }
    }

    /// `was`, pointing to `target` from `here`.
    fn point(self, was: u32, here: u64, target: u64) -> u32 {
        let words = low32(target.wrapping_sub(here) >> 2);
        let bits = match self {
            Self::Branch => words,
            Self::Page => {
                let pages = low32((target >> 12).wrapping_sub(here >> 12));
                (pages & 3) << 29 | (pages >> 2 & 0x7_FFFF) << 5
            }
            Self::Offset(scale) => (low32(target & 0xFFF) >> scale) << 10,
            Self::Near(_) => words << 5,
        };
        was & !self.mask() | bits & self.mask()
    }
}

/// A register with a page's address: in the old program, and in the new one.
#[derive(Debug, Clone, Copy)]
struct Page {
    old: u64,
    new: u64,
}

/// What the current instruction points to.
#[derive(Debug, Clone, Copy)]
struct Aim {
    was: u32,
    there: u64,
    /// What it points to, where known: in the old program, as in [`Corrections`], …
    key: u64,
    /// … and in the new one, as the map has it.
    mapped: u64,
}

/// What is known about the code at a place.
#[derive(Debug)]
pub(crate) struct Arm {
    pages: [Option<Page>; 32],
    aim: Option<Aim>,
    /// The code before the place was looked at.
    under_way: bool,
}

/// So many instructions around a place are looked at: the old bytes that the decoder has.
const AROUND: usize = 7;

const fn register(word: u32, from: u32) -> usize {
    (word >> from & 31) as usize
}

impl Arm {
    pub(crate) const fn new() -> Self {
        Self {
            pages: [None; 32],
            aim: None,
            under_way: false,
        }
    }

    /// A stretch begins: nothing is known about the code before it.
    pub(crate) fn begin(&mut self) {
        *self = Self::new();
    }

    fn page(&self, word: u32) -> Option<Page> {
        self.pages.get(register(word, 5)).copied().flatten()
    }

    /// What the instruction at `old`, which is at `new` now, becomes; `window[at..]` has the old
    /// one.
    pub(crate) fn look(
        &mut self,
        (space, map): (&Space, &AddressMap),
        corrections: &Corrections,
        (window, at): (&[u8], usize),
        (old, new): (u64, u64),
    ) -> Option<(Field, u32)> {
        self.aim = None;
        let here = space.old_address(old)?;
        let there = space.new_address(new)?;
        if !self.under_way {
            self.under_way = true;
            for back in (1..=AROUND).rev() {
                let by = 4 * back;
                let Some(at) = at.checked_sub(by) else {
                    continue;
                };
                let by = by as u64;
                let (here, there) = (here.wrapping_sub(by), there.wrapping_sub(by));
                // What precedes a changed stretch is as it was.
                let before = word(window, at);
                self.pass(before, before, here, there);
            }
        }
        let was = word(window, at);
        self.aim = Some(Aim {
            was,
            there,
            key: 0,
            mapped: 0,
        });
        let field = Field::of(was)?;
        let page = self.page(was);
        let target = field.target(was, here, page.map(|page| page.old))?;
        if field != Field::Page {
            let mapped = space.moved(target, map)?;
            let key = target.wrapping_add(space.old);
            let aim = Aim {
                was,
                there,
                key,
                mapped,
            };
            self.aim = Some(aim);
            let now = corrections.correct(key, mapped);
            return Some((field, field.point(was, there, now)));
        }
        let Some(offset) = offset_behind(window, at, register(was, 0)) else {
            // The middle of the page stands for it.
            let now = space.moved(target.checked_add(2048)?, map)?;
            return Some((field, field.point(was, there, now)));
        };
        let target = target.checked_add(offset)?;
        let key = target.wrapping_add(space.old);
        let now = corrections.correct(key, space.moved(target, map)?);
        Some((field, field.point(was, there, now)))
    }

    /// The instruction became `now`.
    pub(crate) fn learn(&mut self, now: u32, here: u64, corrections: &mut Corrections) {
        let Some(aim) = self.aim.take() else { return };
        if aim.key != 0
            && let Some(field) = Field::of(aim.was)
            && (now ^ aim.was) & !field.mask() == 0
            && let page = self.page(now).map(|page| page.new)
            && let Some(target) = field.target(now, aim.there, page)
        {
            corrections.set(aim.key, low32(target.wrapping_sub(aim.mapped)));
        }
        self.pass(aim.was, now, here, aim.there);
    }

    /// Keeps what registers hold behind an instruction.
    fn pass(&mut self, was: u32, now: u32, here: u64, there: u64) {
        let mut page = None;
        if Field::of(was) == Some(Field::Page) && Field::of(now) == Some(Field::Page) {
            let old = Field::Page.target(was, here, None);
            let new = Field::Page.target(now, there, None);
            page = old.zip(new).map(|(old, new)| Page { old, new });
        }
        if was & 0xFC00_0000 == 0x9400_0000 {
            // `bl`: what is called keeps only some.
            if let Some(lost) = self.pages.get_mut(..19) {
                lost.fill(None);
            }
        } else if let Some(place) = written(was).and_then(|register| self.pages.get_mut(register)) {
            *place = page;
        }
    }
}

/// What the next user of a register that holds a page adds to it, in the old program.
fn offset_behind(window: &[u8], at: usize, page: usize) -> Option<u64> {
    for after in 1..=AROUND {
        let next = word(window, at + 4 * after);
        if let Some(field @ Field::Offset(_)) = Field::of(next)
            && register(next, 5) == page
        {
            return field.target(next, 0, Some(0));
        }
        if written(next) == Some(page) {
            break;
        }
    }
    None
}

/// The register that an instruction writes, where that is easily seen.
fn written(word: u32) -> Option<usize> {
    let writes = match word >> 25 & 15 {
        // Arithmetic, with an immediate or registers.
        8 | 9 | 5 | 13 => true,
        // Loads of one general register.
        4 | 6 | 12 | 14 => word & 0x0440_0000 == 0x0040_0000,
        _ => false,
    };
    writes.then(|| register(word, 0))
}

#[cfg(test)]
mod tests {
    use super::{Arm, Field};
    use crate::map::{AddressMap, Run};
    use crate::model::corrections::Corrections;
    use crate::space::{Machine, Piece, Space};

    /// `adrp x0, .+0x2000`, `add x0, x0, #0x7f0`, `ldr x1, [x0, #16]`, `bl .+0x100`, `b.ne .-8`.
    const CODE: [u32; 5] = [
        0xD000_0000,
        0x911F_C000,
        0xF940_0801,
        0x9400_0040,
        0x54FF_FFC1,
    ];

    #[test]
    fn what_points_to_its_target_is_as_it_was() {
        let fields = [
            Field::Page,
            Field::Offset(0),
            Field::Offset(3),
            Field::Branch,
            Field::Near(19),
        ];
        for (word, field) in CODE.into_iter().zip(fields) {
            assert_eq!(Field::of(word), Some(field));
            let target = field.target(word, 0x5004, Some(0x7000)).unwrap();
            assert_eq!(field.point(word, 0x5004, target), word, "{field:?}");
        }
        assert_eq!(Field::Page.target(0xD000_0000, 0x5004, None), Some(0x7000));
        // q0, 16 bytes at once; tbz; a literal; and one that says nothing about places.
        assert_eq!(Field::of(0x3DC0_0400), Some(Field::Offset(4)));
        assert_eq!(Field::of(0x3600_0040), Some(Field::Near(14)));
        assert_eq!(Field::of(0x5800_0040), Some(Field::Near(19)));
        assert_eq!(Field::of(0xAA00_03E0), None);
    }

    /// A program of 64 KiB whose upper half moved by `by`.
    fn moved(by: u64) -> (Space, AddressMap) {
        let piece = |len| Piece {
            offset: 0,
            len,
            zeros: 0,
            address: 0,
        };
        let space = Space {
            old: 0,
            old_len: 0x1_0000,
            new: 0,
            machine: Machine::AArch64,
            old_pieces: vec![piece(0x1_0000)],
            new_pieces: vec![piece(0x1_0000 + by)],
            ..Space::default()
        };
        let run = |new, old| Run {
            new,
            old,
            len: 0x8000,
        };
        let runs = vec![run(0, 0), run(0x8000 + by, 0x8000)];
        (space, AddressMap::new(runs, 0x1_0000))
    }

    fn bytes(code: &[u32]) -> Vec<u8> {
        let mut window = vec![0; 32];
        window.extend(code.iter().flat_map(|word| word.to_le_bytes()));
        window.resize(window.len() + 32, 0);
        window
    }

    #[test]
    fn page_and_the_bits_below_follow_what_they_name() {
        // From 0x7000 to 0x97f0, which goes to 0xa010: another page.
        let (space, map) = moved(0x820);
        let window = bytes(&CODE);
        let (mut arm, mut known) = (Arm::new(), Corrections::new());
        let mut became = Vec::new();
        for index in 0..2 {
            let place = 0x7000 + 4 * index as u64;
            let code = (&window[..], 32 + 4 * index);
            let found = arm.look((&space, &map), &known, code, (place, place));
            let (field, now) = found.unwrap();
            let page = became.first().copied().unwrap_or(0);
            let page = Field::Page.target(page, 0x7000, None);
            became.push(now);
            if index == 1 {
                assert_eq!(field.target(now, place, page), Some(0xA010));
            }
            arm.learn(now, place, &mut known);
        }
        assert_eq!(became, [0xF000_0000, 0x9100_4000]);
    }

    #[test]
    fn target_that_moved_otherwise_is_remembered() {
        let (space, map) = moved(0x820);
        let window = bytes(&[0x9400_0800, 0x9400_07FF]);
        let (mut arm, mut known) = (Arm::new(), Corrections::new());
        let look = |arm: &mut Arm, known: &Corrections, index: usize| {
            let place = 0x7000 + 4 * index as u64;
            let code = (&window[..], 32 + 4 * index);
            let found = arm.look((&space, &map), known, code, (place, place));
            found.unwrap().1
        };
        assert_eq!(look(&mut arm, &known, 0), 0x9400_0800 + 0x208);
        // It is three words beyond that.
        arm.learn(0x9400_0800 + 0x20B, 0x7000, &mut known);
        assert_eq!(look(&mut arm, &known, 1), 0x9400_07FF + 0x20B);
    }

    proptest::proptest! {
        #[test]
        fn any_code_anywhere_is_looked_at(
            words in proptest::collection::vec(proptest::prelude::any::<(u32, u32, u64, u64)>(), 1..64),
            addresses in proptest::prelude::any::<[u64; 4]>(),
        ) {
            let (mut space, map) = moved(0x820);
            let [old, new, a, b] = addresses;
            (space.old, space.new) = (old, new);
            space.old_pieces[0].address = a;
            space.new_pieces[0].address = b;
            let window = bytes(&words.iter().map(|word| word.0).collect::<Vec<_>>());
            let (mut arm, mut known) = (Arm::new(), Corrections::new());
            for (index, (_, now, from, to)) in words.iter().enumerate() {
                let places = (
                    old.wrapping_add(from & 0x1_FFFF),
                    new.wrapping_add(to & 0x1_FFFF),
                );
                arm.look((&space, &map), &known, (&window, 32 + 4 * index), places);
                arm.learn(*now, *from, &mut known);
            }
        }
    }
}
