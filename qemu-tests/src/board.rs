//! What a board is to a test, whichever bootloader it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::Extent;
use crate::error::Result;
use crate::image::Image;
use crate::machine::MachineBuilder;

/// The id of the drive that holds the slots.
pub const MAIN_DRIVE: &str = "main";

/// The id of the drive that holds the boot environment, on boards that keep it elsewhere.
pub const ENV_DRIVE: &str = "env";

/// What a disk is to hold at the factory.
#[derive(Debug, Clone)]
pub struct DiskSpec<'a> {
    /// The image in slot a.
    pub slot_a: &'a Image,
    /// The image in slot b; zeros when there is none.
    pub slot_b: Option<&'a Image>,
    /// The size of each slot in bytes, a multiple of 1 MiB.
    pub slot_size: u64,
    /// The size of the data partition in bytes, a multiple of 1 MiB.
    pub data_size: u64,
    /// An existing directory for the disk's files.
    pub out: &'a Path,
}

impl<'a> DiskSpec<'a> {
    /// A disk for the tests: `image` in slot a, slot b empty, a quarter of room to grow.
    #[must_use]
    pub fn new(image: &'a Image, out: &'a Path) -> Self {
        let slot_size = roomy(image);
        Self {
            slot_a: image,
            slot_b: None,
            slot_size,
            data_size: 64 << 20,
            out,
        }
    }

    /// With an image in slot b; the slots grow when it needs more room.
    #[must_use]
    pub fn slot_b(mut self, image: &'a Image) -> Self {
        self.slot_size = self.slot_size.max(roomy(image));
        self.slot_b = Some(image);
        self
    }
}

/// The slot for an image: a quarter of room to grow, in whole segments.
fn roomy(image: &Image) -> u64 {
    (image.size + image.size / 4).next_multiple_of(4 << 20)
}

/// The files of a board's disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The drive with the slots: [`MAIN_DRIVE`].
    pub main: PathBuf,
    /// The drive with the boot environment, where it has its own: [`ENV_DRIVE`].
    pub env: Option<PathBuf>,
}

/// A kind of machine with a real bootloader.
pub trait Board: std::fmt::Debug {
    /// The board's name, e.g. `grub-bios`.
    fn name(&self) -> &'static str;

    /// Makes the board's disks as they leave the factory.
    ///
    /// # Errors
    /// An image does not fit, or a file cannot be made.
    fn build_disk(&self, spec: &DiskSpec<'_>) -> Result<Disk>;

    /// A machine with these disks; its logs are called `name` and go to the existing directory
    /// `work`.
    fn machine(&self, disk: &Disk, name: &str, work: &Path) -> MachineBuilder;

    /// The variables of the boot environment that the bootloader would use at its next start.
    ///
    /// # Errors
    /// The disk holds no readable environment.
    fn read_env(&self, disk: &Disk) -> Result<BTreeMap<String, String>>;

    /// The bytes from the first copy of the environment to the end of the last, on the drive that
    /// holds them ([`ENV_DRIVE`] where there is one).
    ///
    /// # Errors
    /// The disk cannot be read, or a copy is not where it must be.
    fn env_extent(&self, disk: &Disk) -> Result<Extent>;

    /// How many copies of the environment the bootloader would accept now; the machine must be off.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn whole_copies(&self, disk: &Disk) -> Result<usize>;

    /// Write requests that reach the drive when one copy of the environment is saved.
    fn writes_per_save(&self) -> u64;
}
