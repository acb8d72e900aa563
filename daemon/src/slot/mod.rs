//! Slots: which partition is which, which one runs, and reading and writing the other one.
//!
//! A slot moves through types that only the next checker can make: [`InactiveSlot`] (it is not
//! the one that runs) → [`SlotWriter`] → [`SyncedSlot`] (everything written is on the device) →
//! [`VerifiedSlot`] (read back from the device and equal to what was signed). Arming takes the
//! last one, and nothing else makes it.

mod aligned;
mod device;
mod locate;
mod ports;
mod read;
mod verify;
mod write;

pub(crate) use self::aligned::SlotBuffer;
pub use self::device::{KernelDevices, SlotError};
pub(crate) use self::device::{device_of, open_for_another};
pub use self::locate::{Layout, LocateError, Located, Roots};
pub use self::ports::{Access, BlockDevice, Devices};
pub use self::read::SlotReader;
pub use self::verify::{VerifiedSlot, hash_slot, verify_slot};
pub use self::write::{SlotWriter, SyncedSlot};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchback_types::SlotName;

/// The slot that does not run: the only one that is ever written.
#[derive(Debug, Clone)]
pub struct InactiveSlot {
    name: SlotName,
    path: PathBuf,
    devices: Arc<dyn Devices>,
}

impl InactiveSlot {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> SlotName {
        self.name
    }

    /// Bytes on its device.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn size(&self) -> Result<u64, SlotError> {
        device::Device::open_for_reading(&*self.devices, &self.path).map(|device| device.size())
    }

    /// Its device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Files that stand for slots.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use switchback_types::SlotName;
    use tempfile::NamedTempFile;

    use super::{InactiveSlot, KernelDevices, Layout, Located};

    /// A file of `size` bytes that begins with `before`.
    fn file(before: &[u8], size: usize) -> NamedTempFile {
        // In the source directory: /tmp may be a file system without direct I/O.
        let file = NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut bytes = before.to_vec();
        bytes.resize(size, 0);
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    /// A slot of `size` bytes that begins with `before`.
    pub(crate) fn slot(
        name: SlotName,
        before: &[u8],
        size: usize,
    ) -> (NamedTempFile, InactiveSlot) {
        let file = file(before, size);
        let slot = InactiveSlot {
            name,
            path: file.path().into(),
            devices: Arc::new(KernelDevices),
        };
        (file, slot)
    }

    /// Slot a, which runs, and slot b, both of `size` bytes.
    pub(crate) fn layout(a: &[u8], b: &[u8], size: usize) -> ([NamedTempFile; 2], Layout) {
        let files = [file(a, size), file(b, size)];
        let [a, b] = files.each_ref().map(|file| Located {
            path: file.path().into(),
            number: String::new(),
        });
        let layout = Layout {
            a,
            b,
            booted: SlotName::A,
            contact: None,
            environment_bad: false,
            devices: Arc::new(KernelDevices),
        };
        (files, layout)
    }
}
