//! The daemon's ports over simulated storage; each change is a numbered step.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{Attempt, Outcome};
use switchbackd::boot::{BootError, EnvFiles, FileFacts, FileKind, Locks};
use switchbackd::health::Reached;
use switchbackd::host::{HealthEnd, Host};
use switchbackd::journal::RecordFiles;
use switchbackd::settings::HealthSettings;
use switchbackd::slot::{Access, BlockDevice, Devices};

use crate::machine::{Cut, Machine, Place};
use crate::storage::Chance;

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

/// A machine that is on.
#[derive(Debug)]
pub struct Live {
    /// The machine.
    pub machine: Machine,
    /// The slot that runs.
    pub booted: Option<SlotName>,
    /// Time since this boot.
    pub uptime: Duration,
    /// When it was switched on.
    pub switched_on: i64,
    /// What lasts as long as this boot.
    memory: BTreeMap<String, String>,
    /// Health checks that run, and when they end.
    pub health: Vec<(Duration, HealthRun)>,
    /// Whether a restart was asked for.
    pub restart: bool,
    /// What the running image says about itself.
    pub os_release: String,
    /// The machine after each step, if somebody wants to know.
    pub snapshots: Option<Vec<(String, Machine)>>,
    /// The first thing that must not be.
    pub violation: Option<String>,
}

