//! zstd, one call for each block.

use core::fmt;

use zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

/// Contexts, made when they are first needed.
#[derive(Default)]
pub(super) struct Zstd {
    packer: Option<CCtx<'static>>,
    unpacker: Option<DCtx<'static>>,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

impl Zstd {
    /// Fills at most the capacity of `out`, which is empty. In one call nothing else is allocated,
    /// whatever window the block asks for.
    pub(super) fn unpack(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let unpacker = self.unpacker.get_or_insert_with(DCtx::create);
        unpacker
            .decompress(out, packed)
            .map(drop)
            .map_err(get_error_name)
    }

    pub(super) fn pack(
        &mut self,
        level: u8,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let packer = self.packer.get_or_insert_with(CCtx::create);
        out.reserve_exact(compress_bound(plain.len()));
        packer
            .compress(out, plain, level.into())
            .map(drop)
            .map_err(get_error_name)
    }
}
