//! Contracts with an order of slots and tries for each slot.

use alloc::vec::Vec;

use switchback_types::SlotName;

use super::order::Order;
use super::{BootChange, BootNames, BootView, SlotBoot, rauc_grub, tries_left};
use crate::Vars;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderedKind {
    RaucUboot,
    RaucGrub,
    SwitchbackGrub,
}

impl OrderedKind {
    pub(super) const fn max_tries(self) -> u8 {
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
    pub(super) const fn order_variable(self) -> &'static str {
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

/// Such a contract with a certain board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordered<'a> {
    pub(super) kind: OrderedKind,
    pub(super) names: &'a BootNames,
}

impl Ordered<'_> {
    /// What the variables say.
    pub(super) fn observe(self, vars: &Vars) -> BootView {
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
        let order = order.map_or_else(Vec::new, |order| order.slots(self.names));
        let primary = order.iter().copied().find(|slot| match state(slot) {
            SlotBoot::Ready { .. } | SlotBoot::Uncounted => true,
            // Scripts that count start a slot that was never counted; RAUC's for GRUB does not.
            SlotBoot::Missing => self.kind != OrderedKind::RaucGrub,
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
    pub(super) fn apply(self, vars: &mut Vars, change: &BootChange<'_>, booted: SlotName) {
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
                order.insert(self.names.name(slot), self.names);
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
    }

    /// The variables of a new board: both slots in the order, each with its tries.
    pub(super) fn defaults(self, tries: u8) -> Vars {
        let mut vars = Vars::new();
        self.write_order(&mut vars, &Order::of(self.names, SlotName::A));
        for slot in SlotName::ALL {
            self.set_ready(&mut vars, slot, tries);
        }
        vars
    }

    fn order(self, vars: &Vars) -> Option<Order> {
        vars.text(self.kind.order_variable()).and_then(Order::parse)
    }

    fn write_order(self, vars: &mut Vars, order: &Order) {
        vars.set(self.kind.order_variable(), &order.to_text());
    }

    /// The order with the booted slot in it; if there is none, what boot scripts take then.
    fn complete_order(self, vars: &Vars, booted: SlotName) -> Order {
        match self.order(vars) {
            Some(mut order) => {
                order.insert(self.names.name(booted), self.names);
                order
            }
            None => Order::of(self.names, booted),
        }
    }

    fn put_first(self, vars: &mut Vars, slot: SlotName, booted: SlotName) {
        let mut order = self.complete_order(vars, booted);
        order.put_first(self.names.name(slot));
        self.write_order(vars, &order);
    }

    fn slot_state(self, vars: &Vars, order: Option<&Order>, slot: SlotName) -> SlotBoot {
        let name = self.names.name(slot);
        if order.is_some_and(|order| !order.contains(name)) {
            return SlotBoot::Bad;
        }
        match self.kind {
            OrderedKind::RaucUboot => tries_left::state(
                vars.text(&tries_left::uboot_variable(name))
                    .map(tries_left::hexadecimal),
            ),
            OrderedKind::SwitchbackGrub => tries_left::state(
                vars.text(tries_left::grub_variable(slot))
                    .and_then(tries_left::decimal_digit),
            ),
            OrderedKind::RaucGrub => rauc_grub::state(vars, name),
        }
    }

    fn set_ready(self, vars: &mut Vars, slot: SlotName, tries: u8) {
        let tries = tries.clamp(1, self.kind.max_tries());
        match self.kind {
            OrderedKind::RaucGrub => rauc_grub::set(vars, self.names.name(slot), true),
            OrderedKind::RaucUboot | OrderedKind::SwitchbackGrub => {
                self.write_left(vars, slot, tries);
            }
        }
    }

    /// Takes a slot out of the running.
    fn set_bad(self, vars: &mut Vars, slot: SlotName, booted: SlotName) {
        let mut order = self.complete_order(vars, booted);
        // RAUC on GRUB leaves a bad slot in the order; OK says enough.
        if self.kind != OrderedKind::RaucGrub {
            order.remove(self.names.name(slot));
        }
        if order.slots(self.names).is_empty() {
            // To boot scripts an empty order is none, and their default has the bad slot in it;
            // with foreign names only, some scripts reset for ever.
            order.insert(self.names.name(slot.other()), self.names);
        }
        self.write_order(vars, &order);
        match self.kind {
            OrderedKind::RaucGrub => rauc_grub::set(vars, self.names.name(slot), false),
            OrderedKind::RaucUboot | OrderedKind::SwitchbackGrub => {
                self.write_left(vars, slot, 0);
            }
        }
    }

    fn give_back_try(self, vars: &mut Vars, slot: SlotName) {
        let left = match self.slot_state(vars, self.order(vars).as_ref(), slot) {
            SlotBoot::Ready { left } => left,
            SlotBoot::Exhausted => 0,
            // What is bad stays bad, and what was never counted was not taken.
            SlotBoot::Bad | SlotBoot::Missing | SlotBoot::Uncounted => return,
        };
        if left < self.kind.max_tries() {
            self.set_ready(vars, slot, left.saturating_add(1));
        }
    }

    fn write_left(self, vars: &mut Vars, slot: SlotName, left: u8) {
        match self.kind {
            OrderedKind::RaucUboot => {
                let name = tries_left::uboot_variable(self.names.name(slot));
                vars.set(&name, &alloc::format!("{left:x}"));
            }
            OrderedKind::SwitchbackGrub => {
                vars.set(tries_left::grub_variable(slot), &alloc::format!("{left}"));
            }
            OrderedKind::RaucGrub => {}
        }
    }
}