impl Live {
    /// The power comes back, or the machine was reset: memory is gone, disks' caches are not.
    pub fn power_on(&mut self) {
        self.booted = None;
        self.uptime = Duration::ZERO;
        self.memory.clear();
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
    pub end: HealthEnd,
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
    /// A machine that was just switched on.
    #[must_use]
    pub fn new(machine: Machine, switched_on: i64, record: bool) -> Self {
        Self(Arc::new(Mutex::new(Live {
            machine,
            booted: None,
            uptime: Duration::ZERO,
            switched_on,
            memory: BTreeMap::new(),
            health: Vec::new(),
            restart: false,
            os_release: String::new(),
            snapshots: record.then(Vec::new),
            violation: None,
        })))
    }

    /// To look and to change.
    pub fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One durable operation.
    pub fn step(&self, what: impl FnOnce() -> String, change: impl FnOnce(&mut Machine)) {
        let mut live = self.live();
        change(&mut live.machine);
        live.uptime += Duration::from_millis(1);
        if live.snapshots.is_some() {
            let snapshot = (what(), live.machine.clone());
            if let Some(snapshots) = &mut live.snapshots {
                snapshots.push(snapshot);
            }
        }
    }

    /// Something that must not be.
    pub fn violate(&self, what: String) {
        let mut live = self.live();
        live.violation.get_or_insert(what);
    }
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl RecordFiles for World {
    fn make_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let live = self.live();
        let bytes = live.machine.names.read(path).ok_or_else(not_found)?;
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        Ok(bytes.get(..limit).unwrap_or_default().to_vec())
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(
            || format!("create {}", path.display()),
            |machine| {
                machine.names.create(path, bytes);
                machine.last = Place::Records;
            },
        );
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut found = false;
        self.step(
            || format!("sync {}", path.display()),
            |machine| found = machine.names.sync(path),
        );
        found.then_some(()).ok_or_else(not_found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut found = false;
        self.step(
            || format!("rename {}", to.display()),
            |machine| {
                found = machine.names.rename(from, to);
                machine.last = Place::Records;
            },
        );
        found.then_some(()).ok_or_else(not_found)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.step(
            || "sync the directory".into(),
            |machine| machine.names.sync_names(),
        );
        Ok(())
    }
}

#[derive(Debug)]
struct SlotDevice {
    world: World,
    slot: SlotName,
    access: Access,
}

impl Devices for World {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        let slot = SlotName::ALL
            .into_iter()
            .find(|slot| slot_path(*slot) == path)
            .ok_or_else(not_found)?;
        Ok(Box::new(SlotDevice {
            world: self.clone(),
            slot,
            access,
        }))
    }
}

impl BlockDevice for SlotDevice {
    fn size(&self) -> u64 {
        let size = self.world.live().machine.slot(self.slot).size();
        u64::try_from(size).unwrap_or(0)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let live = self.world.live();
        let bytes = live.machine.slot(self.slot).read(offset, buffer.len());
        let count = bytes.len();
        if let Some(place) = buffer.get_mut(..count) {
            place.copy_from_slice(&bytes);
        }
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if self.access != Access::Write {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        if self.world.live().booted == Some(self.slot) {
            let slot = self.slot;
            self.world
                .violate(format!("I2: slot {slot} runs and is written"));
        }
        self.world.step(
            || format!("write slot {} at {offset}", self.slot),
            |machine| {
                machine.slot_mut(self.slot).write(offset, buffer);
                machine.last = Place::Slot(self.slot);
                let [a, b] = &mut machine.truth.good;
                *match self.slot {
                    SlotName::A => a,
                    SlotName::B => b,
                } = None;
            },
        );
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.world.step(
            || format!("sync slot {}", self.slot),
            |machine| machine.slot_mut(self.slot).sync(),
        );
        Ok(())
    }
}

/// Where `fw_env.config` is said to be.
pub const FW_ENV_CONFIG: &str = "/etc/fw_env.config";
/// Bytes of one copy of U-Boot's environment.
pub const UBOOT_COPY: usize = 0x1000;
const FW_ENV: &str = "/dev/env 0x0 0x1000\n/dev/env 0x1000 0x1000\n";

impl EnvFiles for World {
    fn lock(&self, _: Locks<'_>) -> Result<Box<dyn fmt::Debug>, BootError> {
        Ok(Box::new(()))
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let live = self.live();
        let place = live
            .machine
            .environment
            .keys()
            .position(|known| known == path);
        let (index, length) = match (place, live.machine.environment.get(path)) {
            (Some(index), Some(disk)) => (index, disk.size()),
            _ if path == Path::new(FW_ENV_CONFIG) => (99, FW_ENV.len()),
            _ => return Err(not_found()),
        };
        let length = u64::try_from(length).unwrap_or(0);
        Ok(FileFacts {
            kind: match path.starts_with("/dev") {
                true => FileKind::BlockDevice,
                false => FileKind::Regular,
            },
            length,
            allocated: length,
            identity: (1, u64::try_from(index).unwrap_or(0)),
            unsuitable_for_grub: None,
        })
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if path == Path::new(FW_ENV_CONFIG) {
            return Ok(FW_ENV.into());
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let live = self.live();
        let disk = live.machine.environment.get(path).ok_or_else(not_found)?;
        Ok(disk.read(offset, length))
    }

    fn probe_writable(&self, path: &Path) -> io::Result<()> {
        self.facts(path).map(drop)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.write_environment(path, offset, bytes);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.step(
            || format!("sync {}", path.display()),
            |machine| {
                if let Some(disk) = machine.environment.get_mut(path) {
                    disk.sync();
                }
            },
        );
        Ok(())
    }

    fn shorten(&self, _: &Path, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl World {
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
}

impl Host for World {
    fn now(&self) -> Timestamp {
        let live = self.live();
        let seconds = i64::try_from(live.uptime.as_secs()).unwrap_or(0);
        Timestamp::from_unix(live.switched_on + seconds)
    }

    fn uptime(&self) -> Duration {
        self.live().uptime
    }

    fn pause(&self, time: Duration) {
        self.live().uptime += time;
    }

    fn random(&self, bytes: &mut [u8]) -> bool {
        let mut live = self.live();
        live.machine.truth.drawn += 1;
        let mut chance = Chance::new(live.machine.truth.drawn);
        for byte in bytes {
            *byte = u8::try_from(chance.below(256)).unwrap_or(0);
        }
        true
    }

    fn check_health(&self, settings: &HealthSettings, _: &Reached, end: HealthEnd) {
        let mut live = self.live();
        let due = live.uptime + settings.settle;
        let run = HealthRun {
            settings: settings.clone(),
            end,
        };
        live.health.push((due, run));
    }

    fn restart(&self, _: &[String]) {
        self.live().restart = true;
    }

    fn is_stopping(&self) -> bool {
        true
    }

    fn tell(&self, attempt: &Attempt, outcome: &Outcome) -> Result<(), String> {
        let mut live = self.live();
        let truth = &mut live.machine.truth;
        if truth.tell_failures > 0 {
            truth.tell_failures -= 1;
            return Err("the server does not answer".into());
        }
        truth
            .told
            .push((attempt.action.to_string(), outcome.to_string()));
        Ok(())
    }

    fn os_release(&self) -> String {
        self.live().os_release.clone()
    }

    fn recall(&self, name: &str) -> Option<String> {
        self.live().memory.get(name).cloned()
    }

    fn keep(&self, name: &str, text: &str) {
        self.live().memory.insert(name.into(), text.into());
    }
}
