//! A machine without power, and the ways in which it can lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use switchback_types::SlotName;

use crate::repository::Stage;
use crate::storage::{Chance, Disk, Fate, Names};

/// Everything that is there when the power is off, and what only the simulation knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Slot a and slot b.
    pub slots: [Disk; 2],
    /// The environment's files or devices.
    pub environment: BTreeMap<PathBuf, Disk>,
    /// The daemon's records.
    pub names: Names,
    /// What changed last.
    pub last: Place,
    /// What really happened.
    pub truth: Truth,
}

/// Where a change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Nowhere yet.
    None,
    /// A slot.
    Slot(SlotName),
    /// The boot environment.
    Environment,
    /// The records.
    Records,
}

/// What really happened, whatever anybody noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// The version that was healthy in each slot since it was written last.
    pub good: [Option<u8>; 2],
    /// Whether bits flipped in a slot since it was written last.
    pub rotten: [bool; 2],
    /// Actions that were begun.
    pub begun: BTreeSet<String>,
    /// Outcomes as they were told.
    pub told: Vec<Told>,
    /// Starts of a kernel.
    pub boots: u32,
    /// Power cuts.
    pub cuts: u8,
    /// Starts of the daemon that followed no start of the kernel.
    pub daemon_restarts: u32,
    /// Deeds that were done.
    pub deeds: usize,
    /// What is published.
    pub published: Stage,
    /// Polls that were answered or not.
    pub polls: u32,
    /// Times that an outcome still cannot be told.
    pub tell_failures: u8,
    /// Times that the gate before the restart is still found closed.
    pub closed_gates: u8,
    /// Numbers drawn so far.
    pub drawn: u64,
    /// Reads, writes and syncs of slots, records and environment so far, where faults count them.
    pub operations: BTreeMap<(Place, Operation), u32>,
}

impl Truth {
    /// Whether any cut came so far.
    #[must_use]
    pub const fn was_disturbed(&self) -> bool {
        self.cuts > 0 || self.daemon_restarts > 0
    }
}

/// An outcome, as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Told {
    /// The action.
    pub action: String,
    /// The version.
    pub version: String,
    /// How it ended.
    pub outcome: String,
}

/// A slot's own part of something.
#[must_use]
pub const fn of<T: Copy>(pair: [T; 2], slot: SlotName) -> T {
    let [a, b] = pair;
    match slot {
        SlotName::A => a,
        SlotName::B => b,
    }
}

pub(crate) const fn of_mut<T>(pair: &mut [T; 2], slot: SlotName) -> &mut T {
    let [a, b] = pair;
    match slot {
        SlotName::A => a,
        SlotName::B => b,
    }
}

/// What is done with storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making durable.
    Sync,
}

/// How the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// It does not: only the daemon is killed, in the middle of the boot.
    Killed,
    /// Nothing that was not synced survives.
    CacheLost,
    /// Everything survives.
    CacheKept,
    /// Of the last write so many bytes; of what was written before nothing.
    TornLost(usize),
    /// Of the last write so many bytes; everything before.
    TornKept(usize),
    /// Only the last write survives.
    OnlyLast,
    /// By chance, in any order.
    Chance(u64),
}

impl Machine {
    /// Things that are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        let disks = self.slots.iter().chain(self.environment.values());
        disks.map(Disk::pending).sum::<usize>() + self.names.pending()
    }

    /// Bytes of the newest write, if it is not durable.
    #[must_use]
    pub fn newest(&self) -> usize {
        match self.last {
            Place::None => 0,
            Place::Slot(slot) => self.slot(slot).newest(),
            Place::Environment => self
                .environment
                .values()
                .map(Disk::newest)
                .max()
                .unwrap_or(0),
            Place::Records => self.names.newest(),
        }
    }

    /// A slot's disk.
    #[must_use]
    pub const fn slot(&self, slot: SlotName) -> &Disk {
        let [a, b] = &self.slots;
        match slot {
            SlotName::A => a,
            SlotName::B => b,
        }
    }

    pub(crate) const fn slot_mut(&mut self, slot: SlotName) -> &mut Disk {
        of_mut(&mut self.slots, slot)
    }

    /// The power goes.
    pub fn cut(&mut self, cut: Cut) {
        if cut == Cut::Killed {
            return;
        }
        let mut chance = match cut {
            Cut::Chance(seed) => Chance::new(seed),
            _ => Chance::new(0),
        };
        let newest = self.newest();
        let last = self.last;
        let mut fate = |here: Place, is_newest: bool| match cut {
            Cut::CacheLost => Fate::Lost,
            Cut::CacheKept | Cut::Killed => Fate::Kept,
            Cut::TornLost(bytes) | Cut::TornKept(bytes) if here == last && is_newest => {
                Fate::Torn(bytes)
            }
            Cut::OnlyLast if here == last && is_newest => Fate::Kept,
            Cut::TornLost(_) | Cut::OnlyLast => Fate::Lost,
            Cut::TornKept(_) => Fate::Kept,
            Cut::Chance(_) => match chance.below(3) {
                0 => Fate::Lost,
                1 => Fate::Kept,
                _ => Fate::Torn(chance.below(newest / 512 + 2) * 512),
            },
        };
        for slot in SlotName::ALL {
            let disk = self.slot_mut(slot);
            let pending = disk.pending();
            disk.cut(&mut |index| fate(Place::Slot(slot), index + 1 == pending));
        }
        for disk in self.environment.values_mut() {
            let pending = disk.pending();
            disk.cut(&mut |index| fate(Place::Environment, index + 1 == pending));
        }
        let pending = self.names.pending();
        self.names
            .cut(&mut |index| fate(Place::Records, index + 1 == pending));
        for disk in self.slots.iter_mut().chain(self.environment.values_mut()) {
            disk.forget_doomed();
        }
        self.last = Place::None;
    }
}
