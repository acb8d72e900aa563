//! Words that count from their own place, and where x86-64 code has them.

use super::guess::{Geography, low32};
use crate::space::Space;

/// What a word becomes that counts from `after` bytes behind its own place: a name for its target
/// and the new value.
pub(crate) fn relative(
    geography: &Geography<'_>,
    space: Option<&Space>,
    old: u64,
    new: u64,
    was: u32,
    after: u64,
) -> Option<(u64, u32)> {
    let by = i64::from(was.cast_signed());
    if let Some(space) = space {
        let here = space.old_address(old)?.wrapping_add(after);
        let target = here.checked_add_signed(by)?;
        let now = space.moved(target, geography.map)?;
        let there = space.new_address(new)?.wrapping_add(after);
        let key = target.wrapping_add(space.old);
        return Some((key, low32(now.wrapping_sub(there))));
    }
    let target = old.checked_add(after)?.checked_add_signed(by)?;
    if target >= geography.old_len {
        return None;
    }
    let shift = geography.map.shift(target)?;
    let own = new.wrapping_sub(old).cast_signed();
    let by = by.wrapping_add(shift).wrapping_sub(own);
    Some((target, low32(by.cast_unsigned())))
}

/// Whether four bytes that count from the next instruction follow these two.
pub(crate) fn is_operand(second: u8, first: u8) -> bool {
    if matches!(first, 0xE8 | 0xE9) || (second == 0x0F && first & 0xF0 == 0x80) {
        return true;
    }
    // A memory operand relative to the instruction pointer, after a common opcode.
    first & 0xC7 == 0x05
        && matches!(
            second,
            0x8B | 0x8D
                | 0x89
                | 0x3B
                | 0x39
                | 0x03
                | 0x63
                | 0x88
                | 0x80
                | 0x83
                | 0xC6
                | 0xC7
                | 0x38
                | 0x3A
                | 0xFF
                | 0x10
                | 0x11
                | 0x28
                | 0x29
                | 0x6F
                | 0x7F
                | 0xB6
                | 0xBE
                | 0xB7
                | 0x6E
                | 0xEF
                | 0x58
                | 0x59
                | 0x5E
                | 0x2E
                | 0x2F
                | 0x84
                | 0x85
        )
}
