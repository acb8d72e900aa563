//! What a slot needs of its device.

use std::fmt;
use std::io;
use std::path::Path;

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; it may be mounted.
    Read,
    /// For writing, and for nobody else at the same time.
    Write,
}

/// Opens the slots' devices.
pub trait Devices: fmt::Debug + Send + Sync {
    /// Opens the device at `path`.
    ///
    /// # Errors
    /// As the operating system has them.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>>;
}

/// An open device. Buffers and offsets are aligned for direct I/O; nothing goes through a cache of
/// the system, and nothing is durable before [`BlockDevice::sync`] has returned.
pub trait BlockDevice: fmt::Debug + Send {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Reads once, from `offset` on; gives the number of bytes, less than the buffer's at the end.
    ///
    /// # Errors
    /// As the operating system has them.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the whole buffer at `offset`.
    ///
    /// # Errors
    /// As the operating system has them; a part may have been written.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written is on the device.
    ///
    /// # Errors
    /// As the operating system has them: nothing may be believed of what was written.
    fn sync(&self) -> io::Result<()>;
}
