//! Reading a slot back.

use std::path::Path;

use switchback_types::{Digest, SlotName};
use switchback_update_core::ImageIdentity;

use super::aligned::AlignedBuffer;
use super::device::{Device, SlotError};
use super::{InactiveSlot, Layout};
use crate::cancel::Cancel;
use crate::hash::Hasher;

/// Bytes read at once.
const READ_SIZE: usize = 1 << 20;

/// Proof that a slot was read back from the device and holds exactly the signed image. Only the
/// functions of this module make one.
#[derive(Debug)]
pub struct VerifiedSlot {
    slot: SlotName,
    image: ImageIdentity,
}

impl VerifiedSlot {
    /// The slot.
    #[must_use]
    pub fn slot(&self) -> SlotName {
        self.slot
    }

    /// What it holds.
    #[must_use]
    pub fn image(&self) -> &ImageIdentity {
        &self.image
    }
}

/// Reads the inactive slot and compares it with an image that it is thought to hold.
///
/// # Errors
/// It differs, is too small, or cannot be read.
pub fn verify_slot(
    slot: &InactiveSlot,
    image: &ImageIdentity,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedSlot, SlotError> {
    let device = Device::open_for_reading(&*slot.devices, slot.path())?;
    let mut buffer = AlignedBuffer::new(READ_SIZE);
    verify_open(&device, slot.name(), image, &mut buffer, cancel, progress)
}

/// Hashes the first `size` bytes of a slot, or all of it; gives the digest and the size.
///
/// # Errors
/// It is too small or cannot be read.
pub fn hash_slot(
    layout: &Layout,
    slot: SlotName,
    size: Option<u64>,
    cancel: &Cancel,
) -> Result<(Digest, u64), SlotError> {
    let path: &Path = &layout.slot(slot).path;
    let device = Device::open_for_reading(&*layout.devices, path)?;
    let size = size.unwrap_or(device.size());
    let mut buffer = AlignedBuffer::new(READ_SIZE);
    hash(&device, size, &mut buffer, cancel, &mut |_| {}).map(|digest| (digest, size))
}

pub(super) fn verify_open(
    device: &Device,
    slot: SlotName,
    image: &ImageIdentity,
    buffer: &mut AlignedBuffer,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedSlot, SlotError> {
    let found = hash(device, image.size, buffer, cancel, progress)?;
    if found != image.sha256 {
        let path = device.path().into();
        return Err(SlotError::Differs {
            path,
            found,
            wanted: image.sha256,
        });
    }
    Ok(VerifiedSlot {
        slot,
        image: image.clone(),
    })
}

fn hash(
    device: &Device,
    size: u64,
    buffer: &mut AlignedBuffer,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Digest, SlotError> {
    if device.size() < size {
        let path = device.path().into();
        return Err(SlotError::TooSmall {
            path,
            size: device.size(),
            wanted: size,
        });
    }
    let mut hasher = Hasher::default();
    let mut done = 0_u64;
    while done < size {
        cancel.check()?;
        let read = device.read_at(buffer.bytes_mut(), done)?;
        let rest = usize::try_from(size - done).unwrap_or(usize::MAX);
        let bytes = buffer.bytes().get(..read.min(rest)).unwrap_or_default();
        if bytes.is_empty() {
            let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            let path = device.path().into();
            return Err(SlotError::Io {
                path,
                verb: "reading",
                offset: done,
                source,
            });
        }
        hasher.update(bytes);
        done += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        progress(done);
    }
    Ok(hasher.finish())
}
