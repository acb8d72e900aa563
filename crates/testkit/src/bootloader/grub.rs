//! `boot/grub/grub.cfg`, function by function.

use switchback_types::SlotName;

use super::envblk::{Block, words};
use super::{Act, Run, SlotState, Start, on_command_line, slot_named, state_of};

/// `tries` in the script.
const TRIES: u8 = 3;

/// The script's variables.
struct Script {
    copies: [Vec<u8>; 2],
    /// `$current`, as an index.
    current: Option<usize>,
    /// `$s`, 0 to 3.
    sequence: u8,
    order: Vec<u8>,
    /// `$a_left` and `$b_left`, 0 to 9.
    left: [u8; 2],
    id: Option<Vec<u8>>,
    /// `$lost`: there was no usable copy.
    lost: bool,
    /// Slots that did not load: their `$part_a` or `$part_b` is empty.
    failed: Vec<SlotName>,
    acts: Vec<Act>,
}

pub(super) fn run(copies: &[Vec<u8>], slots: [SlotState; 2]) -> Run {
    let copy = |index: usize| copies.get(index).cloned().unwrap_or_default();
    let mut script = Script::load([copy(0), copy(1)]);
    let order = script.order.clone();
    if !script.start(&order, slots) {
        for (slot, left) in SlotName::ALL.into_iter().zip(&mut script.left) {
            if *left == 0 && !script.failed.contains(&slot) {
                *left = TRIES;
            }
        }
        script.start(&[&order, b" A B".as_slice()].concat(), slots);
    }
    Run { acts: script.acts }
}

impl Script {
    fn load(copies: [Vec<u8>; 2]) -> Self {
        let (current, number) = match copies.each_ref().map(|copy| sequence(copy)) {
            [Some(first), Some(second)] if second == succ(first) => (Some(1), second),
            [Some(first), _] => (Some(0), first),
            [None, Some(second)] => (Some(1), second),
            [None, None] => (None, 3),
        };
        let block = current
            .and_then(|index| copies.get(index))
            .and_then(|copy| Block::open(copy));
        let value = |name| block.as_ref().and_then(|block| block.load(name));
        let order = value("order").filter(|order| !order.is_empty());
        Self {
            current,
            sequence: number,
            order: order.unwrap_or_else(|| b"A B".to_vec()),
            left: [count(value("a_left")), count(value("b_left"))],
            id: value("id"),
            lost: current.is_none(),
            failed: Vec::new(),
            copies,
            acts: Vec::new(),
        }
    }

    /// Whether that was the end of the script: a kernel started, or the machine is reset.
    fn start(&mut self, list: &[u8], slots: [SlotState; 2]) -> bool {
        for slot in words(list).filter_map(slot_named) {
            let state = state_of(slots, slot);
            let files = !matches!(state, SlotState::Unloadable | SlotState::NoInitrd);
            if !files || self.failed.contains(&slot) {
                continue;
            }
            let [a, b] = &mut self.left;
            let left = match slot {
                SlotName::A => a,
                SlotName::B => b,
            };
            if *left == 0 {
                continue;
            }
            *left -= 1;
            let saved = self.save();
            match state {
                SlotState::Loads => {}
                SlotState::BadInitrd => return true,
                _ => {
                    self.failed.push(slot);
                    continue;
                }
            }
            self.acts.push(Act::Start(Start {
                slot,
                environment_bad: self.lost || !saved,
                contact: self
                    .id
                    .as_deref()
                    .and_then(on_command_line)
                    .map(|word| escaped(&word)),
            }));
            return true;
        }
        false
    }

    /// Writes the older copy, or, when GRUB cannot write that one, the other, whose number stays.
    /// Whether one was written.
    fn save(&mut self) -> bool {
        let (older, newer) = if self.current == Some(0) {
            (1, 0)
        } else {
            (0, 1)
        };
        for (copy, number) in [(older, succ(self.sequence)), (newer, self.sequence)] {
            let old = self.copies.get(copy);
            if let Some(bytes) = old.and_then(|old| self.written(old, number)) {
                if let Some(old) = self.copies.get_mut(copy) {
                    old.clone_from(&bytes);
                }
                self.acts.push(Act::Save { copy, bytes });
                self.current = Some(copy);
                self.sequence = number;
                return true;
            }
        }
        false
    }

    /// `save_env` over a block; nothing where GRUB refuses.
    fn written(&self, old: &[u8], number: u8) -> Option<Vec<u8>> {
        let mut block = Block::open(old)?;
        let number = number.to_string();
        let [a, b] = self.left.map(|left| left.to_string());
        let values: [(&str, Option<&[u8]>); 6] = [
            ("seq", Some(number.as_bytes())),
            ("order", Some(&self.order)),
            ("a_left", Some(a.as_bytes())),
            ("b_left", Some(b.as_bytes())),
            ("id", self.id.as_deref()),
            ("end", Some(number.as_bytes())),
        ];
        for (name, value) in values {
            block.save(name, value).ok()?;
        }
        Some(block.into_bytes())
    }
}

/// The number of a copy, if it is usable.
fn sequence(copy: &[u8]) -> Option<u8> {
    let block = Block::open(copy)?;
    let number = digit(&block.load("seq")?, 3)?;
    (digit(&block.load("end")?, 3) == Some(number)).then_some(number)
}

const fn succ(number: u8) -> u8 {
    (number + 1) % 4
}

fn count(value: Option<Vec<u8>>) -> u8 {
    value.and_then(|value| digit(&value, 9)).unwrap_or(TRIES)
}

/// One digit, up to `most`.
fn digit(text: &[u8], most: u8) -> Option<u8> {
    match text {
        [digit @ b'0'..=b'9'] => Some(digit - b'0').filter(|number| *number <= most),
        _ => None,
    }
}

/// GRUB's `linux` puts a backslash in front of these.
fn escaped(word: &str) -> String {
    let mut line = String::with_capacity(word.len());
    for character in word.chars() {
        if matches!(character, '\\' | '\'' | '"') {
            line.push('\\');
        }
        line.push(character);
    }
    line
}
