//! RAUC's contract for GRUB: two marks for each slot instead of a counter.

use alloc::format;

use super::SlotBoot;
use crate::Vars;

/// The state of a slot that is in the order. GRUB starts it when `OK` is `1` and `TRY` is `0`, or
/// was never written.
pub(super) fn state(vars: &Vars, bootname: &str) -> SlotBoot {
    let ok = vars.get(&format!("{bootname}_OK"));
    let tried = vars.get(&format!("{bootname}_TRY"));
    match (ok, tried) {
        (None, None) => SlotBoot::Missing,
        (Some(b"1"), None | Some(b"0")) => SlotBoot::Ready { left: 1 },
        (Some(b"1"), Some(_)) => SlotBoot::Exhausted,
        (None | Some(_), _) => SlotBoot::Bad,
    }
}

/// Marks a slot good and not tried, or bad.
pub(super) fn set(vars: &mut Vars, bootname: &str, ok: bool) {
    vars.set(&format!("{bootname}_OK"), if ok { "1" } else { "0" });
    vars.set(&format!("{bootname}_TRY"), "0");
}
