//! What is tried: chosen by hand for every rule of a script, and drawn from a seed for what nobody
//! thought of.

mod bootcount;
mod grub;
mod grub_rauc;
mod random;
mod uboot;

pub(super) use uboot::copy as uboot_copy;

use super::{Case, Script, Slot};

/// Both slots hold a kernel.
const BOTH: [Slot; 2] = [Slot::Loads, Slot::Loads];
const ONLY_A: [Slot; 2] = [Slot::Loads, Slot::Nothing];
const ONLY_B: [Slot; 2] = [Slot::Nothing, Slot::Loads];
const NEITHER: [Slot; 2] = [Slot::Nothing, Slot::Nothing];
const A_BROKEN: [Slot; 2] = [Slot::Broken, Slot::Loads];
const B_BROKEN: [Slot; 2] = [Slot::Loads, Slot::Broken];
const BOTH_BROKEN: [Slot; 2] = [Slot::Broken, Slot::Broken];
const ONLY_A_BROKEN: [Slot; 2] = [Slot::Broken, Slot::Nothing];
const NO_INITRD: [Slot; 2] = [Slot::NoInitrd, Slot::Loads];
const BAD_INITRD: [Slot; 2] = [Slot::BadInitrd, Slot::Loads];

/// Each way in which a slot can hold files and not start.
const FAILING: [[Slot; 2]; 6] = [
    A_BROKEN,
    B_BROKEN,
    BOTH_BROKEN,
    ONLY_A_BROKEN,
    NO_INITRD,
    BAD_INITRD,
];

/// The cases of a script.
pub(super) fn of(script: Script) -> Vec<Case> {
    match script {
        Script::Grub => grub::cases(),
        Script::GrubRauc => grub_rauc::cases(),
        Script::Uboot => uboot::cases(),
        Script::Bootcount => bootcount::cases(),
    }
}

/// Words for a slot state in names of cases.
fn slots_in_words(slots: [Slot; 2]) -> String {
    let alone = |slot| match slot {
        Slot::Loads => "loads",
        Slot::Nothing => "is empty",
        Slot::Broken => "is broken",
        Slot::NoInitrd => "has no initrd",
        Slot::BadInitrd => "has a bad initrd",
    };
    match slots {
        BOTH => "both slots load".to_owned(),
        ONLY_A => "only A loads".to_owned(),
        ONLY_B => "only B loads".to_owned(),
        NEITHER => "no slot loads".to_owned(),
        [a, b] => format!("A {}, B {}", alone(a), alone(b)),
    }
}

/// GRUB's environment block with these lines, which should end with a line break.
fn grub_block(lines: impl AsRef<[u8]>) -> Vec<u8> {
    let mut block = [b"# GRUB Environment Block\n", lines.as_ref()].concat();
    block.resize(1024, b'#');
    block
}

#[cfg(test)]
mod tests {
    use super::{Script, of};
    use crate::record::notation;
    use std::collections::BTreeSet;

    #[test]
    fn cases_are_many_told_apart_and_the_same_each_time() {
        for script in Script::ALL {
            let cases = of(script);
            assert!(cases.len() >= 40, "{script:?}: {}", cases.len());
            let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
            assert_eq!(
                names.len(),
                cases.len(),
                "{script:?}: a name is there twice"
            );
            assert_eq!(cases, of(script));
        }
    }

    #[test]
    fn tables_were_recorded_from_these_cases() {
        for script in Script::ALL {
            let text = std::fs::read_to_string(script.table()).unwrap();
            let table: serde_json::Value = serde_json::from_str(&text).unwrap();
            let recorded = table["cases"].as_array().unwrap();
            let cases = of(script);
            let again = format!("cargo xtask record-bootloaders --board {}", script.board());
            assert_eq!(recorded.len(), cases.len(), "record again: {again}");
            for (recorded, case) in recorded.iter().zip(&cases) {
                let copies = case.copies.iter();
                let before: serde_json::Value = copies
                    .map(|copy| notation::of(copy, script.has_uboot_copies()))
                    .collect();
                assert_eq!(recorded["name"], *case.name, "record again: {again}");
                let slots = serde_json::json!(case.slots.map(super::Slot::word));
                assert_eq!(
                    recorded["slots"], slots,
                    "{}: record again: {again}",
                    case.name
                );
                assert_eq!(
                    recorded["before"], before,
                    "{}: record again: {again}",
                    case.name
                );
            }
        }
    }

    #[test]
    fn copies_have_the_sizes_of_the_board() {
        for (script, copies, size) in [
            (Script::Grub, 2, 1024),
            (Script::GrubRauc, 1, 1024),
            (Script::Uboot, 2, 0x4000),
            (Script::Bootcount, 2, 0x4000),
        ] {
            for case in of(script) {
                assert_eq!(case.copies.len(), copies, "{}", case.name);
                assert!(
                    case.copies.iter().all(|copy| copy.len() == size),
                    "{}",
                    case.name
                );
            }
        }
    }
}
