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
