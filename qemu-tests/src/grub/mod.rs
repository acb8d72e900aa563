//! The GRUB board: one disk that boots under UEFI and under BIOS, with `boot/grub/*.cfg`.
//!
//! Under UEFI the firmware keeps GRUB's write in the disk's volatile cache until the kernel's first
//! flush; under BIOS each write goes through. Tests of power cuts right after the bootloader see
//! the difference.

mod environment;
mod install;

use std::collections::BTreeMap;
use std::path::Path;

use crate::board::{Board, Disk, DiskSpec, MAIN_DRIVE};
use crate::cache::Cache;
use crate::disk::{DiskImage, Extent, Partition};
use crate::error::{IoContext as _, Result};
use crate::machine::{DiskBackend, DriveBus, MachineBuilder};
use crate::tools::{self, GRUB_TOOLS};

pub use environment::{EnvironmentFile, Variables};
use install::GrubImages;

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// A size at which 4 KiB clusters, which hold an environment file whole, make a plain FAT16.
const ESP_SIZE: u64 = 33 << 20;
const MIB: u64 = 1 << 20;

/// What starts GRUB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS: fast, writes go through.
    Bios,
    /// OVMF: writes stay in the disk's cache.
    Uefi,
}

/// Which script GRUB runs, and so what its variables mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// `boot/grub/grub.cfg`: two copies, counted tries.
    Switchback,
    /// `boot/grub/grub-rauc.cfg`: one file, one try.
    Rauc,
}

impl Contract {
    /// The script as the product ships it.
    #[must_use]
    pub const fn script(self) -> &'static str {
        match self {
            Self::Switchback => include_str!("../../../boot/grub/grub.cfg"),
            Self::Rauc => include_str!("../../../boot/grub/grub-rauc.cfg"),
        }
    }

    /// The environment files, as they leave the factory.
    #[must_use]
    pub fn factory_files(self) -> Vec<(EnvironmentFile, Variables)> {
        let of = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let copy = |seq| {
            let order = ("order", "A B");
            of(&[
                ("seq", seq),
                order,
                ("a_left", "3"),
                ("b_left", "3"),
                ("id", "factory"),
                ("end", seq),
            ])
        };
        match self {
            Self::Switchback => vec![
                (EnvironmentFile::Copy1, copy("0")),
                (EnvironmentFile::Copy2, copy("1")),
            ],
            Self::Rauc => {
                let tries = [("A_OK", "1"), ("A_TRY", "0"), ("B_OK", "1"), ("B_TRY", "0")];
                let mut variables = of(&[("ORDER", "A B")]);
                variables.extend(of(&tries));
                vec![(EnvironmentFile::Single, variables)]
            }
        }
    }
}

/// A PC that starts with GRUB.
#[derive(Debug)]
pub struct GrubBoard {
    firmware: Firmware,
    contract: Contract,
    images: GrubImages,
}

impl GrubBoard {
    /// Prepares GRUB's own images.
    ///
    /// # Errors
    /// GRUB's packages cannot be installed, or making an image failed.
    pub fn new(cache: &Cache, firmware: Firmware, contract: Contract) -> Result<Self> {
        tools::ensure(GRUB_TOOLS)?;
        let images = GrubImages::build(cache, contract.script())?;
        Ok(Self {
            firmware,
            contract,
            images,
        })
    }

    /// The variables in one environment file of a disk; the machine must be off.
    ///
    /// # Errors
    /// The file is missing or is no environment block.
    pub fn read_file(&self, disk: &Disk, file: EnvironmentFile) -> Result<Variables> {
        environment::parse(&self.read_block(disk, file)?, &disk.main)
    }

    /// The bytes of one environment file of a disk; the machine must be off.
    ///
    /// # Errors
    /// The file is missing.
    pub fn read_block(&self, disk: &Disk, file: EnvironmentFile) -> Result<Vec<u8>> {
        environment::read(&DiskImage::open(&disk.main), file)
    }

    /// Where the bytes of one environment file begin on the disk; the machine must be off.
    ///
    /// # Errors
    /// The file is missing or in several pieces.
    pub fn place(&self, disk: &Disk, file: EnvironmentFile) -> Result<u64> {
        environment::place(&DiskImage::open(&disk.main), file)
    }

    /// Replaces the bytes of one environment file in place; the machine must be off.
    ///
    /// # Errors
    /// The file is missing or `bytes` are not as long as it is.
    pub fn write_block(&self, disk: &Disk, file: EnvironmentFile, bytes: &[u8]) -> Result<()> {
        environment::write(&DiskImage::open(&disk.main), file, bytes)
    }

