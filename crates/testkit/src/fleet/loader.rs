//! The bootloader: which slot is first, and how often each may still be started.

use switchback_types::SlotName;
use switchback_update_core::{BootObservation, SlotBoot};

/// Two counts of tries, as in RAUC's contract: a start takes one, and a slot without any is passed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader {
    first: SlotName,
    /// Nothing: never to be started.
    a: Option<u8>,
    b: Option<u8>,
}

impl Loader {
    /// Slot a is good, slot b holds nothing.
    pub(super) const fn new(tries: u8) -> Self {
        Self {
            first: SlotName::A,
            a: Some(tries),
            b: None,
        }
    }

    const fn left(&mut self, slot: SlotName) -> &mut Option<u8> {
        match slot {
            SlotName::A => &mut self.a,
            SlotName::B => &mut self.b,
        }
    }

    pub(super) const fn arm(&mut self, slot: SlotName, tries: u8) {
        self.first = slot;
        *self.left(slot) = Some(tries);
    }

    pub(super) const fn good(&mut self, slot: SlotName, tries: u8) {
        *self.left(slot) = Some(tries);
    }

    pub(super) const fn never(&mut self, slot: SlotName) {
        *self.left(slot) = None;
    }

    pub(super) const fn give_back(&mut self, slot: SlotName) {
        if let Some(left) = self.left(slot) {
            *left = left.saturating_add(1);
        }
    }

    /// The slot that is started; nothing when none may be.
    pub(super) fn boot(&mut self) -> Option<SlotName> {
        for slot in [self.first, self.first.other()] {
            if let Some(left) = self.left(slot)
                && *left > 0
            {
                *left -= 1;
                return Some(slot);
            }
        }
        None
    }

    pub(super) const fn observe(&self) -> BootObservation {
        const fn seen(left: Option<u8>) -> SlotBoot {
            match left {
                None => SlotBoot::Bad,
                Some(0) => SlotBoot::Exhausted,
                Some(left) => SlotBoot::Ready { left },
            }
        }
        BootObservation {
            primary: Some(self.first),
            a: seen(self.a),
            b: seen(self.b),
        }
    }
}
