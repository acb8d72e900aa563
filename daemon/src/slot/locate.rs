//! Which partition is which slot, and which one runs.
//!
//! Slots are told apart by partition, never by what is in them: both may be equal twins from the
//! factory. Which one runs is read from the kernel command line *and* from the root mount, and
//! the two must agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchback_boot_env::cmdline::CommandLine;
use switchback_boot_env::contract::BootNames;
use switchback_types::SlotName;

use super::{Devices, InactiveSlot, KernelDevices};
use crate::settings::SlotSettings;

/// Where the kernel's file systems are; other places in tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            dev: "/dev".into(),
        }
    }
}

/// Why the slots cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// A file of the kernel cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A slot's device is not there.
    #[error("slot {slot}: no partition is {wanted}; correct `slots.{slot}` in the configuration")]
    NoDevice {
        /// The slot.
        slot: SlotName,
        /// What was looked for.
        wanted: String,
    },
    /// The kernel command line is not understood.
    #[error("{}: {message}", path.display())]
    CommandLine {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The root mount is neither slot.
    #[error(
        "the root file system is on device {root}, slot a is {a}, slot b is {b}: this system was \
         not started from a slot; nothing will be written"
    )]
    RootIsNoSlot {
        /// Device number of the root mount.
        root: String,
        /// Device number of slot a.
        a: String,
        /// Device number of slot b.
        b: String,
    },
    /// Two witnesses disagree.
    #[error(
        "the kernel command line says slot {said} ({word}), the root file system is slot \
         {mounted}: correct the boot script; nothing will be written"
    )]
    Disagree {
        /// From the command line.
        said: SlotName,
        /// The word on it.
        word: String,
        /// From the root mount.
        mounted: SlotName,
    },
}

/// A device number, as the kernel writes it (`254:2`).
type DeviceNumber = String;

/// Both slots and which one runs.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Slot a.
    pub a: Located,
    /// Slot b.
    pub b: Located,
    /// The slot that runs.
    pub booted: SlotName,
    /// What the boot script handed over from the environment it read, if it did.
    pub contact: Option<String>,
    /// Whether the boot script said that it found no usable environment.
    pub environment_bad: bool,
    /// Opens the devices.
    pub devices: Arc<dyn Devices>,
}

/// One slot's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its path under `/dev`.
    pub path: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
}

impl Layout {
    /// Looks around.
    ///
    /// # Errors
    /// Says which witness is missing or disagrees.
    pub fn find(
        roots: &Roots,
        settings: &SlotSettings,
        names: &BootNames,
    ) -> Result<Self, LocateError> {
        let a = locate(roots, SlotName::A, settings.device(SlotName::A))?;
        let b = locate(roots, SlotName::B, settings.device(SlotName::B))?;
        let root = root_device(roots)?;
        let mounted = if root == a.number {
            SlotName::A
        } else if root == b.number {
            SlotName::B
        } else {
            return Err(LocateError::RootIsNoSlot {
                root,
                a: a.number,
                b: b.number,
            });
        };
        let path = roots.proc.join("cmdline");
        let text = read(&path)?;
        let line = CommandLine::parse(&text).map_err(|error| LocateError::CommandLine {
            path: path.clone(),
            message: error.to_string(),
        })?;
        if let Some(word) = line.bootname.as_deref() {
            match names.slot(word) {
                Some(said) if said == mounted => {}
                Some(said) => {
                    return Err(LocateError::Disagree {
                        said,
                        word: word.into(),
                        mounted,
                    });
                }
                None => {
                    let message = format!(
                        "the bootname {word:?} is neither slot's: correct `boot.bootname-a` and \
                         `boot.bootname-b`"
                    );
                    return Err(LocateError::CommandLine { path, message });
                }
            }
        }
        Ok(Self {
            a,
            b,
            booted: mounted,
            contact: line.contact.clone(),
            environment_bad: line.environment_bad,
            devices: Arc::new(KernelDevices),
        })
    }

    /// The device of a slot.
    #[must_use]
    pub fn slot(&self, slot: SlotName) -> &Located {
        match slot {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }

    /// The slot that does not run.
    #[must_use]
    pub fn inactive(&self) -> InactiveSlot {
        let name = self.booted.other();
        InactiveSlot {
            name,
            path: self.slot(name).path.clone(),
            devices: Arc::clone(&self.devices),
        }
    }
}

fn read(path: &Path) -> Result<String, LocateError> {
    std::fs::read_to_string(path).map_err(|source| LocateError::Read {
        path: path.into(),
        source,
    })
}

/// Device number of what is mounted on `/`: the last such line of mountinfo is on top.
fn root_device(roots: &Roots) -> Result<DeviceNumber, LocateError> {
    let path = roots.proc.join("self/mountinfo");
    let text = read(&path)?;
    let number = text.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?;
        let mount_point = fields.nth(1)?;
        (mount_point == "/").then(|| number.to_owned())
    });
    number.ok_or_else(|| LocateError::Read {
        path,
        source: std::io::Error::other("no mount on /"),
    })
}