    /// Sets variables in one environment file, as userspace would; the machine must be off.
    ///
    /// # Errors
    /// The file is missing or grub-editenv refused.
    pub fn set(&self, disk: &Disk, file: EnvironmentFile, changes: &[(&str, &str)]) -> Result<()> {
        let scratch = tempfile::tempdir().io("make a directory in", std::env::temp_dir())?;
        let block = environment::edit(&self.read_block(disk, file)?, changes, scratch.path())?;
        self.write_block(disk, file, &block)
    }
}

impl Board for GrubBoard {
    fn name(&self) -> &'static str {
        match (self.firmware, self.contract) {
            (Firmware::Bios, Contract::Switchback) => "grub-bios",
            (Firmware::Uefi, Contract::Switchback) => "grub-uefi",
            (Firmware::Bios, Contract::Rauc) => "grub-bios-rauc",
            (Firmware::Uefi, Contract::Rauc) => "grub-uefi-rauc",
        }
    }

    fn build_disk(&self, spec: &DiskSpec<'_>) -> Result<Disk> {
        let partition = |number, name, type_code, size| Partition {
            number,
            name,
            type_code,
            size,
        };
        let main = spec.out.join("disk.img");
        // GRUB's script knows the slots by these numbers.
        let image = DiskImage::create(
            &main,
            &[
                partition(5, "bios", "EF02", MIB),
                partition(1, "esp", "EF00", ESP_SIZE),
                partition(2, "slot-a", "8300", spec.slot_size),
                partition(3, "slot-b", "8300", spec.slot_size),
                partition(4, "data", "8300", spec.data_size),
            ],
        )?;
        install::esp(
            &image,
            &self.images,
            &self.contract.factory_files(),
            spec.out,
        )?;
        install::bios(&image, &self.images)?;
        image.write_image("slot-a", spec.slot_a)?;
        if let Some(slot_b) = spec.slot_b {
            image.write_image("slot-b", slot_b)?;
        }
        install::data(&image, spec.out)?;
        Ok(Disk { main, env: None })
    }

    fn machine(&self, disk: &Disk, name: &str, work: &Path) -> MachineBuilder {
        let backend = DiskBackend::File(disk.main.clone());
        let machine =
            MachineBuilder::new(name, work).drive(MAIN_DRIVE, backend, DriveBus::VirtioBlk);
        match self.firmware {
            Firmware::Bios => machine,
            Firmware::Uefi => machine.machine_type("q35").args([
                "-drive",
                &format!("if=pflash,format=raw,readonly=on,file={OVMF_CODE}"),
                "-drive",
                // The firmware's variables are not kept: the loader has the fallback name.
                &format!("if=pflash,format=raw,snapshot=on,file={OVMF_VARS}"),
            ]),
        }
    }

    fn read_env(&self, disk: &Disk) -> Result<BTreeMap<String, String>> {
        let variables = match self.contract {
            Contract::Rauc => self.read_file(disk, EnvironmentFile::Single)?,
            Contract::Switchback => environment::newer(
                self.read_file(disk, EnvironmentFile::Copy1),
                self.read_file(disk, EnvironmentFile::Copy2),
            )?,
        };
        Ok(variables.into_iter().collect())
    }

    fn env_extent(&self, disk: &Disk) -> Result<Extent> {
        let image = DiskImage::open(&disk.main);
        let length = u64::try_from(environment::BLOCK).unwrap_or(u64::MAX);
        let mut bounds: Option<(u64, u64)> = None;
        for (file, _) in self.contract.factory_files() {
            let start = environment::place(&image, file)?;
            let (first, end) = bounds.unwrap_or((start, start));
            bounds = Some((first.min(start), end.max(start + length)));
        }
        let (offset, end) = bounds.unwrap_or_default();
        Ok(Extent {
            offset,
            length: end - offset,
        })
    }

    fn whole_copies(&self, disk: &Disk) -> Result<usize> {
        let mut whole = 0;
        for (file, _) in self.contract.factory_files() {
            let variables = environment::parse(&self.read_block(disk, file)?, &disk.main);
            let usable = match (self.contract, variables) {
                (Contract::Rauc, parsed) => parsed.is_ok(),
                (Contract::Switchback, parsed) => {
                    parsed.is_ok_and(|variables| environment::is_whole(&variables))
                }
            };
            whole += usize::from(usable);
        }
        Ok(whole)
    }

    fn writes_per_save(&self) -> u64 {
        1
    }
}
