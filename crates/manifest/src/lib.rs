//! Release and channel documents: what a publisher signs and a device believes.
//!
//! A [`Release`] describes one version of an image and names the blobs that hold it; a
//! [`Channel`] names the release that the devices following it should run. Both are JSON with a
//! schema number; a field that this crate does not know is an error, because whoever signed it
//! meant something by it. [`SegmentList`] and [`FrameTable`] read the two binary blobs that
//! belong to an image.
//!
//! A parsed document is only well formed. [`TrustedRelease`] and [`TrustedChannel`] also say
//! that the repository's signatures covered it: they are made from a
//! [`VerifiedTarget`](switchback_tuf::VerifiedTarget) and from nothing else.
//!
//! The crate never does I/O, never reads a clock and computes no digests: whoever fetches a blob
//! compares it with its [`BlobRef`] before parsing it here.
//!
//! ```
//! use switchback_manifest::{Channel, ManifestError};
//!
//! let error = Channel::parse(br#"{ "schema": 2, "mood": "sunny" }"#).unwrap_err();
//! assert!(matches!(error, ManifestError::UnknownSchema { found: 2, .. }));
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod blob;
mod channel;
mod delta;
mod document;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod release;
mod segments;
mod trusted;

pub use blob::{BlobRef, Chunks, MAX_CHUNK_INDEX_BYTES, Pack};
pub use channel::{Channel, ReleasePointer, channel_path};
pub use delta::{Delta, DeltaFormat, MAX_DELTA_FORMAT_BYTES, MAX_DELTAS, ParseDeltaFormatError};
pub use document::{MAX_DOCUMENT_BYTES, SCHEMA};
pub use error::{DocumentKind, ManifestError};
pub use release::{
    DEFAULT_SEGMENT_SIZE, Image, ImageFormat, MAX_COMPATIBLE, MAX_IMAGE_BYTES, MAX_NOTES_BYTES,
    MAX_PAPER_BYTES, MAX_SEGMENT_SIZE, MAX_SEGMENTS, MAX_SEQUENCE, MIN_SEGMENT_SIZE,
    ParseImageFormatError, Release, Requires, release_path,
};
pub use segments::{FrameTable, SegmentList, max_frame_length};
pub use trusted::{TrustedChannel, TrustedRelease};
