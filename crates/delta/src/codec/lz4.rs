//! LZ4 as erofs has it: as many bytes as fill a block of pages.

use lzzzz::{lz4, lz4_hc};

use super::{AHEAD, Tail};

/// From this many bytes on lz4 counts them otherwise. More than its own limit, which is
/// a few bytes above 64 KiB.
const LONG: usize = 65 << 10;
/// So many zeros keep what the compressor sees from being an end.
const SHORT: usize = 64;

/// Unpacks into `out`, which is empty and has room for `most` bytes.
pub(super) fn unpack(packed: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.resize(most, 0);
    let made = lz4::decompress(packed, out).map_err(|_| "it is no block of LZ4")?;
    out.truncate(made);
    Ok(())
}

/// Fills at most `wanted` bytes with the first `len` bytes of `plain`.
pub(super) fn fill(
    level: u8,
    (plain, len): (&[u8], usize),
    tail: Tail,
    wanted: usize,
    source: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let (ahead, zeros) = match tail {
        Tail::Long => (AHEAD, LONG),
        Tail::Short => (AHEAD, SHORT),
        Tail::Exactly(count) => (count.into(), 0),
    };
    source.clear();
    source.reserve_exact(len + ahead + zeros);
    let seen = plain.get(..(len + ahead).min(plain.len()));
    source.extend_from_slice(seen.unwrap_or_default());
    source.resize(source.len() + zeros, 0);
    out.resize(wanted, 0);
    let made = if level == 0 {
        lz4::compress_fill(source, out)
    } else {
        lz4_hc::compress_fill(source, out, level.into())
    };
    let (taken, made) = made.map_err(|_| "LZ4 does not take it")?;
    if taken != len || made > wanted {
        return Err("LZ4 ends elsewhere");
    }
    out.truncate(made);
    Ok(())
}
