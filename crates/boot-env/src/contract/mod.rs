//! Which variables mean what: the agreement between a boot script and the system.
//!
//! | | order | slot x may be started | written by the boot script | id |
//! |---|---|---|---|---|
//! | [`ContractKind::RaucUboot`] | `BOOT_ORDER` | `BOOT_x_LEFT` > 0, hexadecimal | one less, at each boot | `switchback_id` |
//! | [`ContractKind::RaucGrub`] | `ORDER` | `x_OK` = 1 and `x_TRY` = 0 | `x_TRY` = 1, at each boot | `switchback_id` |
//! | [`ContractKind::SwitchbackGrub`] | `order` | `a_left` > 0, one decimal digit | one less, at each boot | `id` |
//!
//! All three count at *every* boot, also of a committed slot: a slot is marked good at each boot
//! that is healthy, or it falls away.
//!
//! What foreign tools write in two steps is one change of the variables here, to be written as one
//! copy of the environment. The order stays complete: names that are not ours (a rescue system)
//! keep their places, and the booted slot is put into an order that lacks it, unless the very
//! change takes it out.

mod names;
mod order;
mod rauc_grub;
mod tries_left;

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::SlotName;

pub use self::names::{BootNameError, BootNames};
use self::order::Order;
use crate::Vars;

/// The agreements that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContractKind {
    /// RAUC's contract for U-Boot: `BOOT_ORDER` and `BOOT_<x>_LEFT`. Our U-Boot script keeps to it.
    RaucUboot,
    /// RAUC's contract for GRUB: `ORDER`, `<x>_OK` and `<x>_TRY`. Exactly one try.
    RaucGrub,
    /// Our own contract for GRUB: `order`, `a_left`, `b_left` and `id`, in two copies.
    SwitchbackGrub,
}

impl ContractKind {
    /// The most tries that a slot can be given: what is asked for beyond it becomes this.
    #[must_use]
    pub const fn max_tries(self) -> u8 {
        match self {
            // One hexadecimal digit: scripts that compare in decimal get on with it up to 9.
            Self::RaucUboot => 15,
            // TRY is a mark, not a counter.
            Self::RaucGrub => 1,
            // grub.cfg counts on one digit.
            Self::SwitchbackGrub => 9,
        }
    }

    /// The name of the order of slots.
    const fn order_variable(self) -> &'static str {
        match self {
            Self::RaucUboot => "BOOT_ORDER",
            Self::RaucGrub => "ORDER",
            Self::SwitchbackGrub => "order",
        }
    }

    /// The name of the value that proves contact.
    const fn id_variable(self) -> &'static str {
        match self {
            Self::RaucUboot | Self::RaucGrub => "switchback_id",
            Self::SwitchbackGrub => "id",
        }
    }
}

/// How the bootloader sees a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotBoot {
    /// It will not be started: it is not in the order, or it was marked bad.
    Bad,
    /// It may be started `left` more times.
    Ready {
        /// Tries left.
        left: u8,
    },
    /// It is in the order, and its tries are used up.
    Exhausted,
    /// The environment says nothing about it: the boot script's own defaults hold.
    Missing,
}

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootView {
    /// Our slots in the order in which they are tried; empty if no order is set.
    pub order: Vec<SlotName>,
    /// The one of our slots that the bootloader starts next; none if the environment does not
    /// decide that, because no order is set or no slot may be started.
    pub primary: Option<SlotName>,
    /// Slot a.
    pub a: SlotBoot,
    /// Slot b.
    pub b: SlotBoot,
    /// What the boot script hands to the kernel as proof of contact; changed by each arm.
    pub contact_id: Option<String>,
    /// No variable of the contract was ever written.
    pub unset: bool,
}

impl BootView {
    /// How the bootloader sees `slot`.
    #[must_use]
    pub const fn slot(&self, slot: SlotName) -> SlotBoot {
        match slot {
            SlotName::A => self.a,
            SlotName::B => self.b,
        }
    }
}

