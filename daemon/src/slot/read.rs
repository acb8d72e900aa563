//! Reading here and there in a slot.

use switchback_types::SlotName;

use super::Layout;
use super::aligned::AlignedBuffer;
use super::device::{Device, SlotError};

/// Bytes of a block that is kept: what a delta reads lies close together.
const BLOCK: usize = 128 * 1024;
/// Blocks kept.
const KEPT: usize = 8;

/// A slot, open for reading. It is read from the device: a buffered read of a mounted file system differs
/// from the image in a few bytes. Bytes that somebody writes meanwhile may be read as they were.
#[derive(Debug)]
pub struct SlotReader {
    device: Device,
    /// The block used last comes last.
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    number: u64,
    length: usize,
    buffer: AlignedBuffer,
}

impl SlotReader {
    /// Opens it.
    ///
    /// # Errors
    /// The device cannot be opened.
    pub fn open(layout: &Layout, slot: SlotName) -> Result<Self, SlotError> {
        let path = &layout.slot(slot).path;
        Ok(Self {
            device: Device::open_for_reading(&*layout.devices, path)?,
            blocks: Vec::with_capacity(KEPT),
        })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.device.size()
    }

    /// Fills `buffer` from `offset` on; gives the bytes read, fewer at the end of the device.
    ///
    /// # Errors
    /// The device reported an error.
    pub fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, SlotError> {
        let block_size = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let skip = usize::try_from(at % block_size).unwrap_or(0);
            let bytes = self.block(at / block_size)?;
            let bytes = bytes.get(skip..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            if count == 0 {
                break;
            }
            if let (Some(to), Some(from)) = (rest.get_mut(..count), bytes.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
        }
        Ok(done)
    }

    fn block(&mut self, number: u64) -> Result<&[u8], SlotError> {
        let block = match self.blocks.iter().position(|block| block.number == number) {
            Some(index) => self.blocks.remove(index),
            None => {
                let mut buffer = match self.blocks.len() {
                    KEPT.. => self.blocks.remove(0).buffer,
                    _ => AlignedBuffer::new(BLOCK),
                };
                let offset = number.saturating_mul(u64::try_from(BLOCK).unwrap_or(u64::MAX));
                let length = self.device.read_at(buffer.bytes_mut(), offset)?;
                Block {
                    number,
                    length,
                    buffer,
                }
            }
        };
        self.blocks.push(block);
        let kept = self.blocks.last();
        Ok(kept
            .and_then(|block| block.buffer.bytes().get(..block.length))
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_bytes_of_any_place_in_any_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
        let (_files, layout) = crate::slot::testing::layout(&bytes, &[], bytes.len());
        let mut slot = SlotReader::open(&layout, SlotName::A).unwrap();
        let mut at = 1_usize;
        for length in [1, 4096, 65_536, 200_000, 7, 131_072] {
            for _ in 0..40 {
                at = (at * 7919 + 13) % bytes.len();
                let end = bytes.len().min(at + length);
                let mut buffer = vec![0; length];
                let read = slot.read_at(&mut buffer, at as u64).unwrap();
                assert_eq!(buffer[..read], bytes[at..end]);
                assert!(slot.blocks.len() <= KEPT);
            }
        }
        assert_eq!(slot.read_at(&mut [0; 10], 5_000_000).unwrap(), 0);
    }
}