fn locate(roots: &Roots, slot: SlotName, wanted: &str) -> Result<Located, LocateError> {
    let missing = || LocateError::NoDevice {
        slot,
        wanted: wanted.into(),
    };
    if let Some(label) = wanted.strip_prefix("PARTLABEL=") {
        // From the kernel itself: works before udev, and without it.
        return by_uevent(roots, "PARTNAME", label)?.ok_or_else(missing);
    }
    let path = match wanted.strip_prefix("PARTUUID=") {
        Some(uuid) => roots
            .dev
            .join("disk/by-partuuid")
            .join(uuid.to_ascii_lowercase()),
        None => PathBuf::from(wanted),
    };
    let path = std::fs::canonicalize(path).map_err(|_| missing())?;
    let name = path.file_name().ok_or_else(missing)?;
    let number = read(&roots.sys.join("class/block").join(name).join("dev"))?;
    Ok(Located {
        number: number.trim().into(),
        path,
    })
}

fn by_uevent(roots: &Roots, key: &str, value: &str) -> Result<Option<Located>, LocateError> {
    let directory = roots.sys.join("class/block");
    let refuse = |source| LocateError::Read {
        path: directory.clone(),
        source,
    };
    let mut found = None;
    for entry in std::fs::read_dir(&directory).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let Ok(text) = std::fs::read_to_string(entry.path().join("uevent")) else {
            continue;
        };
        let has = text.lines().any(|line| {
            line.split_once('=')
                .is_some_and(|(name, text)| name == key && text == value)
        });
        if has {
            let number = read(&entry.path().join("dev"))?;
            let located = Located {
                path: roots.dev.join(entry.file_name()),
                number: number.trim().into(),
            };
            // Two disks with equal labels: neither is the slot.
            if found.replace(located).is_some() {
                return Ok(None);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        _directory: tempfile::TempDir,
        roots: Roots,
    }

    fn machine(cmdline: &str, root: &str, partitions: &[(&str, &str, &str)]) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        let put = |path: &str, text: &str| {
            let path = at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/cmdline", cmdline);
        put(
            "proc/self/mountinfo",
            &format!(
                "20 1 0:1 / / rw - rootfs none rw\n21 20 {root} / / ro - ext4 /dev/x ro\n22 21 0:5 / /proc rw - proc proc rw\n"
            ),
        );
        std::fs::create_dir_all(at("sys/class/block")).unwrap();
        for (name, number, label) in partitions {
            put(
                &format!("sys/class/block/{name}/dev"),
                &format!("{number}\n"),
            );
            put(
                &format!("sys/class/block/{name}/uevent"),
                &format!("DEVNAME={name}\nDEVTYPE=partition\nPARTNAME={label}\n"),
            );
        }
        let roots = Roots {
            proc: at("proc"),
            sys: at("sys"),
            dev: at("dev"),
        };
        Machine {
            _directory: directory,
            roots,
        }
    }

    const TWO: [(&str, &str, &str); 2] = [("vda2", "254:2", "slot-a"), ("vda3", "254:3", "slot-b")];

    fn find(machine: &Machine) -> Result<Layout, LocateError> {
        let settings = SlotSettings {
            a: "PARTLABEL=slot-a".into(),
            b: "PARTLABEL=slot-b".into(),
            verify_interval: None,
        };
        Layout::find(&machine.roots, &settings, &BootNames::default())
    }

    #[test]
    fn finds_the_running_slot_when_both_witnesses_agree() {
        let machine = machine("ro switchback.slot=B switchback.env=c0ffee", "254:3", &TWO);
        let layout = find(&machine).unwrap();
        assert_eq!(layout.booted, SlotName::B);
        assert_eq!(layout.contact.as_deref(), Some("c0ffee"));
        assert!(layout.inactive().path().ends_with("dev/vda2"));
    }

    #[test]
    fn refuses_when_they_disagree() {
        let machine = machine("switchback.slot=A", "254:3", &TWO);
        let error = find(&machine).unwrap_err();
        assert!(matches!(error, LocateError::Disagree { .. }), "{error}");
    }

    #[test]
    fn refuses_a_root_that_is_no_slot() {
        let machine = machine("ro", "8:1", &TWO);
        let error = find(&machine).unwrap_err();
        assert!(error.to_string().contains("8:1"), "{error}");
    }

    #[test]
    fn refuses_a_missing_or_ambiguous_partition() {
        let three = [TWO[0], TWO[1], ("sda3", "8:3", "slot-b")];
        for partitions in [&TWO[..1], &three[..]] {
            let machine = machine("ro", "254:2", partitions);
            let error = find(&machine).unwrap_err();
            assert!(
                matches!(
                    error,
                    LocateError::NoDevice {
                        slot: SlotName::B,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn refuses_a_bootname_that_is_nobodys() {
        let machine = machine("switchback.slot=rescue", "254:2", &TWO);
        let error = find(&machine).unwrap_err();
        assert!(error.to_string().contains("rescue"), "{error}");
    }
}
