//! Contracts with a counter for each slot: RAUC's for U-Boot, and ours for GRUB.

use alloc::format;
use alloc::string::String;

use switchback_types::SlotName;

use super::SlotBoot;

/// The counter of a bootname in RAUC's contract for U-Boot.
pub(super) fn uboot_variable(bootname: &str) -> String {
    format!("BOOT_{bootname}_LEFT")
}

/// The counter of a slot in our contract for GRUB.
pub(super) const fn grub_variable(slot: SlotName) -> &'static str {
    match slot {
        SlotName::A => "a_left",
        SlotName::B => "b_left",
    }
}

/// The state of a slot that is in the order.
pub(super) const fn state(left: Option<u8>) -> SlotBoot {
    match left {
        None => SlotBoot::Missing,
        Some(0) => SlotBoot::Exhausted,
        Some(left) => SlotBoot::Ready { left },
    }
}

/// A number as U-Boot reads it: hexadecimal digits up to the first other character; without any,
/// 0. More than a byte holds is as good as 255.
pub(super) fn hexadecimal(text: &str) -> u8 {
    let digits = text.chars().map_while(|c| c.to_digit(16));
    let value = digits.fold(0u32, |value, digit| {
        value.saturating_mul(16).saturating_add(digit)
    });
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// A number as our grub.cfg reads it: one digit, or nothing that counts.
pub(super) fn decimal_digit(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => digit.checked_sub(b'0'),
        _ => None,
    }
}
