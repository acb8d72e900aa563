//! The daemon's ports over simulated storage; each change is a numbered step.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{Attempt, Before, Gate, GateState, Outcome, Question};
use switchbackd::boot::{BootError, EnvFiles, FileFacts, FileKind, Locks};
use switchbackd::health::Reached;
use switchbackd::host::{HealthReports, Host};
use switchbackd::journal::RecordFiles;
use switchbackd::settings::{GateSettings, HealthSettings};
use switchbackd::slot::{Access, BlockDevice, Devices};

use crate::device::FAULTY_POLLS;
use crate::invariants::Law;
use crate::machine::{Operation, Place, Told, of_mut};
use crate::scenario::{Clock, Faults, IoFault};
use crate::storage::Chance;
use crate::world::{HealthRun, World, slot_path};

/// Seconds of fourteen years.
const AHEAD: i64 = 14 * 365 * 86_400;

fn broken() -> io::Error {
    io::Error::other("input/output error (os error 5)")
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

/// A lock that ends with the process that holds it.
#[derive(Debug)]
struct Lock(World);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.live().locked = false;
    }
}

impl RecordFiles for World {
    fn lock(&self, _: &Path) -> io::Result<Box<dyn fmt::Debug + Send>> {
        let held = std::mem::replace(&mut self.live().locked, true);
        match held {
            true => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            false => Ok(Box::new(Lock(self.clone()))),
        }
    }

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
        let full = self.fault(Place::Records, Operation::Write).is_some();
        // Where there is no room any more, a part of it is there.
        let written = match full {
            true => bytes.get(..bytes.len() / 2).unwrap_or_default(),
            false => bytes,
        };
        self.step(
            || format!("create {}", path.display()),
            |machine| {
                machine.names.create(path, written);
                machine.last = Place::Records;
            },
        );
        match full {
            true => Err(io::Error::other("no space left on device (os error 28)")),
            false => Ok(()),
        }
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if self.fault(Place::Records, Operation::Sync).is_some() {
            self.step(
                || format!("fail to sync {}", path.display()),
                |machine| machine.names.fail_sync(path),
            );
            return Err(broken());
        }
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

impl SlotDevice {
    /// The slot that runs is on the same disk, and its reads and writes are not counted.
    fn fault(&self, operation: Operation) -> Option<IoFault> {
        let runs = self.world.live().booted() == Some(self.slot);
        (!runs)
            .then(|| self.world.fault(Place::Slot(self.slot), operation))
            .flatten()
    }
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
        if self.fault(Operation::Read).is_some() {
            return Err(broken());
        }
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
        if self.world.live().booted() == Some(self.slot) {
            let detail = format!("slot {} runs and is written", self.slot);
            self.world.violate(Law::RunningSlotUntouched, detail);
        }
        let mut bytes = buffer.to_vec();
        match self.fault(Operation::Write) {
            Some(IoFault::Flip(_)) => {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
            }
            Some(_) => return Err(broken()),
            None => {}
        }
        self.world.step(
            || format!("write slot {} at {offset}", self.slot),
            |machine| {
                machine.slot_mut(self.slot).write(offset, &bytes);
                machine.last = Place::Slot(self.slot);
                *of_mut(&mut machine.truth.good, self.slot) = None;
                *of_mut(&mut machine.truth.rotten, self.slot) = false;
            },
        );
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.fault(Operation::Sync).is_some() {
            self.world.step(
                || format!("fail to sync slot {}", self.slot),
                // Slots are read past the system's cache: what is lost is seen to be lost.
                |machine| machine.slot_mut(self.slot).lose(),
            );
            return Err(broken());
        }
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
pub const UBOOT_COPY: usize = 0x2000;
/// Below it are environments that the loader does not read.
pub const OTHER: &str = "/other";

/// The content of `fw_env.config`.
fn fw_env_config(faults: &Faults) -> String {
    let below = match faults.other_environment {
        true => OTHER,
        false => "",
    };
    format!(
        "{below}/dev/env 0x0 {UBOOT_COPY:#x}\n{below}/dev/env {UBOOT_COPY:#x} {UBOOT_COPY:#x}\n"
    )
}

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
            _ if path == Path::new(FW_ENV_CONFIG) => (99, fw_env_config(&live.faults).len()),
            _ => return Err(not_found()),
        };
        let length = u64::try_from(length).unwrap_or(0);
        Ok(FileFacts {
            kind: match path.ends_with("dev/env") {
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
            return Ok(fw_env_config(&self.live().faults).into_bytes());
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
        if self.fault(Place::Environment, Operation::Write).is_some() {
            return Err(broken());
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.write_environment(path, offset, bytes);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if self.fault(Place::Environment, Operation::Sync).is_some() {
            self.step(
                || format!("fail to sync {}", path.display()),
                |machine| {
                    if let Some(disk) = machine.environment.get_mut(path) {
                        disk.fail_sync();
                    }
                },
            );
            return Err(broken());
        }
        self.sync_environment(path);
        Ok(())
    }

    fn shorten(&self, _: &Path, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Host for World {
    fn now(&self) -> Timestamp {
        let live = self.live();
        let seconds = i64::try_from(live.session.uptime.as_secs()).unwrap_or(0);
        let ahead = match live.faults.clock {
            Clock::Ahead if live.machine.truth.polls + 1 < FAULTY_POLLS => AHEAD,
            _ => 0,
        };
        Timestamp::from_unix(live.session.switched_on + seconds + ahead)
    }

    fn uptime(&self) -> Duration {
        self.live().session.uptime
    }

    fn pause(&self, time: Duration) {
        self.live().session.uptime += time;
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

    fn check_health(&self, settings: &HealthSettings, _: &Reached, reports: HealthReports) {
        let mut live = self.live();
        let due = live.session.uptime + settings.settle;
        let run = HealthRun {
            settings: settings.clone(),
            reports,
        };
        live.health.push((due, run));
    }

    fn read_gates(&self, _: &GateSettings, _: Timestamp) -> Vec<Gate> {
        let mut live = self.live();
        let truth = &mut live.machine.truth;
        if truth.closed_gates == 0 {
            return Vec::new();
        }
        truth.closed_gates -= 1;
        vec![Gate {
            name: "window".into(),
            question: Question::Wanted,
            before: Before::Restart,
            state: GateState::Closed {
                code: "outside-window".into(),
                detail: "outside the window".into(),
                way_out: "wait for it".into(),
                opens: None,
            },
        }]
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
        truth.told.push(Told {
            action: attempt.action.to_string(),
            version: attempt.image.version.to_string(),
            outcome: outcome.to_string(),
        });
        Ok(())
    }

    fn os_release(&self) -> String {
        format!("IMAGE_VERSION={}\n", self.live().session.version)
    }

    fn recall(&self, name: &str) -> Option<String> {
        self.live().session.memory.get(name).cloned()
    }

    fn keep(&self, name: &str, text: &str) {
        self.live().session.memory.insert(name.into(), text.into());
    }
}
