//! The files and devices that an environment is kept in.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::stat::{major, minor};
use nix::sys::statfs;

use super::BootError;
use super::lock::Lock;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A block device.
    BlockDevice,
    /// A character device: raw flash, for one.
    CharacterDevice,
    /// Something else.
    Other,
}

impl FileKind {
    /// For messages.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Regular => "a regular file",
            Self::BlockDevice => "a block device",
            Self::CharacterDevice => "a character device (raw flash)",
            Self::Other => "neither a file nor a device",
        }
    }
}

/// What must be known about a file before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes; of a device, its size.
    pub length: u64,
    /// Bytes that have a place on the storage; less than `length`: it has holes.
    pub allocated: u64,
    /// Device and inode: two names of one file have the same.
    pub identity: (u64, u64),
    /// Why GRUB cannot write to where it is, if it cannot.
    pub unsuitable_for_grub: Option<String>,
}

/// What is locked.
#[derive(Debug, Clone, Copy)]
pub enum Locks<'a> {
    /// An environment file itself.
    File(&'a Path),
    /// The first of these lock files that can be made.
    OneOf(&'a [PathBuf]),
}

/// Access to an environment's files. What counts is that each [`EnvFiles::write`] is one write.
pub trait EnvFiles: fmt::Debug + Send + Sync {
    /// Keeps other writers of these places out until the guard is dropped. Of several places
    /// [`Locks::OneOf`] takes the first that can be had.
    ///
    /// # Errors
    /// Somebody holds it and does not let go.
    fn lock(&self, locks: Locks<'_>) -> Result<Box<dyn fmt::Debug>, BootError>;

    /// What a path leads to.
    ///
    /// # Errors
    /// It leads nowhere.
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;

    /// Up to `length` bytes from `offset` on, from the storage if possible; fewer at the end.
    ///
    /// # Errors
    /// As the operating system has them.
    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Opens a file for writing and closes it again.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    fn probe_writable(&self, path: &Path) -> io::Result<()>;

    /// Writes over a part of an existing file, in one go; not durable before [`EnvFiles::sync`].
    ///
    /// # Errors
    /// As the operating system has them; some of the bytes may have been written.
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once what was written is durable.
    ///
    /// # Errors
    /// As the operating system has them.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Cuts off what follows the first `length` bytes of a file.
    ///
    /// # Errors
    /// As the operating system has them.
    fn shorten(&self, path: &Path, length: u64) -> io::Result<()>;
}

/// The real ones.
#[derive(Debug, Clone, Copy)]
pub struct RealFiles;

impl EnvFiles for RealFiles {
    fn lock(&self, locks: Locks<'_>) -> Result<Box<dyn fmt::Debug>, BootError> {
        Ok(match locks {
            Locks::File(path) => Box::new(Lock::on_file(path)?),
            Locks::OneOf(paths) => Box::new(Lock::on_tools(paths)?),
        })
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let metadata = std::fs::metadata(path)?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_file() {
            FileKind::Regular
        } else if file_type.is_block_device() {
            FileKind::BlockDevice
        } else if file_type.is_char_device() {
            FileKind::CharacterDevice
        } else {
            FileKind::Other
        };
        let length = match kind {
            FileKind::BlockDevice => File::open(path)?.seek(SeekFrom::End(0))?,
            FileKind::Regular | FileKind::CharacterDevice | FileKind::Other => metadata.len(),
        };
        let unsuitable_for_grub = match file_system(path)? {
            Some(other) => Some(other),
            None => stacked(metadata.dev()),
        };
        Ok(FileFacts {
            kind,
            length,
            // The unit of this count is fixed, whatever the file system's blocks are.
            allocated: metadata.blocks().saturating_mul(512),
            identity: (metadata.dev(), metadata.ino()),
            unsuitable_for_grub,
        })
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        // A hint, so that what is read comes from the storage; clean pages only, and that is what
        // they are after a sync.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        let mut bytes = vec![0; length];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    fn probe_writable(&self, path: &Path) -> io::Result<()> {
        existing(path).map(drop)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        existing(path)?.write_all_at(bytes, offset)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        existing(path)?.sync_all()
    }

    fn shorten(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = existing(path)?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// Opens for writing; neither creates nor truncates.
fn existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// The file system of a path, if it is none that GRUB writes to.
fn file_system(path: &Path) -> io::Result<Option<String>> {
    let found = statfs::statfs(path)?.filesystem_type();
    // The ext family shares one number.
    if [statfs::MSDOS_SUPER_MAGIC, statfs::EXT4_SUPER_MAGIC].contains(&found) {
        return Ok(None);
    }
    let names = [
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::XFS_SUPER_MAGIC, "XFS"),
        (statfs::F2FS_SUPER_MAGIC, "F2FS"),
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "an overlay"),
        (statfs::NFS_SUPER_MAGIC, "NFS"),
    ];
    let name = names.into_iter().find(|(number, _)| *number == found);
    Ok(Some(name.map_or_else(
        || format!("a file system of the type {:#x}", found.0),
        |(_, name)| name.to_owned(),
    )))
}

/// What the device is made of, if GRUB cannot write through it.
fn stacked(device: u64) -> Option<String> {
    let node = PathBuf::from(format!(
        "/sys/dev/block/{}:{}",
        major(device),
        minor(device)
    ));
    let kinds = [("dm", "a logical volume (device mapper)"), ("md", "a RAID")];
    let kind = kinds
        .into_iter()
        .find(|(directory, _)| node.join(directory).is_dir())?;
    Some(kind.1.to_owned())
}
