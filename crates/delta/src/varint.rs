//! Numbers as LEB128: seven bits a byte, the lowest first.

use crate::error::DeltaError;

/// Appends a number.
pub(crate) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value.to_le_bytes()[0] | 128);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads numbers from a slice.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    whole: usize,
}

const SHORT: DeltaError = DeltaError::Damaged("a part ends in the middle of a number");

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes.len(),
        }
    }

    /// A number of at most 63 bits.
    pub(crate) fn number(&mut self) -> Result<u64, DeltaError> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(SHORT)?;
            self.rest = rest;
            value |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
        Err(DeltaError::Damaged("a number is too long"))
    }

    /// Four bytes.
    pub(crate) fn fixed(&mut self) -> Result<u32, DeltaError> {
        let (four, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*four))
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DeltaError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DeltaError::Damaged("a part ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// How many bytes were read.
    pub(crate) fn place(&self) -> usize {
        self.whole - self.rest.len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }
}
