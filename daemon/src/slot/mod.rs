//! Slots: which partition is which, which one runs, and reading and writing the other one.
//!
//! A slot moves through types that only the next checker can make: [`InactiveSlot`] (it is not
//! the one that runs) → [`SlotWriter`] → [`SyncedSlot`] (everything written is on the device) →
//! [`VerifiedSlot`] (read back from the device and equal to what was signed). Arming takes the
//! last one, and nothing else makes it.

mod aligned;
mod device;
mod locate;
mod verify;
mod write;

pub use self::device::SlotError;
pub use self::locate::{Layout, LocateError, Located, Roots};
pub use self::verify::{VerifiedSlot, hash_slot, verify_slot};
pub use self::write::{SlotWriter, SyncedSlot};

use std::path::{Path, PathBuf};

use switchback_types::SlotName;

/// Bytes on a slot's device.
///
/// # Errors
/// It cannot be opened.
pub fn size_of(path: &Path) -> Result<u64, SlotError> {
    device::Device::open_for_reading(path).map(|device| device.size())
}

/// The slot that does not run: the only one that is ever written.
#[derive(Debug, Clone)]
pub struct InactiveSlot {
    name: SlotName,
    path: PathBuf,
}

impl InactiveSlot {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> SlotName {
        self.name
    }

    /// Its device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A file that stands for a slot.
#[cfg(test)]
pub(crate) mod testing {
    use switchback_types::SlotName;
    use tempfile::NamedTempFile;

    use super::InactiveSlot;

    /// A slot of `size` bytes that begins with `before`.
    pub(crate) fn slot(
        name: SlotName,
        before: &[u8],
        size: usize,
    ) -> (NamedTempFile, InactiveSlot) {
        // In the source directory: /tmp may be a file system without direct I/O.
        let file = NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut bytes = before.to_vec();
        bytes.resize(size, 0);
        std::fs::write(file.path(), bytes).unwrap();
        let slot = InactiveSlot {
            name,
            path: file.path().into(),
        };
        (file, slot)
    }
}
