//! Positioned direct I/O on a slot's device.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::aligned::ALIGNMENT;
use super::ports::{Access, BlockDevice, Devices};

/// Why a slot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The device cannot be opened.
    #[error("{}: cannot be opened; is it the right partition, and is nothing mounted from it?", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The device reported an error.
    #[error("{}: {verb} failed at byte {offset}: the storage may be failing", path.display())]
    Io {
        /// The device.
        path: PathBuf,
        /// What was being done.
        verb: &'static str,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image does not fit.
    #[error("{}: has {size} bytes, the image has {wanted}; publish a smaller one", path.display())]
    TooSmall {
        /// The device.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The image's size in bytes.
        wanted: u64,
    },
    /// What was read back is not what was signed.
    #[error("{}: reads back with SHA-256 {found}, signed is {wanted}", path.display())]
    Differs {
        /// The device.
        path: PathBuf,
        /// What was read.
        found: switchback_types::Digest,
        /// What was wanted.
        wanted: switchback_types::Digest,
    },
    /// The work was called off.
    #[error("called off")]
    Cancelled,
}

/// An open slot.
#[derive(Debug)]
pub(super) struct Device {
    device: Box<dyn BlockDevice>,
    path: PathBuf,
}

impl Device {
    /// Opens for reading. A mounted slot can be read this way, and is read from the device: a
    /// buffered read of a mounted file system differs from the image in a few bytes.
    pub(super) fn open_for_reading(devices: &dyn Devices, path: &Path) -> Result<Self, SlotError> {
        Self::open(devices, path, Access::Read)
    }

    /// Opens for writing; the kernel refuses a mounted one.
    pub(super) fn open_for_writing(devices: &dyn Devices, path: &Path) -> Result<Self, SlotError> {
        Self::open(devices, path, Access::Write)
    }

    fn open(devices: &dyn Devices, path: &Path, access: Access) -> Result<Self, SlotError> {
        let device = devices
            .open(path, access)
            .map_err(|source| SlotError::Open {
                path: path.into(),
                source,
            })?;
        Ok(Self {
            device,
            path: path.into(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.device.size()
    }

    /// Fills `buffer` from `offset`; both are aligned. The end of the device cuts it short; gives
    /// the bytes read.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SlotError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + u64::try_from(done).unwrap_or(u64::MAX);
            match self.device.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => {
                    done += count;
                    // Only at the end of the device; the next read would be unaligned.
                    if count % ALIGNMENT != 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed("reading", at, source)),
            }
        }
        Ok(done)
    }

    /// Writes the whole `buffer` at `offset`; both are aligned.
    pub(super) fn write_at(&self, buffer: &[u8], offset: u64) -> Result<(), SlotError> {
        self.device
            .write_at(buffer, offset)
            .map_err(|source| self.failed("writing", offset, source))
    }

    /// Returns once everything written is on the device.
    pub(super) fn sync(&self) -> Result<(), SlotError> {
        self.device
            .sync()
            .map_err(|source| self.failed("syncing", 0, source))
    }

    fn failed(&self, verb: &'static str, offset: u64, source: std::io::Error) -> SlotError {
        SlotError::Io {
            path: self.path.clone(),
            verb,
            offset,
            source,
        }
    }
}

/// The kernel's devices, by direct I/O.
#[derive(Debug, Clone, Copy)]
pub struct KernelDevices;

#[derive(Debug)]
struct KernelDevice {
    file: File,
    size: u64,
}

impl Devices for KernelDevices {
    fn open(&self, path: &Path, access: Access) -> std::io::Result<Box<dyn BlockDevice>> {
        let mut flags = OFlag::O_DIRECT;
        let write = access == Access::Write;
        // On a regular file, O_EXCL without O_CREAT has no defined meaning.
        if write && std::fs::metadata(path)?.file_type().is_block_device() {
            flags |= OFlag::O_EXCL;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(flags.bits())
            .open(path)?;
        device_of(file)
    }
}

/// A device that somebody has opened, for direct I/O.
///
/// # Errors
/// It has no size.
pub(crate) fn device_of(mut file: File) -> std::io::Result<Box<dyn BlockDevice>> {
    let size = file.seek(SeekFrom::End(0))?;
    Ok(Box::new(KernelDevice { file, size }))
}

/// Opens a device for another process to read.
///
/// # Errors
/// As the operating system has them.
pub(crate) fn open_for_another(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(path)
}

impl BlockDevice for KernelDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> std::io::Result<()> {
        self.file.write_all_at(buffer, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()?;
        // Clean pages of other readers' buffered reads: what is read next comes from the device.
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        nix::fcntl::posix_fadvise(&self.file, 0, 0, advice).map_err(Into::into)
    }
}
