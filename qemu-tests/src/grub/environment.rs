//! The environment files inside a disk image, seen from the host by other programs' eyes: mtools
//! finds them, grub-editenv edits them. The product's own codec is what these tests judge, so it
//! is not used here.

use std::fs;
use std::path::Path;

use crate::command::Run;
use crate::disk::DiskImage;
use crate::error::{Error, IoContext as _, Result};

/// Variables in the order in which the block holds them.
pub type Variables = Vec<(String, String)>;

/// The size of an environment block.
pub(super) const BLOCK: usize = 1024;

const HEADER: &str = "# GRUB Environment Block\n";

/// A file with an environment block on the boot partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentFile {
    /// `sb1.env`
    Copy1,
    /// `sb2.env`
    Copy2,
    /// `grubenv`
    Single,
}

impl EnvironmentFile {
    /// The file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy1 => "sb1.env",
            Self::Copy2 => "sb2.env",
            Self::Single => "grubenv",
        }
    }
}

/// A new block with these variables.
pub(super) fn create(variables: &Variables, scratch: &Path) -> Result<Vec<u8>> {
    let path = scratch.join("new.env");
    Run::new("grub-editenv").arg(&path).arg("create").check()?;
    let pairs: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    set(&path, &pairs)
}

/// The block with these variables changed.
pub(super) fn edit(block: &[u8], changes: &[(&str, &str)], scratch: &Path) -> Result<Vec<u8>> {
    let path = scratch.join("edit.env");
    fs::write(&path, block).io("write", &path)?;
    set(&path, changes)
}

fn set(path: &Path, pairs: &[(&str, &str)]) -> Result<Vec<u8>> {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    Run::new("grub-editenv")
        .arg(path)
        .arg("set")
        .args(pairs)
        .check()?;
    fs::read(path).io("read", path)
}

/// The file's bytes.
pub(super) fn read(disk: &DiskImage, file: EnvironmentFile) -> Result<Vec<u8>> {
    let address = disk.fat_address("esp")?;
    let name = format!("::/{}", file.name());
    Run::new("mtype").arg("-i").arg(address).arg(name).stdout()
}

/// Replaces the file's bytes where they lie, as the product does; mcopy would move them.
pub(super) fn write(disk: &DiskImage, file: EnvironmentFile, bytes: &[u8]) -> Result<()> {
    let old = read(disk, file)?;
    if old.len() != bytes.len() {
        return Err(Error::Malformed {
            path: disk.path().to_owned(),
            why: format!(
                "{} is {} bytes, not {}",
                file.name(),
                old.len(),
                bytes.len()
            ),
        });
    }
    disk.write(place(disk, file)?, bytes)
}

/// Where the file's only cluster lies on the disk, from mshowfat's `::/sb1.env <35>`.
pub(super) fn place(disk: &DiskImage, file: EnvironmentFile) -> Result<u64> {
    let malformed = |why: String| Error::Malformed {
        path: disk.path().to_owned(),
        why,
    };
    let address = disk.fat_address("esp")?;
    let name = format!("::/{}", file.name());
    let shown = Run::new("mshowfat")
        .arg("-i")
        .arg(address)
        .arg(name)
        .text()?;
    let cluster = shown
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let cluster: u64 = cluster
        .and_then(|(cluster, _)| cluster.parse().ok())
        .ok_or_else(|| malformed(format!("mshowfat shows no single cluster: {shown}")))?;

    let partition = disk.partition("esp")?.offset;
    let boot = disk.read(partition, 512)?;
    let geometry = FatGeometry::parse(&boot).ok_or_else(|| malformed("no FAT16 in esp".into()))?;
    Ok(partition + geometry.cluster(cluster))
}

/// What is needed of a FAT16 boot sector (Microsoft FAT specification 1.03, section 3).
#[derive(Debug)]
struct FatGeometry {
    sector: u64,
    cluster_sectors: u64,
    data_sector: u64,
}

