//! The U-Boot boards: a PC that starts with U-Boot, with `boot/u-boot/boot.cmd` or, where U-Boot
//! counts by itself, with `boot/u-boot/bootcount.cmd`.
//!
//! The slots are on a virtio disk. The environment is where it is on most boards with eMMC: in raw
//! sectors of an MMC device, two copies, written by U-Boot's own `saveenv`. The guest sees it as
//! `/dev/mmcblk0`, and `boot/u-boot/fw_env.config` says where.

mod environment;
mod firmware;

use std::collections::BTreeMap;
use std::path::Path;

pub use environment::{COPIES, COPY_SIZE};

use crate::board::{Board, Disk, DiskSpec, ENV_DRIVE, MAIN_DRIVE};
use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::disk::{DATA_FEATURES, DiskImage, Extent, Partition};
use crate::error::{Error, IoContext as _, Result};
use crate::machine::{DiskBackend, DriveBus, MachineBuilder};
use crate::tools::{self, UBOOT_TOOLS};
use firmware::Firmware;

const SCRIPT: &str = include_str!("../../../boot/u-boot/boot.cmd");
const BOOTCOUNT_SCRIPT: &str = include_str!("../../../boot/u-boot/bootcount.cmd");

/// Holds the boot script and nothing else.
const BOOT_PARTITION_SIZE: u64 = 8 << 20;

/// The script puts the initrd at 128 MiB.
const MEMORY_MIB: u32 = 512;

/// The contract's variables as they leave the factory.
const FACTORY: [(&str, &str); 4] = [
    ("BOOT_ORDER", "A B"),
    ("BOOT_A_LEFT", "3"),
    ("BOOT_B_LEFT", "3"),
    ("switchback_id", "factory"),
];

/// The same where U-Boot counts; `altbootcmd` as `bootcount.cmd` wants it.
const BOOTCOUNT_FACTORY: [(&str, &str); 7] = [
    ("mender_boot_part", "2"),
    ("mender_boot_part_hex", "2"),
    ("upgrade_available", "0"),
    ("bootcount", "0"),
    ("bootlimit", "3"),
    ("altbootcmd", "setenv give_up yes; run bootcmd"),
    ("switchback_id", "factory"),
];

/// A PC that starts with U-Boot.
#[derive(Debug)]
pub struct UbootBoard {
    name: &'static str,
    factory: &'static [(&'static str, &'static str)],
    firmware: Firmware,
    script: std::path::PathBuf,
}

impl UbootBoard {
    /// Builds U-Boot and its script, about a minute the first time.
    ///
    /// # Errors
    /// Packages cannot be installed, U-Boot's source cannot be fetched, or its build failed.
    pub fn new(cache: &Cache) -> Result<Self> {
        let firmware = Firmware::build(cache, "")?;
        Self::with(cache, "u-boot", firmware, SCRIPT, &FACTORY)
    }

    /// The board whose U-Boot has a boot count of its own, in its environment.
    ///
    /// # Errors
    /// As [`UbootBoard::new`].
    pub fn with_bootcount(cache: &Cache) -> Result<Self> {
        let firmware = Firmware::build(cache, firmware::BOOTCOUNT_FRAGMENT)?;
        let name = "u-boot-bootcount";
        Self::with(cache, name, firmware, BOOTCOUNT_SCRIPT, &BOOTCOUNT_FACTORY)
    }

    fn with(
        cache: &Cache,
        name: &'static str,
        firmware: Firmware,
        script: &str,
        factory: &'static [(&'static str, &'static str)],
    ) -> Result<Self> {
        tools::ensure(UBOOT_TOOLS)?;
        let key = Key::new("boot-scr-1").text(script);
        let entry = cache.entry("boot-scr", &key, |entry| {
            let source = entry.join("boot.cmd");
            std::fs::write(&source, script).io("write", &source)?;
            Run::new("mkimage")
                .args(["-A", "x86", "-T", "script", "-C", "none", "-d"])
                .arg(&source)
                .arg(entry.join("boot.scr"))
                .check()
        })?;
        Ok(Self {
            name,
            factory,
            firmware,
            script: entry.join("boot.scr"),
        })
    }

    /// Changes variables of the environment in one write, as another program in userspace would;
    /// an empty value removes the variable. The machine must be off.
    ///
    /// # Errors
    /// The card holds no readable environment, or `fw_setenv` refused.
    pub fn set(&self, disk: &Disk, changes: &[(&str, &str)]) -> Result<()> {
        environment::set(card(disk)?, changes)
    }

