//! zstd, one call for each block.

use core::fmt;

use zstd_safe::{CCtx, CParameter, DCtx, ResetDirective, compress_bound, get_error_name};

use crate::limits::MAX_PACKED_ZSTD;

/// Contexts, made when they are first needed.
#[derive(Default)]
pub(super) struct Zstd {
    packer: Option<CCtx<'static>>,
    unpacker: Option<DCtx<'static>>,
}

/// The largest window, as a power of two, for blocks of any length on any level.
const WINDOW: u8 = 17;
/// Up to this level any window is taken for blocks of any length.
const LOW: u8 = 9;
/// What mkfs.erofs 1.8 hands to zstd when it is told no level, whatever its help says.
const UNTOLD: i32 = -1;
/// mkfs.erofs gives the compressor so many bytes more than it may fill.
const ROOM: usize = 32;

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

    /// Packs into at most `most` bytes, with a window of 2^`window` bytes. No window costs more than
    /// one of the block's length, so a large one is taken for short blocks on any level.
    pub(super) fn pack_within(
        &mut self,
        level: u8,
        window: u8,
        plain: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if level > LOW && window > WINDOW && plain.len() > MAX_PACKED_ZSTD {
            return Err("the block is too long for its window");
        }
        let level = if level == 0 { UNTOLD } else { level.into() };
        let packer = self.packer.get_or_insert_with(CCtx::create);
        out.reserve_exact(most + ROOM);
        packer
            .reset(ResetDirective::SessionAndParameters)
            .and_then(|_| packer.set_parameter(CParameter::CompressionLevel(level)))
            .and_then(|_| packer.set_parameter(CParameter::WindowLog(window.into())))
            .and_then(|_| packer.compress2(out, plain))
            .map(drop)
            .map_err(get_error_name)
    }
}

#[cfg(test)]
mod tests {
    use super::Zstd;
    use crate::codec::WINDOWS;
    use crate::limits::{MAX_PACKED_PADDED, MAX_PACKED_ZSTD};

    /// What a device needs for a block of so many bytes; `None` when it does not pack that.
    fn memory(level: u8, window: u8, len: usize) -> Option<usize> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 28).to_le_bytes()[0]
        };
        let plain: Vec<u8> = (0..len).map(|_| next()).collect();
        let mut zstd = Zstd::default();
        zstd.pack_within(level, window, &plain, len, &mut Vec::new())
            .ok()?;
        Some(zstd.packer.as_ref()?.sizeof())
    }

    #[test]
    fn no_setting_takes_more_memory_than_the_limits_say() {
        for level in [0, 3, 5, 6, 7, 8, 9, 10, 12, 15, 17, 22] {
            for window in [*WINDOWS.start(), 17, *WINDOWS.end()] {
                for len in [MAX_PACKED_ZSTD, MAX_PACKED_PADDED] {
                    let most = memory(level, window, len).unwrap_or(0);
                    assert!(most < 3400 << 10, "{level}, {window}, {len}: {most}");
                }
            }
        }
        assert_eq!(memory(10, 18, MAX_PACKED_PADDED), None);
    }
}