impl FatGeometry {
    fn parse(boot: &[u8]) -> Option<Self> {
        let byte = |at: usize| boot.get(at).copied().map(u64::from);
        let word = |at: usize| Some(byte(at)? | byte(at + 1)? << 8);
        let sector = word(11)?;
        let tables = byte(16)? * word(22)?;
        // On FAT32 both are zero and elsewhere.
        if tables == 0 || sector == 0 {
            return None;
        }
        let root_directory = (word(17)? * 32).div_ceil(sector);
        let data_sector = word(14)? + tables + root_directory;
        Some(Self {
            sector,
            cluster_sectors: byte(13)?,
            data_sector,
        })
    }

    /// Clusters are counted from two.
    fn cluster(&self, number: u64) -> u64 {
        (self.data_sector + number.saturating_sub(2) * self.cluster_sectors) * self.sector
    }
}

/// Reads a block as grub-editenv's `list` shows it.
pub(super) fn parse(block: &[u8], path: &Path) -> Result<Variables> {
    let malformed = |why: String| Error::Malformed {
        path: path.to_owned(),
        why,
    };
    if block.len() != BLOCK || !block.starts_with(HEADER.as_bytes()) {
        return Err(malformed(format!(
            "no environment block ({} bytes)",
            block.len()
        )));
    }
    let text = std::str::from_utf8(block).map_err(|why| malformed(why.to_string()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Whether GRUB's script takes this copy: a block whose numbers at both ends agree.
pub(super) fn is_whole(variables: &Variables) -> bool {
    let value = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    value("seq").is_some() && value("seq") == value("end")
}

/// The newer of two copies, by the rule in `boot/grub/grub.cfg`.
pub(super) fn newer(one: Result<Variables>, two: Result<Variables>) -> Result<Variables> {
    let sequence = |copy: &Result<Variables>| -> Option<u8> {
        let value = |wanted: &str| {
            let found = copy.as_ref().ok()?.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let seq = value("seq")?;
        (value("end") == Some(seq))
            .then(|| seq.parse().ok())
            .flatten()
            .filter(|n| *n < 4)
    };
    match (sequence(&one), sequence(&two)) {
        (Some(first), Some(second)) if second == (first + 1) % 4 => two,
        (None, Some(_)) => two,
        _ => one,
    }
}

#[cfg(test)]
mod tests {
    use super::{FatGeometry, Variables, create, newer, parse};
    use std::path::Path;

    fn copy(seq: &str, end: &str, mark: &str) -> Variables {
        [("seq", seq), ("id", mark), ("end", end)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn newer_copy_follows_the_other_modulo_four() {
        for (first, second, expected) in [
            (copy("0", "0", "1"), copy("1", "1", "2"), "2"),
            (copy("3", "3", "1"), copy("0", "0", "2"), "2"),
            (copy("1", "1", "1"), copy("0", "0", "2"), "1"),
            (copy("2", "2", "1"), copy("2", "2", "2"), "1"),
            (copy("0", "0", "1"), copy("1", "0", "2"), "1"),
            (copy("0", "3", "1"), copy("1", "1", "2"), "2"),
        ] {
            let chosen = newer(Ok(first.clone()), Ok(second.clone())).unwrap();
            let mark = chosen.iter().find(|(name, _)| name == "id").unwrap();
            assert_eq!(mark.1, expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn block_keeps_variables_and_their_order() {
        let scratch = tempfile::tempdir().unwrap();
        let variables = copy("0", "0", "contact");
        let block = create(&variables, scratch.path()).unwrap();
        assert_eq!(block.len(), 1024);
        assert_eq!(parse(&block, Path::new("x")).unwrap(), variables);
        assert!(parse(&block[..1000], Path::new("x")).is_err());
    }

    #[test]
    fn fat_clusters_start_behind_the_tables() {
        let mut boot = [0_u8; 512];
        boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
        boot[13] = 8;
        boot[14..16].copy_from_slice(&8_u16.to_le_bytes());
        boot[16] = 2;
        boot[17..19].copy_from_slice(&512_u16.to_le_bytes());
        assert!(FatGeometry::parse(&boot).is_none(), "no table size: FAT32");
        boot[22..24].copy_from_slice(&66_u16.to_le_bytes());
        let geometry = FatGeometry::parse(&boot).unwrap();
        assert_eq!(geometry.cluster(2), (8 + 132 + 32) * 512);
        assert_eq!(geometry.cluster(4), (8 + 132 + 32 + 16) * 512);
    }
}
