//! U-Boot's environment (2023.01, redundant, raw on MMC) and `boot/u-boot/boot.cmd`.

use std::collections::BTreeMap;

use switchback_types::SlotName;

use super::{Act, Run, SlotState, Start, on_command_line, slot_named, state_of};

/// `tries` in the script.
const TRIES: &[u8] = b"3";

/// The variables that this U-Boot has built in, used where neither copy can be.
const BUILT_IN: &str = include_str!("uboot_builtin.env");

/// What U-Boot of this board has put into its environment when the script runs: where its device
/// tree is, and where the script was loaded to.
const FROM_UBOOT: [(&str, &[u8]); 2] = [("fdtcontroladdr", b"1ed500a0"), ("fileaddr", b"7000000")];

/// More of it, from the built-in search for the script.
pub(super) const FROM_SEARCH: [(&str, &[u8]); 2] = [("bootfstype", b"fat"), ("devplist", b"1")];

/// The search, in `bootcmd`.
pub(super) const SEARCH: &[u8] = b"run distro_bootcmd";

/// The script's own shell variables, which it takes out of the environment.
const SCRIPTS_OWN: [&str; 11] = [
    "name",
    "slot",
    "label",
    "failed_A",
    "failed_B",
    "disk",
    "kernel_at",
    "kernel_size",
    "initrd_at",
    "args",
    "tries",
];

/// Checksum and flags byte.
const HEADER: usize = 5;

type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

/// U-Boot's `gd->env_valid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Valid {
    First,
    Second,
}

/// U-Boot with its environment in memory.
pub(super) struct Uboot {
    pub(super) variables: Variables,
    valid: Valid,
    /// The flags byte of the last copy read or written.
    flags: u8,
    /// Bytes of a copy.
    size: usize,
    pub(super) acts: Vec<Act>,
}

pub(super) fn run(copies: &[Vec<u8>], slots: [SlotState; 2]) -> Run {
    let mut uboot = Uboot::load(copies);
    uboot.script(slots);
    Run { acts: uboot.acts }
}

impl Uboot {
    /// `env_import_redund`.
    pub(super) fn load(copies: &[Vec<u8>]) -> Self {
        let copy = |index: usize| copies.get(index).map(Vec::as_slice).unwrap_or_default();
        let (first, second) = (copy(0), copy(1));
        let (valid, chosen) = match (checked(first), checked(second)) {
            // Saved to the second copy first: U-Boot takes its built-in variables for a valid one.
            (None, None) => (Valid::First, None),
            (None, Some(_)) | (Some(255), Some(0)) => (Valid::Second, Some(second)),
            (Some(_), None) | (Some(0), Some(255)) => (Valid::First, Some(first)),
            (Some(one), Some(two)) if two > one => (Valid::Second, Some(second)),
            (Some(_), Some(_)) => (Valid::First, Some(first)),
        };
        let imported = chosen.and_then(|copy| import(copy.get(HEADER..)?));
        Self {
            variables: imported.unwrap_or_else(built_in),
            valid,
            flags: chosen.and_then(checked).unwrap_or(0),
            size: first.len().max(second.len()),
            acts: Vec::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables.get(name.as_bytes()).map(Vec::as_slice)
    }

    pub(super) fn set(&mut self, name: &str, value: &[u8]) {
        self.variables.insert(name.into(), value.into());
    }

    /// `saveenv`: all variables, sorted, into the copy that is not the valid one. False where they
    /// do not fit.
    pub(super) fn save(&mut self) -> bool {
        let Some(room) = self.size.checked_sub(HEADER) else {
            return false;
        };
        let mut data = Vec::with_capacity(room);
        for (name, value) in &self.variables {
            data.extend_from_slice(name);
            data.push(b'=');
            for byte in value {
                if *byte == b'\\' {
                    data.push(b'\\');
                }
                data.push(*byte);
            }
            data.push(0);
        }
        if data.len() >= room {
            // U-Boot, too: "Cannot export environment".
            return false;
        }
        data.resize(room, 0);
        self.flags = self.flags.wrapping_add(1);
        let checksum = crc32fast::hash(&data).to_le_bytes();
        let bytes = [checksum.as_slice(), &[self.flags], &data].concat();
        let copy = usize::from(self.valid == Valid::First);
        self.acts.push(Act::Save { copy, bytes });
        self.valid = match self.valid {
            Valid::Second => Valid::First,
            Valid::First => Valid::Second,
        };
        true
    }

    fn script(&mut self, slots: [SlotState; 2]) {
        let search = self.get("bootcmd") == Some(SEARCH);
        let more = FROM_SEARCH.into_iter().filter(|_| search);
        for (name, value) in FROM_UBOOT.into_iter().chain(more) {
            self.set(name, value);
        }
        for name in SCRIPTS_OWN {
            self.variables.remove(name.as_bytes());
        }
        for (name, value) in [
            ("BOOT_ORDER", b"A B".as_slice()),
            (left_of(SlotName::A), TRIES),
            (left_of(SlotName::B), TRIES),
        ] {
            if self.get(name).is_none() {
                self.set(name, value);
            }
        }
        let order = self.get("BOOT_ORDER").unwrap_or_default().to_vec();
        let mut list: Vec<&[u8]> = words(&order).collect();
        list.push(b"refill");
        list.extend(words(&order));
        list.extend([b"A".as_slice(), b"B"]);

        let mut failed: Vec<SlotName> = Vec::new();
        for name in list {
            if name == b"refill" {
                for slot in SlotName::ALL {
                    if !failed.contains(&slot) {
                        self.set(left_of(slot), TRIES);
                    }
                }
            }
            let Some(slot) = slot_named(name).filter(|slot| !failed.contains(slot)) else {
                continue;
            };
            let left = self.get(left_of(slot)).and_then(number).unwrap_or(0);
            // itest compares signed numbers.
            if left.cast_signed() <= 0 {
                continue;
            }
            failed.push(slot);
            self.set(left_of(slot), format!("{:x}", left - 1).as_bytes());
            for scratch in ["env_state", "part", "filesize", "bootargs"] {
                self.variables.remove(scratch.as_bytes());
            }
            let saved = self.save();
            match state_of(slots, slot) {
                SlotState::Loads => {
                    self.acts.push(Act::Start(Start {
                        slot,
                        environment_bad: !saved,
                        contact: self.get("switchback_id").and_then(on_command_line),
                    }));
                    return;
                }
                // `load` leaves behind where it put the last file.
                SlotState::Broken => self.set("fileaddr", b"8000000"),
                SlotState::NoInitrd | SlotState::BadInitrd => self.set("fileaddr", b"1000000"),
                SlotState::Unloadable => {}
            }
        }
    }
}

const fn left_of(slot: SlotName) -> &'static str {
    match slot {
        SlotName::A => "BOOT_A_LEFT",
        SlotName::B => "BOOT_B_LEFT",
    }
}

