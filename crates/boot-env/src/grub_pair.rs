//! Two GRUB environment blocks that take turns, so that a damaged one is never the only one.
//!
//! Each block begins with `seq` (0 to 3, counting round) and ends with `end`, the same number. A
//! block in which they differ is a mixture of two writes and is not used. Writing goes to the
//! older block; our grub.cfg chooses by the same rule:
//!
//! - one block usable: that one;
//! - both usable: the second one if its number follows the first one's, else the first one.
//!
//! What this can promise without a checksum: a write that was cut off anywhere leaves the old or
//! the new variables, as long as it was cut between bytes that were written in order, or at a
//! sector boundary ([`crate::grub`] keeps the content in one sector). A damaged byte, though, is not
//! always seen: the block may count with the line of that byte changed, and the next line with it
//! if the byte was the line's end or its `=`. No other line is affected (`tests/exhaustive.rs`).

use crate::grub::{self, BLOCK_SIZE, EncodeError, ParseError};
use crate::{Copy, Vars};

/// Why a block is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// It is no environment block.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// `seq` and `end` are not the same number from 0 to 3.
    #[error("`seq` and `end` differ or are missing: the block is a mixture of two writes")]
    Mixture,
}

/// Neither block can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither copy of the environment can be used (first: {first}; second: {second})")]
pub struct BothUnusable {
    /// What is wrong with the first one.
    pub first: CopyFault,
    /// What is wrong with the second one.
    pub second: CopyFault,
}

/// A pair of blocks, and the variables of the newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The variables; to be changed and written with [`Pair::successor`].
    pub vars: Vars,
    current: Copy,
    sequence: Sequence,
    other_fault: Option<CopyFault>,
}

/// What to write next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Over which block.
    pub copy: Copy,
    /// The new block.
    pub block: [u8; BLOCK_SIZE],
}

/// A number from 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence(u8);

impl Sequence {
    fn of(vars: &Vars) -> Option<Self> {
        let text = vars.get("seq")?;
        let number = match text {
            b"0" => 0,
            b"1" => 1,
            b"2" => 2,
            b"3" => 3,
            _ => return None,
        };
        (vars.get("end") == Some(text)).then_some(Self(number))
    }

    const fn next(self) -> Self {
        Self((self.0 + 1) % 4)
    }

    const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "0",
            1 => "1",
            2 => "2",
            _ => "3",
        }
    }
}

impl Pair {
    /// Reads both blocks and chooses.
    ///
    /// # Errors
    /// Neither block can be used; says why for each.
    pub fn read(first: &[u8], second: &[u8]) -> Result<Self, BothUnusable> {
        let (current, chosen, other_fault) = match (usable(first), usable(second)) {
            (Err(first), Err(second)) => return Err(BothUnusable { first, second }),
            (Ok(first), Err(fault)) => (Copy::First, first, Some(fault)),
            (Err(fault), Ok(second)) => (Copy::Second, second, Some(fault)),
            (Ok(first), Ok(second)) if second.1 == first.1.next() => (Copy::Second, second, None),
            (Ok(first), Ok(_)) => (Copy::First, first, None),
        };
        let (vars, sequence) = chosen;
        Ok(Self {
            vars,
            current,
            sequence,
            other_fault,
        })
    }

    /// The block that the variables come from.
    #[must_use]
    pub const fn current(&self) -> Copy {
        self.current
    }

    /// What is wrong with the other block, if anything.
    #[must_use]
    pub const fn other_fault(&self) -> Option<CopyFault> {
        self.other_fault
    }

    /// The variables as they are now, to be written over the older block.
    ///
    /// # Errors
    /// They do not fit or cannot be written.
    pub fn successor(&self) -> Result<Successor, EncodeError> {
        Ok(Successor {
            copy: self.current.other(),
            block: numbered(&self.vars, self.sequence.next())?,
        })
    }
}

fn usable(block: &[u8]) -> Result<(Vars, Sequence), CopyFault> {
    let vars = grub::parse(block)?;
    let sequence = Sequence::of(&vars).ok_or(CopyFault::Mixture)?;
    Ok((vars, sequence))
}

fn numbered(vars: &Vars, sequence: Sequence) -> Result<[u8; BLOCK_SIZE], EncodeError> {
    let mut vars = vars.clone();
    vars.set_first("seq", sequence.as_str());
    vars.set_last("end", sequence.as_str());
    grub::encode(&vars)
}