/// One change, to be written at once.
///
/// Tries are brought into 1 to [`ContractKind::max_tries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootChange<'a> {
    /// Make sure that a slot is not started: it is about to be written.
    Invalidate(SlotName),
    /// Put a slot first, with tries: the next boot is its trial.
    Arm {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started.
        tries: u8,
        /// A word that was never used before, to be found on the kernel command line afterwards.
        /// Letters and digits, because GRUB would split anything else.
        contact_id: &'a str,
    },
    /// Give a slot its tries back, and put it into the order if it is not there.
    MarkGood {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started until it is marked good again.
        tries: u8,
    },
    /// Take one slot out and put the other one first, with tries.
    FallBack {
        /// The slot not to be started again.
        bad: SlotName,
        /// The slot to be started from now on.
        to: SlotName,
        /// How many times it may be started.
        tries: u8,
    },
    /// Put a slot first, with tries, without a trial.
    SetPrimary {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started.
        tries: u8,
    },
    /// Give back the try that this boot took, because the restart is an orderly one.
    GiveBackTry {
        /// The slot.
        slot: SlotName,
    },
}

/// Whether there is anything to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The variables are different now.
    Changed,
    /// Everything was so before.
    AlreadySo,
}

/// An agreement with a certain board: its kind and the bootnames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    kind: ContractKind,
    names: BootNames,
}

