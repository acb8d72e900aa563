//! Ports that do something else than they were asked to.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use switchback_types::Timestamp;
use switchback_update_core::{Attempt, Gate, Outcome};
use switchbackd::boot::{BootError, EnvFiles, FileFacts, Locks};
use switchbackd::health::{self, Reached};
use switchbackd::host::{HealthReports, Host};
use switchbackd::journal::RecordFiles;
use switchbackd::settings::{GateSettings, HealthSettings};
use switchbackd::slot::{Access, BlockDevice, Devices};

use super::Mistake;
use crate::board::Bench;
use crate::device::Passing;
use crate::ports::UBOOT_COPY;
use crate::repository::Image;
use crate::world::{World, slot_path};

/// Where the last segment of an image begins.
const LAST_SEGMENT: u64 = 131_072;

#[derive(Debug, Clone)]
pub(super) struct Saboteur {
    world: World,
    mistake: Mistake,
    /// The image that will be installed.
    image: Option<Image>,
    memory: Arc<Mutex<Memory>>,
}

/// What lasts as long as the daemon's process.
#[derive(Debug, Default)]
struct Memory {
    /// Records that were not written, or not yet.
    records: BTreeMap<PathBuf, Vec<u8>>,
    /// What is written later.
    late: Vec<Late>,
    /// What was sent to a slot.
    sent: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
enum Late {
    Create(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncDirectory(PathBuf),
}

fn other_copy(path: &Path) -> PathBuf {
    let text = path.display().to_string();
    if text.contains("sb1") {
        text.replace("sb1", "sb2").into()
    } else {
        text.replace("sb2", "sb1").into()
    }
}

impl Saboteur {
    pub(super) fn new(bench: &Bench, world: &World, mistake: Mistake) -> Self {
        Self {
            world: world.clone(),
            mistake,
            image: bench.repository.image(2).cloned(),
            memory: Arc::default(),
        }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what should have been written earlier.
    fn catch_up(&self) {
        let late = std::mem::take(&mut self.memory().late);
        for change in late {
            // An error was due earlier as well.
            let _ = match change {
                Late::Create(path, bytes) => RecordFiles::create(&self.world, &path, &bytes),
                Late::Sync(path) => RecordFiles::sync(&self.world, &path),
                Late::Rename(from, to) => RecordFiles::rename(&self.world, &from, &to),
                Late::SyncDirectory(path) => RecordFiles::sync_directory(&self.world, &path),
            };
        }
    }

    fn later(&self, change: Late) -> io::Result<()> {
        self.memory().late.push(change);
        Ok(())
    }
}

impl RecordFiles for Saboteur {
    fn lock(&self, directory: &Path) -> io::Result<Box<dyn fmt::Debug + Send>> {
        match self.mistake {
            Mistake::NotLocked => Ok(Box::new(())),
            _ => RecordFiles::lock(&self.world, directory),
        }
    }

    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        self.world.make_directory(directory)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        if self.is(Mistake::OneRecordCopyRead) && path.extension().is_some_and(|kind| kind == "1") {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        RecordFiles::read(&self.world, path, limit)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.mistake {
            Mistake::StateInMemory | Mistake::RecordInPlace => {
                self.memory().records.insert(path.into(), bytes.into());
                Ok(())
            }
            Mistake::ActBeforeCommit => self.later(Late::Create(path.into(), bytes.into())),
            _ => self.world.create(path, bytes),
        }
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        match self.mistake {
            Mistake::StateInMemory | Mistake::RecordInPlace | Mistake::RecordNotSynced => Ok(()),
            Mistake::ActBeforeCommit => self.later(Late::Sync(path.into())),
            _ => RecordFiles::sync(&self.world, path),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.mistake {
            Mistake::StateInMemory => Ok(()),
            Mistake::RecordInPlace => {
                let bytes = self.memory().records.remove(from).unwrap_or_default();
                self.world.create(to, &bytes)?;
                RecordFiles::sync(&self.world, to)
            }
            Mistake::ActBeforeCommit => self.later(Late::Rename(from.into(), to.into())),
            _ => self.world.rename(from, to),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match self.mistake {
            Mistake::StateInMemory | Mistake::DirectoryNotSynced => Ok(()),
            Mistake::ActBeforeCommit => self.later(Late::SyncDirectory(directory.into())),
            _ => self.world.sync_directory(directory),
        }
    }
}

#[derive(Debug)]
struct Device {
    inner: Box<dyn BlockDevice>,
    access: Access,
    saboteur: Saboteur,
}

impl Devices for Saboteur {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        let running = self.world.live().booted().map(slot_path);
        let path = match running {
            Some(running) if access == Access::Write && self.is(Mistake::RunningSlotWritten) => {
                running
            }
            _ => path.into(),
        };
        Ok(Box::new(Device {
            inner: self.world.open(&path, access)?,
            access,
            saboteur: self.clone(),
        }))
    }
}

/// Lays `bytes`, which are at `at`, over what was read from `offset` on.
fn lay_over(buffer: &mut [u8], offset: u64, at: u64, bytes: &[u8]) {
    for (index, byte) in (at..).zip(bytes) {
        let place = index
            .checked_sub(offset)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(old) = place.and_then(|place| buffer.get_mut(place)) {
            *old = *byte;
        }
    }
}

impl BlockDevice for Device {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.inner.read_at(buffer, offset)?;
        let Some(read) = buffer.get_mut(..count) else {
            return Ok(count);
        };
        match (self.saboteur.mistake, self.access) {
            (Mistake::SlotNotReadBack, _) => {
                for (at, bytes) in &self.saboteur.memory().sent {
                    lay_over(read, offset, *at, bytes);
                }
            }
            (Mistake::ResumesByMemory, Access::Write) => {
                if let Some(image) = &self.saboteur.image {
                    lay_over(read, offset, 0, &image.bytes);
                }
            }
            _ => {}
        }
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let saboteur = &self.saboteur;
        if saboteur.is(Mistake::LastSegmentLost) && offset >= LAST_SEGMENT {
            return Ok(());
        }
        if saboteur.is(Mistake::SlotNotReadBack) {
            saboteur.memory().sent.push((offset, buffer.to_vec()));
        }
        self.inner.write_at(buffer, offset)?;
        saboteur.catch_up();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.saboteur.mistake {
            Mistake::SlotNotSynced => Ok(()),
            _ => self.inner.sync(),
        }
    }
}

impl EnvFiles for Saboteur {
    fn lock(&self, locks: Locks<'_>) -> Result<Box<dyn fmt::Debug>, BootError> {
        EnvFiles::lock(&self.world, locks)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        self.world.facts(path)
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let second = path.ends_with("sb2.env") || offset > 0;
        if second && self.is(Mistake::EnvironmentOneCopyRead) {
            return Ok(vec![0; length]);
        }
        EnvFiles::read(&self.world, path, offset, length)
    }

