//! Writing the inactive slot, segment by segment.

use switchback_types::{Digest, SlotName};

use super::InactiveSlot;
use super::aligned::{ALIGNMENT, AlignedBuffer};
use super::device::{Device, SlotError};
use super::verify::{VerifiedSlot, verify_open};
use crate::cancel::Cancel;
use crate::hash::sha256;

/// The inactive slot, open for writing.
#[derive(Debug)]
pub struct SlotWriter {
    device: Device,
    name: SlotName,
    image_size: u64,
    segment_size: usize,
    buffer: AlignedBuffer,
    /// The segment that is written next.
    next: u64,
}

/// Everything written is on the device; nothing has been read back yet.
#[derive(Debug)]
pub struct SyncedSlot {
    device: Device,
    name: SlotName,
    buffer: AlignedBuffer,
}

impl SlotWriter {
    /// Opens the slot for an image of `image_size` bytes in segments of `segment_size` bytes.
    ///
    /// # Errors
    /// It cannot be opened, is mounted, or is too small.
    pub fn open(
        slot: &InactiveSlot,
        image_size: u64,
        segment_size: usize,
    ) -> Result<Self, SlotError> {
        let device = Device::open_for_writing(&*slot.devices, slot.path())?;
        if device.size() < image_size {
            return Err(SlotError::TooSmall {
                path: device.path().into(),
                size: device.size(),
                wanted: image_size,
            });
        }
        Ok(Self {
            device,
            name: slot.name(),
            image_size,
            segment_size,
            buffer: AlignedBuffer::new(segment_size),
            next: 0,
        })
    }

    /// Bytes of the image in segment `index`; 0 past its end.
    fn length(&self, index: u64) -> usize {
        let segment = u64::try_from(self.segment_size).unwrap_or(u64::MAX);
        let rest = self
            .image_size
            .saturating_sub(index.saturating_mul(segment));
        usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .min(self.segment_size)
    }

    fn offset(&self, index: u64) -> u64 {
        index.saturating_mul(u64::try_from(self.segment_size).unwrap_or(u64::MAX))
    }

    /// The segment that is written next, and its length in bytes; `None` after the last.
    #[must_use]
    pub fn next(&self) -> Option<(u64, usize)> {
        match self.length(self.next) {
            0 => None,
            length => Some((self.next, length)),
        }
    }

    /// Bytes of the image that the slot holds so far, from its start.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.offset(self.next).min(self.image_size)
    }

    /// Skips the segments, from the next on, that the slot already holds: what an earlier attempt
    /// left, or what only went bad in places, is found by looking, not by remembering.
    ///
    /// A segment that the device cannot read is one that it does not hold: writing it again makes
    /// the device put it elsewhere.
    ///
    /// # Errors
    /// The work was called off.
    pub fn skip_present(
        &mut self,
        digest_of: impl Fn(u64) -> Option<Digest>,
        cancel: &Cancel,
    ) -> Result<u64, SlotError> {
        while let Some((index, length)) = self.next() {
            cancel.check()?;
            let Some(wanted) = digest_of(index) else {
                break;
            };
            let offset = self.offset(index);
            let Ok(read) = self.device.read_at(self.buffer.bytes_mut(), offset) else {
                break;
            };
            let found = self.buffer.bytes().get(..length.min(read)).map(sha256);
            if found != Some(wanted) {
                break;
            }
            self.next += 1;
        }
        Ok(self.next)
    }

    /// Goes on with segment `index`: those before it are known to be right.
    pub fn skip_to(&mut self, index: u64) {
        self.next = index;
    }

    /// Takes the bytes of the next segment, which has exactly this length. They are written unless
    /// the slot holds them already: reading is quick, and flash wears out by writing. Gives whether
    /// they were written.
    ///
    /// # Errors
    /// The device reported an error.
    pub fn put(&mut self, bytes: &[u8]) -> Result<bool, SlotError> {
        let offset = self.offset(self.next);
        // What cannot be read is written anew.
        let read = self.device.read_at(self.buffer.bytes_mut(), offset);
        let there = self.buffer.bytes().get(..bytes.len());
        if read.is_ok_and(|read| read >= bytes.len()) && there == Some(bytes) {
            self.next += 1;
            return Ok(false);
        }
        if let Some(place) = self.buffer.bytes_mut().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.write()?;
        Ok(true)
    }

    /// A buffer of the next segment's length, to be filled and passed on by [`Self::write`].
    pub fn buffer(&mut self) -> &mut [u8] {
        let length = self.length(self.next);
        self.buffer
            .bytes_mut()
            .get_mut(..length)
            .unwrap_or_default()
    }

    /// The first `length` bytes of the segment that was written last.
    #[must_use]
    pub fn last_written(&self, length: usize) -> &[u8] {
        self.buffer.bytes().get(..length).unwrap_or_default()
    }

    /// Whether the buffer holds the bytes with this digest.
    #[must_use]
    pub fn holds(&self, wanted: &Digest) -> bool {
        let length = self.length(self.next);
        self.buffer.bytes().get(..length).map(sha256) == Some(*wanted)
    }

    /// Writes the buffer as the next segment.
    ///
    /// # Errors
    /// The device reported an error.
    pub fn write(&mut self) -> Result<(), SlotError> {
        let length = self.length(self.next);
        let offset = self.offset(self.next);
        // The last segment is padded with zeros to what the device writes at once; bytes of the
        // slot after the image mean nothing.
        let room = self.device.size().saturating_sub(offset);
        let padded = length.next_multiple_of(ALIGNMENT);
        let padded = if u64::try_from(padded).is_ok_and(|padded| padded <= room) {
            padded
        } else {
            length.next_multiple_of(512)
        };
        let bytes = self.buffer.bytes_mut();
        if let Some(rest) = bytes.get_mut(length..padded) {
            rest.fill(0);
        }
        self.device
            .write_at(bytes.get(..padded).unwrap_or_default(), offset)?;
        self.next += 1;
        Ok(())
    }

    /// Returns once everything is on the device.
    ///
    /// # Errors
    /// The device reported an error: nothing may be believed of what was written.
    pub fn sync(self) -> Result<SyncedSlot, SlotError> {
        self.device.sync()?;
        Ok(SyncedSlot {
            device: self.device,
            name: self.name,
            buffer: self.buffer,
        })
    }
}

