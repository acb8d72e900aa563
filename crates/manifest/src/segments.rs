//! The two binary blobs of an image: segment digests and frame lengths.

use switchback_types::Digest;

use crate::blob::{BlobRef, Pack};
use crate::error::ManifestError;
use crate::release::{Image, MAX_SEGMENTS};

const DIGEST_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// The longest frame that a segment of `segment_size` bytes can become, in bytes: compression
/// may not help, and then it costs a little.
#[must_use]
pub const fn max_frame_length(segment_size: u32) -> u64 {
    let size = segment_size as u64;
    size + size / 128 + 1024
}

/// The digest of every segment of an image, in order.
///
/// On disk: 32 bytes per segment, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentList(Vec<Digest>);

impl SegmentList {
    /// Reads the blob `image.segments`, whose digest the caller has compared with
    /// `image.segments.sha256`.
    ///
    /// # Errors
    /// When the blob does not hold one digest per segment.
    pub fn parse(bytes: &[u8], image: &Image) -> Result<Self, ManifestError> {
        check_length("segment list", bytes, &image.segments, image, DIGEST_BYTES)?;
        let (digests, _) = bytes.as_chunks::<DIGEST_BYTES>();
        Ok(Self(
            digests.iter().copied().map(Digest::from_bytes).collect(),
        ))
    }

    /// The list of these digests, for a publisher.
    #[must_use]
    pub fn from_digests(digests: Vec<Digest>) -> Self {
        Self(digests)
    }

    /// How many segments there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The digest of segment `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&Digest> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// All digests, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.0.iter()
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Digest::as_bytes).copied().collect()
    }
}

/// Where each frame of a pack lies.
///
/// On disk: the length of every frame in bytes, four bytes each, least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTable {
    /// Where each frame ends in the pack: the next one begins there.
    ends: Vec<u64>,
}

impl FrameTable {
    /// Reads the blob `pack.frames`, whose digest the caller has compared with
    /// `pack.frames.sha256`.
    ///
    /// # Errors
    /// When the blob does not hold one length per segment of `image`, when a length is 0 or
    /// longer than [`max_frame_length`], or when the lengths do not add up to the pack's.
    pub fn parse(bytes: &[u8], image: &Image, pack: &Pack) -> Result<Self, ManifestError> {
        check_length("frame table", bytes, &pack.frames, image, LENGTH_BYTES)?;
        let limit = max_frame_length(image.segment_size);
        let mut ends = Vec::with_capacity(bytes.len() / LENGTH_BYTES);
        let mut end = 0_u64;
        let (lengths, _) = bytes.as_chunks::<LENGTH_BYTES>();
        for (index, length) in (0_u64..).zip(lengths.iter().copied().map(u32::from_le_bytes)) {
            if length == 0 || u64::from(length) > limit {
                return Err(ManifestError::FrameLength {
                    index,
                    length,
                    limit,
                });
            }
            // At most 2^20 lengths of at most 2^32 each: no overflow.
            end += u64::from(length);
            ends.push(end);
        }
        if end != pack.blob.length {
            return Err(ManifestError::FrameSum {
                sum: end,
                expected: pack.blob.length,
            });
        }
        Ok(Self { ends })
    }

    /// How many frames there are: one per segment.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Where frame `index` lies in the pack: offset and length in bytes.
    #[must_use]
    pub fn range(&self, index: u64) -> Option<(u64, u32)> {
        let index = usize::try_from(index).ok()?;
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some((start, u32::try_from(end - start).ok()?))
    }

    /// The blob's bytes for frames of these lengths, for a publisher.
    #[must_use]
    pub fn encode(lengths: &[u32]) -> Vec<u8> {
        lengths
            .iter()
            .flat_map(|length| length.to_le_bytes())
            .collect()
    }
}

/// A blob must have the length that the document says and that the number of segments asks for.
/// The document is checked again because these functions also take one that was made by hand.
fn check_length(
    blob: &'static str,
    bytes: &[u8],
    reference: &BlobRef,
    image: &Image,
    entry: usize,
) -> Result<(), ManifestError> {
    let found = bytes.len() as u64;
    let count = image.segment_count().min(MAX_SEGMENTS);
    for expected in [reference.length, count * entry as u64] {
        if found != expected {
            return Err(ManifestError::BlobLength {
                blob,
                sha256: reference.sha256,
                found,
                expected,
            });
        }
    }
    Ok(())
}
