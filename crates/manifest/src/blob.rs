//! References to immutable blobs of the repository.

use serde::{Deserialize, Serialize};
use switchback_types::Digest;

/// A blob: its name, which is its digest, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// SHA-256 of the blob's bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub length: u64,
}

impl BlobRef {
    /// Where the blob lies, relative to the repository: `content/<aa>/<sha256>`, `aa` being the
    /// first two digits, so that no directory grows beyond what file systems and people like.
    #[must_use]
    pub fn path(&self) -> String {
        let name = self.sha256.to_string();
        let shard: String = name.chars().take(2).collect();
        format!("content/{shard}/{name}")
    }
}

/// A whole image as independently compressed frames, one per segment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The frames, one after another.
    pub blob: BlobRef,
    /// The lengths of the frames, read with [`FrameTable`](crate::FrameTable).
    pub frames: BlobRef,
}

/// Most bytes of an index of chunks: a device holds all of it.
pub const MAX_CHUNK_INDEX_BYTES: u64 = 1 << 20;
/// A whole image in chunks: a device fetches those that neither of its slots holds, whatever image it
/// came from. The first bytes of the index say how both are written; a device that does not know that
/// takes the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunks {
    /// Runs of chunks, 1 to [`MAX_CHUNK_INDEX_BYTES`].
    pub index: BlobRef,
    /// The chunks of each run, then the chunks themselves, compressed: read by ranges, never whole.
    pub data: BlobRef,
}
