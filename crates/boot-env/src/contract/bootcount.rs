//! U-Boot's own boot count: one slot is named, and a trial of it is counted.
//!
//! U-Boot adds one to `bootcount` and saves, at each boot, while `upgrade_available` is not 0. Once
//! `bootcount` is greater than `bootlimit` it runs `altbootcmd` instead of `bootcmd`; the board's
//! `altbootcmd` names the other slot, takes `upgrade_available` back and saves.
//!
//! Nothing is counted while `upgrade_available` is 0: a committed slot that breaks later is started
//! again and again. All numbers are decimal.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use switchback_types::SlotName;

use super::{BootChange, BootNames, BootView, SlotBoot};
use crate::Vars;

/// A trial is under way: U-Boot counts.
const TRIAL: &str = "upgrade_available";
/// Boots of this trial so far.
const COUNT: &str = "bootcount";
/// Boots that a trial has; without it, or with 0, U-Boot never gives up.
const LIMIT: &str = "bootlimit";
/// The value that proves contact.
const CONTACT: &str = "switchback_id";

/// Long enough for any board.
const LONGEST: usize = 32;

/// The variables by which a board's script knows the slot.
///
/// The value is the slot's bootname: with Mender the number of its partition, in decimal in one
/// variable and in hexadecimal, as U-Boot's commands take it, in a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotVariables {
    plain: String,
    hexadecimal: Option<String>,
}

/// Names or values that such variables cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotVariableError {
    /// Not the name of a variable that is free for this.
    #[error(
        "{name:?} cannot name the slot: use 1 to {LONGEST} letters, digits, `_`, `-` and `.`, no name twice, \
         and none of {TRIAL}, {COUNT}, {LIMIT} and {CONTACT}; e.g. mender_boot_part"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A hexadecimal variable holds numbers.
    #[error(
        "the bootname {bootname:?} cannot be written to {variable} in hexadecimal: with the contract \
         bootcount it is the number of the slot's partition, e.g. 2; if the board has no hexadecimal \
         variable, set its name to \"\""
    )]
    NoNumber {
        /// The bootname.
        bootname: String,
        /// The hexadecimal variable.
        variable: String,
    },
}

impl SlotVariables {
    /// A variable with the bootname as it is, and perhaps one with the same number in hexadecimal.
    ///
    /// # Errors
    /// A name is none, is taken, or a bootname is no decimal number although there is a hexadecimal
    /// variable.
    pub fn new(
        plain: &str,
        hexadecimal: Option<&str>,
        names: &BootNames,
    ) -> Result<Self, SlotVariableError> {
        for name in [Some(plain), hexadecimal].into_iter().flatten() {
            let usable = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let taken = [TRIAL, COUNT, LIMIT, CONTACT].contains(&name);
            if name.is_empty() || name.len() > LONGEST || !name.chars().all(usable) || taken {
                return Err(SlotVariableError::Name { name: name.into() });
            }
        }
        if hexadecimal == Some(plain) {
            return Err(SlotVariableError::Name { name: plain.into() });
        }
        if let Some(variable) = hexadecimal {
            for bootname in SlotName::ALL.map(|slot| names.name(slot)) {
                if partition(bootname).is_none() {
                    return Err(SlotVariableError::NoNumber {
                        bootname: bootname.into(),
                        variable: variable.into(),
                    });
                }
            }
        }
        Ok(Self {
            plain: plain.into(),
            hexadecimal: hexadecimal.map(Into::into),
        })
    }
}

impl Default for SlotVariables {
    /// Mender's.
    fn default() -> Self {
        Self {
            plain: "mender_boot_part".into(),
            hexadecimal: Some("mender_boot_part_hex".into()),
        }
    }
}

/// A bootname as the number of a partition, written in one way only.
fn partition(bootname: &str) -> Option<u16> {
    let number: u16 = bootname.parse().ok()?;
    (format!("{number}") == bootname).then_some(number)
}

/// The contract with a certain board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bootcount<'a> {
    pub(super) names: &'a BootNames,
    pub(super) variables: &'a SlotVariables,
}

