//! A buffer that direct I/O accepts.

/// Address and length that every block device accepts for direct I/O.
pub(super) const ALIGNMENT: usize = 4096;

/// A zeroed buffer whose usable part starts at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` is rounded up to a multiple of [`ALIGNMENT`].
    pub(super) fn new(length: usize) -> Self {
        let length = length.next_multiple_of(ALIGNMENT);
        let storage = vec![0_u8; length + ALIGNMENT];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self {
            storage,
            start,
            length,
        }
    }

    /// The usable part.
    pub(super) fn bytes(&self) -> &[u8] {
        self.storage
            .get(self.start..self.start + self.length)
            .unwrap_or_default()
    }

    /// The usable part, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage
            .get_mut(self.start..self.start + self.length)
            .unwrap_or_default()
    }
}

/// A buffer for what is written as it comes, of the length of the longest part so far.
#[derive(Debug, Default)]
pub(crate) struct SlotBuffer(Option<AlignedBuffer>);

impl SlotBuffer {
    /// A place for `length` bytes.
    pub(crate) fn of(&mut self, length: usize) -> &mut [u8] {
        let kept = self.0.take().filter(|kept| kept.length >= length);
        let buffer = self
            .0
            .insert(kept.unwrap_or_else(|| AlignedBuffer::new(length)));
        buffer.bytes_mut().get_mut(..length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_and_large_enough() {
        for length in [1, 4096, 5000, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert!(buffer.bytes().len() >= length);
            assert_eq!(buffer.bytes().len() % ALIGNMENT, 0);
            assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0);
            buffer.bytes_mut().fill(7);
            assert!(buffer.bytes().iter().all(|byte| *byte == 7));
        }
    }
}
