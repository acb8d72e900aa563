//! AArch64 instructions that count from themselves.

use super::guess::low32;
use crate::map::AddressMap;
use crate::space::Space;

/// What the instruction `was` at `old` becomes at `new`, when it branches or names a page.
pub(crate) fn predict(
    space: &Space,
    map: &AddressMap,
    was: u32,
    old: u64,
    new: u64,
) -> Option<u32> {
    let here = space.old_address(old)?;
    let there = space.new_address(new)?;
    if was & 0x7C00_0000 == 0x1400_0000 {
        // b, bl: 26 bits of words.
        let by = i64::from((was << 6).cast_signed() >> 6) * 4;
        let now = space.moved(here.checked_add_signed(by)?, map)?;
        let by = low32(now.wrapping_sub(there)) >> 2;
        return Some((was & 0xFC00_0000) | (by & 0x03FF_FFFF));
    }
    if was & 0x9F00_0000 == 0x9000_0000 {
        // adrp: 21 bits of pages, the lowest two apart. The middle of the page stands for it.
        let pages = ((was >> 5) & 0x7_FFFF) << 2 | (was >> 29) & 3;
        let pages = i64::from((pages << 11).cast_signed() >> 11);
        let target = (here & !0xFFF).checked_add_signed(pages * 4096)?;
        let now = space.moved(target.checked_add(2048)?, map)?;
        let page = |address: u64| address >> 12;
        let pages = low32(page(now).wrapping_sub(page(there)));
        return Some((was & 0x9F00_001F) | (pages & 3) << 29 | (pages >> 2 & 0x7_FFFF) << 5);
    }
    None
}
