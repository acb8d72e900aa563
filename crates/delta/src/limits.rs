//! What a delta may ask for. All of it is checked before memory is taken.

/// The version that this program writes and reads.
pub const VERSION: u16 = 1;
/// Most bytes of an image: 1 TiB.
pub const MAX_IMAGE: u64 = 1 << 40;
/// Most frames of a delta.
pub const MAX_FRAMES: usize = 1 << 15;
/// Most bytes of the frame table.
pub const MAX_TABLE: usize = 1 << 20;
/// Most bytes of one frame as it lies in the blob.
pub const MAX_FRAME: usize = 3 << 19;
/// Most literal bytes of one frame.
pub const MAX_LITERALS: usize = 3 << 19;
/// Most groups of a delta.
pub const MAX_GROUPS: usize = 1 << 12;
/// Most runs of one group.
pub const MAX_RUNS: usize = 1 << 15;
/// Most bytes of one group's map as it lies in the blob.
pub const MAX_MAP: usize = 1 << 19;
/// Most programs of one group.
pub const MAX_SPACES: usize = 1 << 10;
/// The largest segment, as a power of two: 1 MiB.
pub const MAX_SEGMENT_LOG: u8 = 20;
/// The smallest segment, as a power of two: 4 KiB.
pub const MIN_SEGMENT_LOG: u8 = 12;
/// Most bytes that the decoder asks of the old image at once.
pub const MAX_READ: usize = 64 << 10;
/// Old bytes beside a gap are looked at up to this distance from its ends.
pub(crate) const BESIDE: usize = 1024;
/// Most blocks that one of the lists of compressed blocks has.
pub const MAX_BLOCKS: usize = 1 << 15;
/// Most bytes of both lists as they lie in the blob.
pub const MAX_LISTS: usize = 1 << 19;
/// Most bytes of a block of the old image, packed and unpacked: 1 MiB, the largest of squashfs.
pub const MAX_PLAIN: usize = 1 << 20;
/// Most bytes of a block that the decoder packs with zstd, before and after. It takes 2.8 MiB for
/// one of 128 KiB on its higher levels, and twice as much for one of 256 KiB.
pub const MAX_PACKED_ZSTD: usize = 1 << 17;
/// The same for zlib, which takes 0.3 MiB whatever the block.
pub const MAX_PACKED_ZLIB: usize = 1 << 20;
/// The same for zstd in clusters of erofs, whose window the delta says. It takes 3.3 MiB at most: on
/// levels above 9 longer blocks than [`MAX_PACKED_ZSTD`] have windows of at most 2^17 bytes.
pub const MAX_PACKED_PADDED: usize = 1 << 18;
/// The same for xz, which takes 20 bytes for each of a dictionary beside some 1.5 MiB.
pub const MAX_PACKED_XZ: usize = 1 << 17;
/// The same for LZ4, which takes 0.3 MiB.
pub const MAX_PACKED_LZ4: usize = 1 << 20;
/// Most compressors, or settings of one, that blocks of one image are packed by.
pub const MAX_CODECS: usize = 16;
/// Unpacked blocks of the old image are kept as long as they have so many bytes together.
pub(crate) const MAX_KEPT: usize = 3 << 17;
