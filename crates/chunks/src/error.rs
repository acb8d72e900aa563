//! Why chunks are of no use.

/// Why chunks are of no use. Another way to the image is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Not an index, or of a version that this program does not know.
    #[error("not an index of chunks that this version reads")]
    NotAnIndex,
    /// The index is for an image of another length.
    #[error("is for an image of {found} bytes, the image has {wanted}")]
    OtherImage {
        /// The length it names, in bytes.
        found: u64,
        /// The length it should have, in bytes.
        wanted: u64,
    },
    /// More than is allowed.
    #[error("has {found} {what}, at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// So many.
        found: u64,
        /// Most.
        limit: u64,
    },
    /// What it says cannot be.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    /// A chunk does not unpack to its length.
    #[error("a chunk does not unpack: {0}")]
    Unpack(&'static str),
}

/// Fails when `found` is more than `limit`.
pub(crate) fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), ChunkError> {
    if found > limit {
        return Err(ChunkError::TooMany { what, found, limit });
    }
    Ok(())
}