impl SyncedSlot {
    /// Reads the image back from the device and compares it with the signed digest.
    ///
    /// # Errors
    /// It differs, or the device reported an error.
    pub fn verify(
        mut self,
        image: &switchback_update_core::ImageIdentity,
        cancel: &Cancel,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifiedSlot, SlotError> {
        verify_open(
            &self.device,
            self.name,
            image,
            &mut self.buffer,
            cancel,
            progress,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(bytes: &[u8]) -> (tempfile::NamedTempFile, InactiveSlot) {
        crate::slot::testing::slot(SlotName::B, bytes, bytes.len())
    }

    fn identity(bytes: &[u8]) -> switchback_update_core::ImageIdentity {
        switchback_update_core::ImageIdentity {
            version: "2".parse().unwrap(),
            sequence: 2,
            security_epoch: 0,
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        }
    }

    fn write_all(slot: &InactiveSlot, image: &[u8], segment: usize) -> SyncedSlot {
        let mut writer = SlotWriter::open(slot, image.len() as u64, segment).unwrap();
        for part in image.chunks(segment) {
            writer.buffer().copy_from_slice(part);
            assert!(writer.holds(&sha256(part)));
            writer.write().unwrap();
        }
        assert_eq!(writer.next(), None);
        writer.sync().unwrap()
    }

    #[test]
    fn images_of_any_size_are_written_and_read_back() {
        for length in [1, 511, 4096, 65_536, 65_537, 200_000] {
            let image: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
            let (_file, slot) = slot(&vec![0xee; 204_800]);
            let synced = write_all(&slot, &image, 65_536);
            let verified = synced
                .verify(&identity(&image), &Cancel::default(), &mut |_| {})
                .unwrap();
            assert_eq!(verified.slot(), SlotName::B);
        }
    }

    #[test]
    fn one_wrong_byte_is_found_when_read_back() {
        let image = vec![7_u8; 100_000];
        let (file, slot) = slot(&vec![0; 204_800]);
        let synced = write_all(&slot, &image, 65_536);
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[99_999] ^= 1;
        std::fs::write(file.path(), bytes).unwrap();
        let error = synced
            .verify(&identity(&image), &Cancel::default(), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, SlotError::Differs { .. }), "{error}");
    }

    #[test]
    fn skips_what_is_right_before_and_after_what_is_not() {
        let image: Vec<u8> = (0..300_000_u32).map(|at| (at / 65_536) as u8 + 1).collect();
        let mut partial = image.clone();
        partial[65_536 * 2 + 5] = 0;
        partial.resize(409_600, 0);
        let (_file, slot) = slot(&partial);
        let digests: Vec<Digest> = image.chunks(65_536).map(sha256).collect();
        let mut writer = SlotWriter::open(&slot, image.len() as u64, 65_536).unwrap();
        let digest_of = |index: u64| digests.get(index as usize).copied();
        let cancel = Cancel::default();
        assert_eq!(writer.skip_present(digest_of, &cancel).unwrap(), 2);
        assert_eq!(writer.next(), Some((2, 65_536)));
        writer
            .buffer()
            .copy_from_slice(&image[2 * 65_536..3 * 65_536]);
        writer.write().unwrap();
        assert_eq!(writer.skip_present(digest_of, &cancel).unwrap(), 5);
        assert_eq!(writer.next(), None);
        let synced = writer.sync().unwrap();
        synced
            .verify(&identity(&image), &cancel, &mut |_| {})
            .unwrap();
    }

    #[test]
    fn too_small_a_slot_is_refused_with_both_numbers() {
        let (_file, slot) = slot(&[0; 8192]);
        let error = SlotWriter::open(&slot, 8193, 65_536).unwrap_err();
        assert!(error.to_string().contains("8192") && error.to_string().contains("8193"));
    }
}