    fn probe_writable(&self, path: &Path) -> io::Result<()> {
        self.world.probe_writable(path)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.is(Mistake::EnvironmentCurrentCopyWritten) {
            let copy = u64::try_from(UBOOT_COPY).unwrap_or(0);
            return match path.starts_with("/dev") {
                true => self.world.write(path, copy.saturating_sub(offset), bytes),
                false => self.world.write(&other_copy(path), offset, bytes),
            };
        }
        EnvFiles::write(&self.world, path, offset, bytes)?;
        self.catch_up();
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        match self.mistake {
            Mistake::EnvironmentNotSynced => Ok(()),
            Mistake::EnvironmentCurrentCopyWritten if !path.starts_with("/dev") => {
                EnvFiles::sync(&self.world, &other_copy(path))
            }
            _ => EnvFiles::sync(&self.world, path),
        }
    }

    fn shorten(&self, path: &Path, length: u64) -> io::Result<()> {
        self.world.shorten(path, length)
    }
}

impl Host for Saboteur {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn uptime(&self) -> Duration {
        self.catch_up();
        self.world.uptime()
    }

    fn pause(&self, time: Duration) {
        self.world.pause(time);
    }

    fn random(&self, bytes: &mut [u8]) -> bool {
        self.world.random(bytes)
    }

    fn check_health(&self, settings: &HealthSettings, reached: &Reached, reports: HealthReports) {
        self.catch_up();
        match self.mistake {
            Mistake::GoodBeforeHealth => {
                let mut pace = Passing::default();
                (reports.end)(health::watch(settings, &mut pace, &mut || Ok(())));
            }
            _ => self.world.check_health(settings, reached, reports),
        }
    }

    fn read_gates(&self, settings: &GateSettings, now: Timestamp) -> Vec<Gate> {
        self.catch_up();
        self.world.read_gates(settings, now)
    }

    fn restart(&self, command: &[String]) {
        self.catch_up();
        self.world.restart(command);
    }

    fn is_stopping(&self) -> bool {
        self.world.is_stopping()
    }

    fn tell(&self, attempt: &Attempt, outcome: &Outcome) -> Result<(), String> {
        let told = self.world.tell(attempt, outcome);
        self.catch_up();
        told
    }

    fn os_release(&self) -> String {
        self.world.os_release()
    }

    fn recall(&self, name: &str) -> Option<String> {
        self.world.recall(name)
    }

    fn keep(&self, name: &str, text: &str) {
        self.world.keep(name, text);
    }
}