/// Both blocks of a new pair, the second one the newer: what an image builder puts on the disk.
///
/// # Errors
/// The variables do not fit or cannot be written.
pub fn new_pair(vars: &Vars) -> Result<[[u8; BLOCK_SIZE]; 2], EncodeError> {
    Ok([numbered(vars, Sequence(0))?, numbered(vars, Sequence(1))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(sequence: u8, value: &str) -> [u8; BLOCK_SIZE] {
        let mut vars = grub::new_vars();
        vars.set("value", value);
        numbered(&vars, Sequence(sequence)).unwrap()
    }

    fn value(first: &[u8], second: &[u8]) -> Option<alloc::string::String> {
        let pair = Pair::read(first, second).ok()?;
        pair.vars.text("value").map(Into::into)
    }

    #[test]
    fn second_is_newer_only_if_its_number_follows() {
        for first in 0..4 {
            for second in 0..4 {
                let pair = Pair::read(&copy(first, "1"), &copy(second, "2")).unwrap();
                let expected = if second == (first + 1) % 4 {
                    Copy::Second
                } else {
                    Copy::First
                };
                assert_eq!(pair.current(), expected, "{first} {second}");
                assert_eq!(pair.other_fault(), None);
            }
        }
    }

    #[test]
    fn takes_the_usable_one_and_says_what_is_wrong_with_the_other() {
        let good = copy(2, "x");
        let mixture = grub::encode(&[("seq", "1"), ("end", "2")].into_iter().collect()).unwrap();
        let high = grub::encode(&[("seq", "4"), ("end", "4")].into_iter().collect()).unwrap();
        let bad: [(&[u8], CopyFault); 4] = [
            (b"", CopyFault::Unreadable(ParseError::Blank { size: 0 })),
            (&[b'#'; 1024], CopyFault::Unreadable(ParseError::Signature)),
            (&mixture, CopyFault::Mixture),
            (&high, CopyFault::Mixture),
        ];
        for (bad, fault) in bad {
            for pair in [Pair::read(&good, bad), Pair::read(bad, &good)] {
                let pair = pair.unwrap();
                assert_eq!(pair.other_fault(), Some(fault));
                assert_eq!(pair.vars.text("value"), Some("x"));
            }
            let both = BothUnusable {
                first: fault,
                second: fault,
            };
            assert_eq!(Pair::read(bad, bad), Err(both));
        }
    }

    #[test]
    fn successors_take_turns_for_ever() {
        let mut copies = [copy(3, "start"), copy(2, "older")];
        for round in 0..12 {
            let mut pair = Pair::read(&copies[0], &copies[1]).unwrap();
            assert_eq!(pair.current().index(), round % 2);
            let text = alloc::format!("{round}");
            pair.vars.set("value", &text);
            let next = pair.successor().unwrap();
            copies[next.copy.index()] = next.block;
            assert_eq!(value(&copies[0], &copies[1]), Some(text));
        }
    }

    #[test]
    fn number_comes_first_and_last_and_strangers_stay_in_between() {
        let vars: Vars = [("seq", "1"), ("a", "1"), ("end", "1"), ("late", "2")]
            .into_iter()
            .collect();
        let pair = Pair::read(&grub::encode(&vars).unwrap(), b"").unwrap();
        let block = pair.successor().unwrap().block;
        let expected = [("seq", "2"), ("a", "1"), ("late", "2"), ("end", "2")];
        assert_eq!(grub::parse(&block).unwrap(), expected.into_iter().collect());
    }

    #[test]
    fn write_cut_off_anywhere_gives_old_or_new() {
        for start in 0..4 {
            let newer = copy(start, "old");
            let older = copy((start + 3) % 4, "before");
            let mut pair = Pair::read(&newer, &older).unwrap();
            pair.vars.set("value", "a longer new one");
            let next = pair.successor().unwrap();
            assert_eq!(next.copy, Copy::Second);
            for length in 0..=BLOCK_SIZE {
                let torn = [&next.block[..length], &older[length..]].concat();
                let found = value(&newer, &torn).unwrap();
                assert!(
                    ["old", "a longer new one"].contains(&found.as_str()),
                    "{length}: {found}"
                );
                let cut = value(&newer, &next.block[..length]).unwrap();
                assert!(
                    ["old", "a longer new one"].contains(&cut.as_str()),
                    "{length}: {cut}"
                );
            }
        }
    }

    #[test]
    fn flipped_bit_gives_the_older_variables_or_damages_one_line_of_the_newer() {
        let (older, newer) = (copy(0, "old"), copy(1, "new"));
        let old = Pair::read(&older, b"").unwrap().vars;
        let new = Pair::read(&newer, b"").unwrap().vars;
        for place in 0..BLOCK_SIZE {
            for bit in 0..8 {
                let mut damaged = newer;
                damaged[place] ^= 1 << bit;
                let pair = Pair::read(&older, &damaged).unwrap();
                match pair.current() {
                    Copy::First => assert_eq!(pair.vars, old, "{place} {bit}"),
                    Copy::Second => {
                        // A line break that is gone joins two lines, one that is new parts them.
                        let foreign = |entry: &&crate::Entry| !new.entries().contains(entry);
                        let damaged = pair.vars.entries().iter().filter(foreign).count();
                        assert!(damaged <= 2, "{place} {bit}: {:?}", pair.vars);
                    }
                }
            }
        }
    }
}