impl Contract {
    /// The agreement of this kind with these bootnames.
    #[must_use]
    pub const fn new(kind: ContractKind, names: BootNames) -> Self {
        Self { kind, names }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ContractKind {
        self.kind
    }

    /// The bootloader's names for the slots.
    #[must_use]
    pub const fn names(&self) -> &BootNames {
        &self.names
    }

    /// What the variables say.
    #[must_use]
    pub fn observe(&self, vars: &Vars) -> BootView {
        let order = self.order(vars);
        let [a, b] = SlotName::ALL.map(|slot| self.slot_state(vars, order.as_ref(), slot));
        let state = |slot: &SlotName| match slot {
            SlotName::A => a,
            SlotName::B => b,
        };
        let unset = order.is_none()
            && SlotName::ALL
                .iter()
                .all(|slot| state(slot) == SlotBoot::Missing);
        let order = order.map_or_else(Vec::new, |order| order.slots(&self.names));
        let primary = order.iter().copied().find(|slot| match state(slot) {
            SlotBoot::Ready { .. } => true,
            // Scripts that count start a slot that was never counted; RAUC's for GRUB does not.
            SlotBoot::Missing => self.kind != ContractKind::RaucGrub,
            SlotBoot::Bad | SlotBoot::Exhausted => false,
        });
        BootView {
            order,
            primary,
            a,
            b,
            contact_id: vars.text(self.kind.id_variable()).map(Into::into),
            unset,
        }
    }

    /// Changes the variables. `booted` is the slot that runs.
    pub fn apply(&self, vars: &mut Vars, change: &BootChange<'_>, booted: SlotName) -> Applied {
        let before = vars.clone();
        match *change {
            BootChange::Invalidate(slot) => {
                self.set_bad(vars, slot, booted);
            }
            BootChange::Arm {
                slot,
                tries,
                contact_id,
            } => {
                self.put_first(vars, slot, booted);
                self.set_ready(vars, slot, tries);
                vars.set(self.kind.id_variable(), contact_id);
            }
            BootChange::MarkGood { slot, tries } => {
                let mut order = self.complete_order(vars, booted);
                order.insert(self.names.name(slot), &self.names);
                self.write_order(vars, &order);
                self.set_ready(vars, slot, tries);
            }
            BootChange::FallBack { bad, to, tries } => {
                self.set_bad(vars, bad, booted);
                let mut order = self.order(vars).unwrap_or_default();
                order.put_first(self.names.name(to));
                self.write_order(vars, &order);
                self.set_ready(vars, to, tries);
            }
            BootChange::SetPrimary { slot, tries } => {
                self.put_first(vars, slot, booted);
                self.set_ready(vars, slot, tries);
            }
            BootChange::GiveBackTry { slot } => self.give_back_try(vars, slot),
        }
        if *vars == before {
            Applied::AlreadySo
        } else {
            Applied::Changed
        }
    }

    /// The variables of a new board: both slots in the order, each with its tries.
    #[must_use]
    pub fn defaults(&self, tries: u8) -> Vars {
        let mut vars = Vars::new();
        self.write_order(&mut vars, &Order::of(&self.names, SlotName::A));
        for slot in SlotName::ALL {
            self.set_ready(&mut vars, slot, tries);
        }
        vars
    }

    fn order(&self, vars: &Vars) -> Option<Order> {
        vars.text(self.kind.order_variable()).and_then(Order::parse)
    }

    fn write_order(&self, vars: &mut Vars, order: &Order) {
        vars.set(self.kind.order_variable(), &order.to_text());
    }

    /// The order with the booted slot in it; if there is none, what boot scripts take then.
    fn complete_order(&self, vars: &Vars, booted: SlotName) -> Order {
        match self.order(vars) {
            Some(mut order) => {
                order.insert(self.names.name(booted), &self.names);
                order
            }
            None => Order::of(&self.names, booted),
        }
    }

    fn put_first(&self, vars: &mut Vars, slot: SlotName, booted: SlotName) {
        let mut order = self.complete_order(vars, booted);
        order.put_first(self.names.name(slot));
        self.write_order(vars, &order);
    }

    fn slot_state(&self, vars: &Vars, order: Option<&Order>, slot: SlotName) -> SlotBoot {
        let name = self.names.name(slot);
        if order.is_some_and(|order| !order.contains(name)) {
            return SlotBoot::Bad;
        }
        match self.kind {
            ContractKind::RaucUboot => tries_left::state(
                vars.text(&tries_left::uboot_variable(name))
                    .map(tries_left::hexadecimal),
            ),
            ContractKind::SwitchbackGrub => tries_left::state(
                vars.text(tries_left::grub_variable(slot))
                    .and_then(tries_left::decimal_digit),
            ),
            ContractKind::RaucGrub => rauc_grub::state(vars, name),
        }
    }

    fn set_ready(&self, vars: &mut Vars, slot: SlotName, tries: u8) {
        let tries = tries.clamp(1, self.kind.max_tries());
        match self.kind {
            ContractKind::RaucGrub => rauc_grub::set(vars, self.names.name(slot), true),
            ContractKind::RaucUboot | ContractKind::SwitchbackGrub => {
                self.write_left(vars, slot, tries);
            }
        }
    }

    /// Takes a slot out of the running.
    fn set_bad(&self, vars: &mut Vars, slot: SlotName, booted: SlotName) {
        let mut order = self.complete_order(vars, booted);
        // RAUC on GRUB leaves a bad slot in the order; OK says enough.
        if self.kind != ContractKind::RaucGrub {
            order.remove(self.names.name(slot));
        }
        if order.slots(&self.names).is_empty() {
            // To boot scripts an empty order is none, and their default has the bad slot in it;
            // with foreign names only, some scripts reset for ever.
            order.insert(self.names.name(slot.other()), &self.names);
        }
        self.write_order(vars, &order);
        match self.kind {
            ContractKind::RaucGrub => rauc_grub::set(vars, self.names.name(slot), false),
            ContractKind::RaucUboot | ContractKind::SwitchbackGrub => {
                self.write_left(vars, slot, 0);
            }
        }
    }

    fn give_back_try(&self, vars: &mut Vars, slot: SlotName) {
        let left = match self.slot_state(vars, self.order(vars).as_ref(), slot) {
            SlotBoot::Ready { left } => left,
            SlotBoot::Exhausted => 0,
            // What is bad stays bad, and what was never counted was not taken.
            SlotBoot::Bad | SlotBoot::Missing => return,
        };
        if left < self.kind.max_tries() {
            self.set_ready(vars, slot, left.saturating_add(1));
        }
    }

    fn write_left(&self, vars: &mut Vars, slot: SlotName, left: u8) {
        match self.kind {
            ContractKind::RaucUboot => {
                let name = tries_left::uboot_variable(self.names.name(slot));
                vars.set(&name, &alloc::format!("{left:x}"));
            }
            ContractKind::SwitchbackGrub => {
                vars.set(tries_left::grub_variable(slot), &alloc::format!("{left}"));
            }
            ContractKind::RaucGrub => {}
        }
    }
}

#[cfg(test)]
mod tests;