    /// The bytes of both copies of the environment; the machine must be off.
    ///
    /// # Errors
    /// The card cannot be read.
    pub fn read_copies(&self, disk: &Disk) -> Result<[Vec<u8>; 2]> {
        let card = DiskImage::open(card(disk)?);
        let [first, second] = COPIES.map(|at| card.read(at, COPY_SIZE));
        Ok([first?, second?])
    }

    /// Writes bytes into a copy of the environment, 0 or 1, at an offset; the machine must be off.
    ///
    /// # Errors
    /// There is no such place, or the card cannot be written.
    pub fn write_copy(&self, disk: &Disk, copy: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = card(disk)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let start = COPIES
            .get(copy)
            .filter(|_| offset.saturating_add(length) <= COPY_SIZE);
        let start = start.ok_or_else(|| Error::Malformed {
            path: path.to_owned(),
            why: format!("no {length} bytes at {offset} in copy {copy} of the environment"),
        })?;
        DiskImage::open(path).write(start + offset, bytes)
    }
}

impl Board for UbootBoard {
    fn name(&self) -> &'static str {
        self.name
    }

    fn build_disk(&self, spec: &DiskSpec<'_>) -> Result<Disk> {
        let main = spec.out.join("disk.img");
        let partition = |number, name, type_code, size| Partition {
            number,
            name,
            type_code,
            size,
        };
        let image = DiskImage::create(
            &main,
            &[
                partition(1, "boot", "EF00", BOOT_PARTITION_SIZE),
                partition(2, "slot-a", "8300", spec.slot_size),
                partition(3, "slot-b", "8300", spec.slot_size),
                partition(4, "data", "8300", spec.data_size),
            ],
        )?;
        self.fill_boot_partition(&image)?;
        image.write_image("slot-a", spec.slot_a)?;
        if let Some(slot_b) = spec.slot_b {
            image.write_image("slot-b", slot_b)?;
        }
        make_data(&image)?;
        let env = spec.out.join("env.img");
        environment::make_card(&env, &self.firmware.initial_env, self.factory, spec.out)?;
        Ok(Disk {
            main,
            env: Some(env),
        })
    }

    fn machine(&self, disk: &Disk, name: &str, work: &Path) -> MachineBuilder {
        let file = |path: &Path| DiskBackend::File(path.to_owned());
        let mut machine = MachineBuilder::new(name, work)
            .memory_mib(MEMORY_MIB)
            .args(["-bios".into(), self.firmware.rom.clone().into_os_string()])
            .drive(MAIN_DRIVE, file(&disk.main), DriveBus::VirtioBlk);
        if let Some(env) = &disk.env {
            machine = machine.drive(ENV_DRIVE, file(env), DriveBus::SdCard);
        }
        machine
    }

    fn read_env(&self, disk: &Disk) -> Result<BTreeMap<String, String>> {
        environment::read(card(disk)?)
    }

    fn env_extent(&self, _disk: &Disk) -> Result<Extent> {
        let [first, last] = COPIES;
        Ok(Extent {
            offset: first,
            length: last + COPY_SIZE - first,
        })
    }

    fn whole_copies(&self, disk: &Disk) -> Result<usize> {
        let copies = self.read_copies(disk)?;
        Ok(copies
            .iter()
            .filter(|copy| environment::is_whole(copy))
            .count())
    }

    fn writes_per_save(&self) -> u64 {
        // QEMU's card passes on sector by sector.
        COPY_SIZE / 512
    }
}

impl UbootBoard {
    fn fill_boot_partition(&self, disk: &DiskImage) -> Result<()> {
        // U-Boot looks for scripts on partitions with the attribute "legacy bootable".
        Run::new("sgdisk")
            .arg("--attributes=1:set:2")
            .arg(disk.path())
            .check()?;
        let extent = disk.partition("boot")?;
        Run::new("mkfs.vfat")
            .args(["--invariant", "-n", "BOOT"])
            .arg(format!("--offset={}", extent.offset / 512))
            .arg(disk.path())
            .arg((extent.length / 1024).to_string())
            .check()?;
        let address = disk.fat_address("boot")?;
        Run::new("mcopy")
            .args(["-i", &address])
            .arg(&self.script)
            .arg("::/boot.scr")
            .check()
    }
}

/// Makes the empty file system for the device's data, with a journal: it is written to.
fn make_data(disk: &DiskImage) -> Result<()> {
    let extent = disk.partition("data")?;
    Run::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", "data"])
        .args(["-O", DATA_FEATURES])
        .arg(format!("-Eoffset={}", extent.offset))
        .arg(disk.path())
        .arg(format!("{}k", extent.length / 1024))
        .check()
}

fn card(disk: &Disk) -> Result<&Path> {
    disk.env.as_deref().ok_or_else(|| Error::Malformed {
        path: disk.main.clone(),
        why: "this disk was made for a board whose environment is on the same disk".to_owned(),
    })
}
