//! Disk images with a GUID partition table.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};
use crate::image::Image;

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// Features of the data partition's ext4, for `mke2fs -O`.
///
/// The drives here keep or lose single sectors of 512 bytes, but ext4's superblock is two of them,
/// is written in place beside its journal, and with `metadata_csum` has one checksum over both. A
/// cut between the two then leaves a file system that the kernel does not mount and that
/// `e2fsck -p`, which is what systemd-fsck runs at boot, does not repair (1.47.0: exit status 8;
/// backups are tried by `e2fsck -y` only). Without that checksum either half is as good as the
/// other, and what has to be consistent comes out of the journal. Switchback cannot guard the file
/// system that its state lies in: who builds a product on drives that do not write 1024 bytes at
/// once makes the same choice, or lets `e2fsck -y` run at boot.
pub(crate) const DATA_FEATURES: &str = "^metadata_csum";

/// A partition to be made.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its number in the table.
    pub number: u32,
    /// Its name, which is how slots are found.
    pub name: &'static str,
    /// sgdisk's type code, e.g. `8300` (Linux) or `EF00` (EFI system partition).
    pub type_code: &'static str,
    /// Its size in bytes, a multiple of 1 MiB.
    pub size: u64,
}

/// Where a partition lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// A raw disk image.
#[derive(Debug, Clone)]
pub struct DiskImage {
    path: PathBuf,
}

impl DiskImage {
    /// Makes a sparse disk with `partitions` in this order, each starting at a whole MiB.
    ///
    /// # Errors
    /// The file or the table cannot be made.
    pub fn create(path: &Path, partitions: &[Partition]) -> Result<Self> {
        let content: u64 = partitions.iter().map(|partition| partition.size).sum();
        let file = File::create(path).io("create", path)?;
        // One MiB before the first partition, one for the second table at the end.
        file.set_len(content + 2 * MIB).io("size", path)?;
        let mut sgdisk = Run::new("sgdisk").args(["--set-alignment", "2048"]);
        let mut start = MIB / SECTOR;
        for partition in partitions {
            let Partition {
                number,
                name,
                type_code,
                size,
            } = partition;
            let end = start + size / SECTOR - 1;
            sgdisk = sgdisk
                .arg(format!("--new={number}:{start}:{end}"))
                .arg(format!("--typecode={number}:{type_code}"))
                .arg(format!("--change-name={number}:{name}"));
            start = end + 1;
        }
        sgdisk.arg(path).check()?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// An existing disk image.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partition called `name` lies.
    ///
    /// # Errors
    /// The table cannot be read or names no such partition.
    pub fn partition(&self, name: &str) -> Result<Extent> {
        let malformed = |why: String| Error::Malformed {
            path: self.path.clone(),
            why,
        };
        let table = read_at(&self.path, SECTOR, 33 * SECTOR)?;
        find_partition(&table, name).map_err(malformed)
    }

    /// Writes `image` to the start of a partition and leaves the rest as it is (zeros, when new).
    ///
    /// # Errors
    /// The image is larger than the partition, or copying failed.
    pub fn write_image(&self, name: &str, image: &Image) -> Result<()> {
        let extent = self.partition(name)?;
        if image.size > extent.length {
            return Err(Error::TooLarge {
                image: image.path.clone(),
                size: image.size,
                place: format!("partition {name}"),
                room: extent.length,
            });
        }
        Run::new("dd")
            .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
            .arg(format!("if={}", image.path.display()))
            .arg(format!("of={}", self.path.display()))
            .arg(format!("seek={}", extent.offset / MIB))
            .check()
    }

    /// Reads bytes at an offset of the whole disk.
    ///
    /// # Errors
    /// They lie beyond the disk or cannot be read.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        read_at(&self.path, offset, length)
    }

    /// Writes bytes at an offset of the whole disk. The machine must be off.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .io("open", &self.path)?;
        file.write_all_at(bytes, offset).io("write", &self.path)
    }

    /// The address of a FAT partition for mtools: `FILE@@OFFSET`.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn fat_address(&self, name: &str) -> Result<String> {
        Ok(format!(
            "{}@@{}",
            self.path.display(),
            self.partition(name)?.offset
        ))
    }
}

fn read_at(path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let file = File::open(path).io("open", path)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).io("read", path)?;
    Ok(bytes)
}

/// Finds a partition in the header (LBA 1) and the entries behind it, as sgdisk lays them out
/// (UEFI specification 2.10, section 5.3).
fn find_partition(table: &[u8], name: &str) -> Result<Extent, String> {
    const ENTRY: usize = 128;
    if !table.starts_with(b"EFI PART") {
        return Err("no GUID partition table at LBA 1".to_owned());
    }
    let wanted: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let entries = table.get(512..).unwrap_or_default();
    for entry in entries.chunks_exact(ENTRY) {
        let text = entry.get(56..).unwrap_or_default();
        let named = text.starts_with(&wanted)
            && text
                .get(wanted.len()..)
                .is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        if named {
            let (first, last) = (lba(entry, 32), lba(entry, 40));
            let length = (last + 1).saturating_sub(first) * SECTOR;
            return Ok(Extent {
                offset: first * SECTOR,
                length,
            });
        }
    }
    Err(format!("no partition is named {name}"))
}

fn lba(entry: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(entry.get(at..at + 8).unwrap_or(&[0; 8]));
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::{DiskImage, Extent, MIB, Partition};
    use crate::error::Error;
    use crate::image::Image;

    #[test]
    fn partitions_are_found_by_name_and_keep_their_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let partition = |number, name, size| Partition {
            number,
            name,
            type_code: "8300",
            size,
        };
        let disk = DiskImage::create(
            &directory.path().join("disk"),
            &[
                partition(5, "slot-a", 2 * MIB),
                partition(1, "slot-ab", 3 * MIB),
            ],
        )
        .unwrap();
        assert_eq!(
            disk.partition("slot-a").unwrap(),
            Extent {
                offset: MIB,
                length: 2 * MIB
            }
        );
        assert_eq!(
            disk.partition("slot-ab").unwrap(),
            Extent {
                offset: 3 * MIB,
                length: 3 * MIB
            }
        );
        assert!(disk.partition("slot").is_err());

        let file = directory.path().join("image");
        std::fs::write(&file, vec![7; 3 * 1024 * 1024]).unwrap();
        let image = Image::at(file).unwrap();
        disk.write_image("slot-ab", &image).unwrap();
        assert_eq!(disk.read(6 * MIB - 1, 2).unwrap(), [7, 0]);
        let refused = disk.write_image("slot-a", &image).unwrap_err();
        assert!(
            matches!(refused, Error::TooLarge { room, .. } if room == 2 * MIB),
            "{refused}"
        );
    }
}
