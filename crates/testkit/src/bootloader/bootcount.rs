//! U-Boot's own boot count (2023.01, `CONFIG_BOOTCOUNT_ENV`) and `boot/u-boot/bootcount.cmd`.
//!
//! Modelled is the `altbootcmd` that the script itself stores. With another one, or with none and
//! the limit exceeded, U-Boot is taken to end at its prompt.

use switchback_types::SlotName;

use super::uboot::{FROM_SEARCH, SEARCH, Uboot};
use super::{Act, Run, SlotState, Start, on_command_line};

/// Which slot, as the number of its partition.
const PART: &str = "mender_boot_part";
const PART_HEX: &str = "mender_boot_part_hex";
const TRIAL: &str = "upgrade_available";
const COUNT: &str = "bootcount";
const LIMIT: &str = "bootlimit";
const ALTERNATIVE: &str = "altbootcmd";
const GIVE_UP: &str = "give_up";

/// What the script stores where there is none.
const OUR_ALTERNATIVE: &[u8] = b"setenv give_up yes; run bootcmd";

/// Where this build of U-Boot has its device tree, and where the script is loaded to.
const DEVICE_TREE: (&str, &[u8]) = ("fdtcontroladdr", b"1ed500a0");
const SCRIPT: (&str, &[u8]) = ("fileaddr", b"7000000");

/// The script's own shell variables, which it takes out of the environment.
const SCRIPTS_OWN: [&str; 13] = [
    "name",
    "disk",
    "kernel_at",
    "kernel_size",
    "initrd_at",
    "args",
    "part_a",
    "part_a_hex",
    "part_b",
    "part_b_hex",
    "changed",
    "label",
    "env_state",
];

pub(super) fn run(copies: &[Vec<u8>], slots: [SlotState; 2]) -> Run {
    let mut uboot = Uboot::load(copies);
    uboot.set(DEVICE_TREE.0, DEVICE_TREE.1);
    if count(&mut uboot) {
        if uboot.get(ALTERNATIVE) != Some(OUR_ALTERNATIVE) {
            return Run { acts: uboot.acts };
        }
        uboot.set(GIVE_UP, b"yes");
    }
    script(&mut uboot, slots);
    Run { acts: uboot.acts }
}

/// `bootcount_inc`, then `bootcount_error`: whether the limit is exceeded.
fn count(uboot: &mut Uboot) -> bool {
    let on_trial = number(uboot, TRIAL) != 0;
    let before = match on_trial {
        true => number(uboot, COUNT),
        false => 0,
    };
    let count = before.wrapping_add(1);
    // Without a trial it is set as well, and only in memory.
    uboot.set(COUNT, count.to_string().as_bytes());
    if on_trial {
        uboot.save();
    }
    let limit = number(uboot, LIMIT);
    on_trial && limit != 0 && count > limit
}

fn script(uboot: &mut Uboot, slots: [SlotState; 2]) {
    uboot.set(SCRIPT.0, SCRIPT.1);
    if uboot.get("bootcmd") == Some(SEARCH) {
        for (name, value) in FROM_SEARCH {
            uboot.set(name, value);
        }
    }
    for name in SCRIPTS_OWN {
        unset(uboot, name);
    }
    let mut changed = false;
    if uboot.get(ALTERNATIVE).is_none() {
        uboot.set(ALTERNATIVE, OUR_ALTERNATIVE);
        changed = true;
    }
    let slot = selected(uboot);
    let mut slot = slot.unwrap_or_else(|| {
        uboot.set(TRIAL, b"0");
        changed = true;
        SlotName::A
    });
    if uboot.get(GIVE_UP) == Some(b"yes") {
        slot = slot.other();
        uboot.set(TRIAL, b"0");
        changed = true;
    }
    unset(uboot, GIVE_UP);
    uboot.set(PART, part(slot));
    uboot.set(PART_HEX, part(slot));
    let mut saved = true;
    if changed {
        for scratch in ["bootargs", "filesize"] {
            unset(uboot, scratch);
        }
        let saves = uboot.acts.len();
        uboot.save();
        saved = uboot.acts.len() > saves;
    }
    let [a, b] = slots;
    let state = match slot {
        SlotName::A => a,
        SlotName::B => b,
    };
    if state == SlotState::Loads {
        uboot.acts.push(Act::Start(Start {
            slot,
            environment_bad: !saved,
            contact: uboot.get("switchback_id").and_then(on_command_line),
        }));
    }
}

fn unset(uboot: &mut Uboot, name: &str) {
    uboot.variables.remove(name.as_bytes());
}

const fn part(slot: SlotName) -> &'static [u8] {
    match slot {
        SlotName::A => b"2",
        SlotName::B => b"3",
    }
}

fn selected(uboot: &Uboot) -> Option<SlotName> {
    let value = uboot.get(PART)?;
    SlotName::ALL.into_iter().find(|slot| part(*slot) == value)
}

/// `env_get_ulong` of a 32-bit U-Boot: digits up to the first other character, hexadecimal behind
/// `0x`.
fn number(uboot: &Uboot, name: &str) -> u32 {
    let value = uboot.get(name).unwrap_or_default();
    let (digits, radix) = match value {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        digits => (digits, 10),
    };
    let digits = digits.iter();
    let known = digits.map_while(|byte| char::from(*byte).to_digit(radix));
    known.fold(0_u32, |number, digit| {
        number.wrapping_mul(radix).wrapping_add(digit)
    })
}
