//! A machine that is on: what programs see, what lasts only as long as the power.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use switchback_types::SlotName;
use switchbackd::host::HealthReports;
use switchbackd::settings::HealthSettings;

use crate::bootloader::Start;
use crate::invariants::{Law, Violation};
use crate::machine::{Cut, Machine, Operation, Place};
use crate::scenario::{Faults, IoFault};

/// Where the daemon keeps its records.
pub const STATE: &str = "/state";

/// Path of a slot's device.
#[must_use]
pub fn slot_path(slot: SlotName) -> PathBuf {
    match slot {
        SlotName::A => "/dev/slot-a".into(),
        SlotName::B => "/dev/slot-b".into(),
    }
}

/// What lasts as long as one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Session {
    /// The kernel that the loader started, if it did.
    pub start: Option<Start>,
    /// The version that runs.
    pub version: u8,
    /// Time since this boot.
    pub uptime: Duration,
    /// When it was switched on, by the device's clock.
    pub switched_on: i64,
    /// What the daemon kept in memory.
    pub(crate) memory: BTreeMap<String, String>,
}

/// A machine after one step.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The step.
    pub what: String,
    /// The machine.
    pub machine: Machine,
    /// The boot in which it happened.
    pub session: Session,
}

/// A machine that is on.
#[derive(Debug)]
pub struct Live {
    /// The machine.
    pub machine: Machine,
    /// This boot.
    pub session: Session,
    /// Health checks that run, and when they end.
    pub health: Vec<(Duration, HealthRun)>,
    /// Whether a restart was asked for.
    pub restart: bool,
    /// The machine after each step, if somebody wants to know.
    pub snapshots: Option<Vec<Snapshot>>,
    /// The first thing that must not be.
    pub violation: Option<Violation>,
    /// Whether a daemon has the records to itself.
    pub(crate) locked: bool,
    pub(crate) faults: Faults,
}

impl Live {
    /// The slot that runs.
    #[must_use]
    pub fn booted(&self) -> Option<SlotName> {
        self.session.start.as_ref().map(|start| start.slot)
    }

    /// The power comes back, or the machine was reset: memory is gone, disks' caches are not.
    pub fn power_on(&mut self, now: i64) {
        self.session = Session {
            switched_on: now,
            ..Session::default()
        };
        self.end_daemon();
    }

    /// The daemon's process is gone.
    pub fn end_daemon(&mut self) {
        self.health.clear();
        self.restart = false;
    }

    /// An orderly restart writes everything out.
    pub fn flush(&mut self) {
        self.machine.cut(Cut::CacheKept);
    }
}

/// Health checks that run.
pub struct HealthRun {
    /// The settings.
    pub settings: HealthSettings,
    /// To be told.
    pub reports: HealthReports,
}

impl fmt::Debug for HealthRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HealthRun")
    }
}

/// Shared by all ports.
#[derive(Debug, Clone)]
pub struct World(Arc<Mutex<Live>>);

impl World {
    /// A machine in the middle of a boot, or, with an empty session, without power.
    #[must_use]
    pub fn new(machine: Machine, session: Session, faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(Live {
            machine,
            session,
            health: Vec::new(),
            restart: false,
            snapshots: None,
            violation: None,
            locked: false,
            faults,
        })))
    }

    /// The same, keeping the machine after each step.
    #[must_use]
    pub fn recording(self) -> Self {
        self.live().snapshots = Some(Vec::new());
        self
    }

    /// To look and to change.
    pub fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One durable operation.
    pub fn step(&self, what: impl FnOnce() -> String, change: impl FnOnce(&mut Machine)) {
        let mut live = self.live();
        change(&mut live.machine);
        live.session.uptime += Duration::from_millis(1);
        if live.snapshots.is_some() {
            let snapshot = Snapshot {
                what: what(),
                machine: live.machine.clone(),
                session: live.session.clone(),
            };
            if let Some(snapshots) = &mut live.snapshots {
                snapshots.push(snapshot);
            }
        }
    }

    /// Something that must not be.
    pub fn violate(&self, law: Law, detail: String) {
        let mut live = self.live();
        live.violation.get_or_insert(Violation { law, detail });
    }

    /// What goes wrong with this operation, if anything does.
    pub(crate) fn fault(&self, place: Place, operation: Operation) -> Option<IoFault> {
        let mut live = self.live();
        let fault = match place {
            Place::None => None,
            Place::Slot(_) => live.faults.slot,
            Place::Environment => live.faults.environment,
            Place::Records => live.faults.records,
        }?;
        let count = live
            .machine
            .truth
            .operations
            .entry((place, operation))
            .or_default();
        *count += 1;
        let hit = match (fault, operation) {
            (IoFault::Read(span), Operation::Read)
            | (IoFault::Write(span) | IoFault::Flip(span), Operation::Write)
            | (IoFault::Sync(span), Operation::Sync) => span.contains(*count),
            _ => false,
        };
        hit.then_some(fault)
    }

    /// A write of a copy of the environment, by whoever.
    pub fn write_environment(&self, path: &Path, offset: usize, bytes: &[u8]) {
        self.step(
            || format!("write {} at {offset}", path.display()),
            |machine| {
                if let Some(disk) = machine.environment.get_mut(path) {
                    disk.write(offset, bytes);
                }
                machine.last = Place::Environment;
            },
        );
    }

    /// A sync of the environment, by whoever.
    pub fn sync_environment(&self, path: &Path) {
        self.step(
            || format!("sync {}", path.display()),
            |machine| {
                if let Some(disk) = machine.environment.get_mut(path) {
                    disk.sync();
                }
            },
        );
    }
}
