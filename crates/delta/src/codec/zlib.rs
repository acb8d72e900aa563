//! zlib, one stream for each block.

use core::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Contexts, made when they are first needed.
#[derive(Default)]
pub(super) struct Zlib {
    packer: Option<(u8, u8, Compress)>,
    unpacker: Option<Decompress>,
}

impl fmt::Debug for Zlib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zlib").finish_non_exhaustive()
    }
}

impl Zlib {
    /// Fills at most the capacity of `out`, which is empty and has room for `most` bytes.
    pub(super) fn unpack(
        &mut self,
        packed: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let unpacker = self.unpacker.get_or_insert_with(|| Decompress::new(true));
        unpacker.reset(true);
        let status = unpacker.decompress_vec(packed, out, FlushDecompress::Finish);
        let whole = unpacker.total_in() == packed.len() as u64;
        match status {
            Ok(Status::StreamEnd) if whole && out.len() <= most => Ok(()),
            Ok(Status::StreamEnd) => Err("something follows its stream"),
            Ok(_) => Err("its stream does not end"),
            Err(_) => Err("it is no stream of zlib"),
        }
    }

    pub(super) fn pack(
        &mut self,
        level: u8,
        window: u8,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let kept = self.packer.take();
        let kept = kept.filter(|(other, size, _)| (*other, *size) == (level, window));
        let (_, _, packer) = self.packer.insert(match kept {
            Some(kept) => kept,
            None => {
                if !(9..=15).contains(&window) {
                    return Err("there is no such window");
                }
                let wanted = Compression::new(level.into());
                let packer = Compress::new_with_window_bits(wanted, true, window);
                (level, window, packer)
            }
        });
        packer.reset();
        // Blocks that grow are not compressed in any image.
        out.reserve_exact(plain.len() + SPARE);
        match packer.compress_vec(plain, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(_) => Err("it grows"),
            Err(_) => Err("zlib does not take it"),
        }
    }
}

/// A stream has so many bytes more than its block at most, when it is of any use.
const SPARE: usize = 64;
