//! On files in a temporary directory, through a recorder that counts, tears and loses writes.

mod files;
mod grub;
mod grub_pair;
mod uboot;

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use switchback_boot_env::contract::{BootChange, BootNames, ContractKind, SlotVariables};
use switchback_types::SlotName;

use super::{BootControl, BootError, EnvFiles, FileFacts, Locks, RealFiles};
use crate::settings::BootSettings;

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It becomes durable.
    Good,
    /// Only so many bytes become durable, and then the power goes.
    Torn(usize),
    /// It is acknowledged and lost.
    Lost,
}

/// Everything that tests see and steer.
#[derive(Debug)]
struct World {
    writes: Vec<(PathBuf, u64, usize)>,
    /// Writes of what is there already: they make it durable, and no cut can be seen in them.
    settled: usize,
    synced: Vec<PathBuf>,
    fate: Fate,
    read_only: bool,
    unsuitable_for_grub: Option<String>,
    holes: bool,
}

#[derive(Debug, Clone)]
struct Recorder(Arc<Mutex<World>>);

impl EnvFiles for Recorder {
    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let world = self.0.lock().unwrap();
        let facts = RealFiles.facts(path)?;
        Ok(FileFacts {
            // The temporary directory may be anywhere.
            unsuitable_for_grub: world.unsuitable_for_grub.clone(),
            allocated: if world.holes { 0 } else { facts.length },
            ..facts
        })
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        RealFiles.read(path, offset, length)
    }

    fn probe_writable(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().unwrap().read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        RealFiles.probe_writable(path)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        if RealFiles.read(path, offset, bytes.len())? == bytes {
            world.settled += 1;
            return Ok(());
        }
        world.writes.push((path.into(), offset, bytes.len()));
        match world.fate {
            Fate::Good => write_unsynced(path, offset, bytes),
            Fate::Torn(length) => {
                write_unsynced(path, offset, &bytes[..length])?;
                Err(io::Error::other("the power went"))
            }
            Fate::Lost => Ok(()),
        }
    }

    fn lock(&self, locks: Locks<'_>) -> Result<Box<dyn std::fmt::Debug>, BootError> {
        RealFiles.lock(locks)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.synced.push(path.into());
        Ok(())
    }

    fn shorten(&self, path: &Path, length: u64) -> io::Result<()> {
        RealFiles.shorten(path, length)
    }
}

/// Thousands of these are made; whether a write is durable is not what they are about.
fn write_unsynced(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all_at(bytes, offset)
}

/// A device with an environment.
struct Device {
    directory: tempfile::TempDir,
    settings: BootSettings,
    recorder: Recorder,
}

impl Device {
    /// A device with these files in its directory.
    fn new(contract: ContractKind, files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        let grubenv: &[&str] = match contract {
            ContractKind::RaucUboot | ContractKind::Bootcount => &[],
            ContractKind::RaucGrub => &["grubenv"],
            ContractKind::SwitchbackGrub => &["sb1.env", "sb2.env"],
        };
        let settings = BootSettings {
            contract,
            bootnames: BootNames::default(),
            slot_variables: SlotVariables::default(),
            grubenv: grubenv
                .iter()
                .map(|name| directory.path().join(name))
                .collect(),
            fw_env_config: directory.path().join("fw_env.config"),
            tries: 3,
        };
        let world = World {
            writes: Vec::new(),
            settled: 0,
            synced: Vec::new(),
            fate: Fate::Good,
            read_only: false,
            unsuitable_for_grub: None,
            holes: false,
        };
        Self {
            directory,
            settings,
            recorder: Recorder(Arc::new(Mutex::new(world))),
        }
    }

    fn control(&self) -> BootControl {
        let lock = self.path("fw_printenv.lock");
        BootControl::with(&self.settings, Box::new(self.recorder.clone()), vec![lock]).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn set(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.recorder.0.lock().unwrap());
    }

    /// Writes since the last time this was asked.
    fn writes(&self) -> Vec<(PathBuf, u64, usize)> {
        let mut world = self.recorder.0.lock().unwrap();
        let (writes, settled, synced) = (
            std::mem::take(&mut world.writes),
            std::mem::take(&mut world.settled),
            std::mem::take(&mut world.synced),
        );
        if !matches!(world.fate, Fate::Torn(_)) {
            assert_eq!(synced.len(), writes.len() + settled);
            let mut synced = synced.iter();
            for (path, ..) in &writes {
                assert!(
                    synced.any(|synced| synced == path),
                    "{path:?} is made durable"
                );
            }
        }
        writes
    }

    /// Every file of the device with its content.
    fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("fw_printenv.lock"))
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    /// The messages of everything that is wrong, blocking ones marked with an exclamation mark.
    fn lints(&self) -> Vec<String> {
        let lints = self.control().lint();
        lints
            .iter()
            .map(|lint| {
                format!(
                    "{}{}",
                    if lint.blocks { "!" } else { "" },
                    chain(&lint.error)
                )
            })
            .collect()
    }
}

fn chain(error: &BootError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Every verb.
fn verbs() -> Vec<BootChange<'static>> {
    let slot = SlotName::B;
    vec![
        BootChange::Invalidate(slot),
        BootChange::Arm {
            slot,
            tries: 2,
            contact_id: "0badcafe",
        },
        BootChange::GiveBackTry { slot },
        BootChange::MarkGood {
            slot: SlotName::A,
            tries: 2,
        },
        BootChange::FallBack {
            bad: slot,
            to: SlotName::A,
            tries: 3,
        },
        BootChange::SetPrimary { slot, tries: 1 },
    ]
}

/// Every verb, the repair and the check are refused, and not a byte changes.
fn refuses_to_write(device: &Device, expected: &[&str]) {
    let control = device.control();
    let before = device.everything();
    let check = |error: BootError, what: &str| {
        let message = chain(&error);
        for part in expected {
            assert!(
                message.contains(part),
                "{what}: {part:?} is not in: {message}"
            );
        }
    };
    check(control.verify_writable().unwrap_err(), "verify_writable");
    for verb in verbs() {
        check(control.apply(&verb, SlotName::A).unwrap_err(), "apply");
    }
    let _ = control.repair();
    assert!(device.writes().is_empty());
    assert!(device.everything() == before);
}

#[test]
fn number_of_files_must_be_the_contracts() {
    for (contract, count) in [
        (ContractKind::RaucGrub, 2),
        (ContractKind::SwitchbackGrub, 1),
        (ContractKind::RaucGrub, 0),
    ] {
        let mut device = Device::new(contract, &[]);
        device.settings.grubenv = vec!["/x".into(); count];
        let error = BootControl::open(&device.settings).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("names {count} file(s)")),
            "{error}"
        );
    }
}

#[test]
fn messages_do_not_repeat_their_source() {
    let path = || PathBuf::from("/boot/grubenv");
    let source = || io::Error::other("the cause");
    for error in [
        BootError::Read {
            path: path(),
            source: source(),
        },
        BootError::Write {
            path: path(),
            source: source(),
        },
        BootError::Lock {
            path: path(),
            source: source(),
        },
    ] {
        let message = error.to_string();
        assert!(
            message.contains("/boot/grubenv") && !message.contains("the cause"),
            "{message}"
        );
    }
    let path = PathBuf::from("/dev/mmcblk0boot0");
    let message = BootError::Write {
        path,
        source: source(),
    }
    .to_string();
    assert!(message.contains("force_ro"), "{message}");
}