/// The flags byte of a copy whose checksum fits.
fn checked(copy: &[u8]) -> Option<u8> {
    let (header, data) = copy.split_at_checked(HEADER)?;
    let (checksum, flags) = header.split_first_chunk()?;
    (u32::from_le_bytes(*checksum) == crc32fast::hash(data)).then_some(flags.first().copied()?)
}

/// `himport_r`: nothing where U-Boot gives up on the whole environment.
fn import(data: &[u8]) -> Option<Variables> {
    let mut variables = Variables::new();
    for (index, string) in data.split(|byte| *byte == 0).enumerate() {
        if string.is_empty() && index > 0 {
            break;
        }
        let blanks = string
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'));
        let string = string.get(blanks.count()..).unwrap_or_default();
        if string.first() == Some(&b'#') {
            continue;
        }
        let equals = string.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals.and_then(|place| string.split_at_checked(place)) {
            Some((name, [_, value @ ..])) => (name, value),
            _ => (string, b"".as_slice()),
        };
        if value.is_empty() {
            variables.remove(name);
        } else if name.is_empty() {
            return None;
        } else {
            variables.insert(name.into(), unescaped(value));
        }
    }
    Some(variables)
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => *bytes.next().unwrap_or(byte),
            _ => *byte,
        });
    }
    value
}

fn built_in() -> Variables {
    let pairs = BUILT_IN.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.into(), unescaped(value.as_bytes())))
        .collect()
}

/// The words of an unquoted variable in U-Boot's shell; a tab parts none.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| matches!(byte, b' ' | b'\n'))
        .filter(|word| !word.is_empty())
}

/// What `itest` and `setexpr` make of `0x` and a value behind it: hexadecimal digits up to the
/// first other character, 32 bits of them. Nothing where the value makes two words of one, which
/// both commands refuse.
fn number(value: &[u8]) -> Option<u32> {
    let text = [b"0x", value].concat();
    let mut parts = words(&text);
    let (Some(first), None) = (parts.next(), parts.next()) else {
        return None;
    };
    let digits = first
        .iter()
        .skip(2)
        .map(|byte| char::from(*byte).to_digit(16));
    let known = digits.map_while(|digit| digit);
    Some(known.fold(0_u32, |number, digit| number << 4 | digit))
}
