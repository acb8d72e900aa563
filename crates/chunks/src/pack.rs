//! Chunks, each compressed behind the bytes of the image before it.

use zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::ChunkError;
use crate::{BEHIND, MAX_CHUNK};

/// What every frame begins with; the pack leaves it out.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// The last [`BEHIND`] bytes.
fn behind(before: &[u8]) -> &[u8] {
    let start = before.len().saturating_sub(BEHIND);
    before.get(start..).unwrap_or_default()
}

fn failed(code: usize) -> ChunkError {
    ChunkError::Unpack(zstd_safe::get_error_name(code))
}

/// Compresses the chunks of one stretch of an image.
pub struct Packer<'a> {
    context: CCtx<'a>,
    stretch: &'a [u8],
}

impl core::fmt::Debug for Packer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl<'a> Packer<'a> {
    /// For chunks of `stretch`, which is a part of the image, at one of zstd's levels.
    ///
    /// # Errors
    /// zstd refuses.
    pub fn new(stretch: &'a [u8], level: i32) -> Result<Self, ChunkError> {
        let mut context = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            context.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Self { context, stretch })
    }

    /// Appends the chunk of `len` bytes at `start` of the stretch, compressed; nothing for zeros. Up
    /// to [`BEHIND`] bytes before it are taken as known, so the stretch must begin so much earlier, or
    /// at the beginning of the image.
    ///
    /// # Errors
    /// There is no such chunk, or zstd refuses.
    pub fn pack(&mut self, start: usize, len: usize, out: &mut Vec<u8>) -> Result<u32, ChunkError> {
        let end = start.saturating_add(len);
        let chunk = self.stretch.get(start..end);
        let chunk = chunk.ok_or(ChunkError::Damaged("no such chunk"))?;
        if chunk.iter().all(|byte| *byte == 0) {
            return Ok(0);
        }
        let known = behind(self.stretch.get(..start).unwrap_or_default());
        self.context.ref_prefix(known).map_err(failed)?;
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(len));
        self.context.compress2(&mut packed, chunk).map_err(failed)?;
        let packed = packed.strip_prefix(&MAGIC);
        let packed = packed.ok_or(ChunkError::Damaged("no frame of zstd"))?;
        out.extend_from_slice(packed);
        Ok(u32::try_from(packed.len()).unwrap_or(u32::MAX))
    }
}

/// Unpacks a chunk of `plain` bytes that follows `before` in the image, and appends it to `out`.
///
/// # Errors
/// It is damaged, or has another length.
pub fn unpack(
    before: &[u8],
    packed: &[u8],
    plain: usize,
    out: &mut Vec<u8>,
) -> Result<(), ChunkError> {
    if plain > MAX_CHUNK {
        return Err(ChunkError::Damaged("a chunk has a length that cannot be"));
    }
    let mut context = DCtx::try_create().ok_or(ChunkError::Unpack("no memory"))?;
    context.ref_prefix(behind(before)).map_err(failed)?;
    let frame = [&MAGIC, packed].concat();
    let mut bytes = Vec::with_capacity(plain);
    let made = context.decompress(&mut bytes, &frame).map_err(failed)?;
    if made != plain {
        return Err(ChunkError::Damaged("a chunk has another length"));
    }
    out.extend_from_slice(&bytes);
    Ok(())
}