impl Bootcount<'_> {
    pub(super) fn observe(self, vars: &Vars) -> BootView {
        let selected = self.selected(vars);
        let [a, b] = SlotName::ALL.map(|slot| state(vars, selected, slot));
        let order = match selected {
            None => vec![],
            // Without a trial altbootcmd is not run: there is no second slot.
            Some(slot) if !on_trial(vars) => vec![slot],
            Some(slot) => vec![slot, slot.other()],
        };
        let primary = order.iter().copied().find(|slot| match slot {
            SlotName::A => a != SlotBoot::Exhausted,
            SlotName::B => b != SlotBoot::Exhausted,
        });
        BootView {
            order,
            primary,
            a,
            b,
            contact_id: vars.text(CONTACT).map(Into::into),
            unset: vars.text(&self.variables.plain).is_none() && vars.text(TRIAL).is_none(),
        }
    }

    pub(super) fn apply(self, vars: &mut Vars, change: &BootChange<'_>, booted: SlotName) {
        match *change {
            // What is selected is started, what a trial can fall back to, too.
            BootChange::Invalidate(slot) => {
                self.select(vars, slot.other());
                end_trial(vars);
            }
            BootChange::Arm {
                slot,
                tries,
                contact_id,
            } => {
                self.select(vars, slot);
                begin_trial(vars, tries);
                vars.set(CONTACT, contact_id);
            }
            BootChange::MarkGood { slot, .. } => match self.selected(vars) {
                // Another slot is armed, or was chosen: that is not undone in passing.
                Some(selected) if selected != slot => {}
                Some(_) => end_trial(vars),
                None if slot == booted => {
                    self.select(vars, slot);
                    end_trial(vars);
                }
                None => {}
            },
            BootChange::FallBack { to, .. } => {
                self.select(vars, to);
                end_trial(vars);
            }
            BootChange::SetPrimary { slot, tries } => {
                // Counted until it is marked good: the slot may have broken since it last ran.
                if self.selected(vars) != Some(slot) || on_trial(vars) {
                    self.select(vars, slot);
                    begin_trial(vars, tries);
                }
            }
            BootChange::GiveBackTry { slot } => {
                let count = number(vars, COUNT);
                if self.selected(vars) == Some(slot) && on_trial(vars) && count > 0 {
                    vars.set(COUNT, &format!("{}", count.saturating_sub(1)));
                }
            }
        }
    }

    pub(super) fn defaults(self, tries: u8) -> Vars {
        let mut vars = Vars::new();
        self.select(&mut vars, SlotName::A);
        vars.set(TRIAL, "0");
        vars.set(COUNT, "0");
        vars.set(LIMIT, &format!("{}", tries.max(1)));
        vars
    }

    /// The slot that is named. None if both variables name different ones: whether the kernel or
    /// the root file system is then taken from one slot or the other is the script's secret.
    fn selected(self, vars: &Vars) -> Option<SlotName> {
        let slot = self.names.slot(vars.text(&self.variables.plain)?)?;
        let second = self.variables.hexadecimal.as_deref();
        match second.and_then(|name| vars.text(name)) {
            Some(found) if found != self.hexadecimal(slot) => None,
            _ => Some(slot),
        }
    }

    fn select(self, vars: &mut Vars, slot: SlotName) {
        vars.set(&self.variables.plain, self.names.name(slot));
        if let Some(name) = &self.variables.hexadecimal {
            vars.set(name, &self.hexadecimal(slot));
        }
    }

    fn hexadecimal(self, slot: SlotName) -> String {
        let name = self.names.name(slot);
        // Other names are refused where there are settings.
        partition(name).map_or_else(|| name.into(), |number| format!("{number:x}"))
    }
}

fn state(vars: &Vars, selected: Option<SlotName>, slot: SlotName) -> SlotBoot {
    let (count, limit) = (number(vars, COUNT), number(vars, LIMIT));
    match selected {
        None => SlotBoot::Missing,
        Some(selected) if on_trial(vars) => {
            // altbootcmd starts the other slot, and U-Boot without a limit this one, for ever.
            if selected != slot || limit == 0 {
                return SlotBoot::Uncounted;
            }
            match u8::try_from(limit.saturating_sub(count)) {
                Ok(0) => SlotBoot::Exhausted,
                Ok(left) => SlotBoot::Ready { left },
                Err(_) => SlotBoot::Ready { left: u8::MAX },
            }
        }
        Some(selected) if selected == slot => SlotBoot::Uncounted,
        // altbootcmd leaves the count as it was when it gave this slot up.
        Some(_) if limit > 0 && count > limit => SlotBoot::Exhausted,
        Some(_) => SlotBoot::Bad,
    }
}

fn on_trial(vars: &Vars) -> bool {
    number(vars, TRIAL) != 0
}

fn begin_trial(vars: &mut Vars, tries: u8) {
    vars.set(TRIAL, "1");
    vars.set(COUNT, "0");
    vars.set(LIMIT, &format!("{}", tries.max(1)));
}

/// Nothing is written where nothing would be read differently: this is done at each boot.
fn end_trial(vars: &mut Vars) {
    for name in [TRIAL, COUNT] {
        if number(vars, name) != 0 {
            vars.set(name, "0");
        }
    }
}

/// A number as U-Boot reads it: digits up to the first other character, hexadecimal ones behind
/// `0x`; without any, 0. Beyond 32 bits boards differ, and nobody writes such.
fn number(vars: &Vars, name: &str) -> u64 {
    let text = vars.text(name).unwrap_or_default();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    digits
        .chars()
        .map_while(|c| c.to_digit(radix))
        .fold(0, |value, digit| {
            value
                .saturating_mul(radix.into())
                .saturating_add(digit.into())
        })
}

#[cfg(test)]
mod tests;
