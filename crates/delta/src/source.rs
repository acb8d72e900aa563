//! The old image, as the decoder sees it.

use crate::error::SourceError;

/// Bytes of the old image.
///
/// Every byte that is given counts as checked: an implementor that reads a slot compares each
/// segment with the list signed for the running image before it gives any of its bytes. Reads go
/// back and forth, at most [`MAX_READ`](crate::limits::MAX_READ) bytes at a time, so it pays to
/// keep a few blocks.
pub trait Source {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When these bytes cannot be read, are not those of the old image, or do not exist.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError>;
}

impl Source for &[u8] {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        match start.zip(end).and_then(|(start, end)| self.get(start..end)) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(SourceError::TooShort {
                len: self.len() as u64,
            }),
        }
    }
}
