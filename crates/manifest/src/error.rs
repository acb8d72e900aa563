//! What can be wrong with a document.

use core::fmt;

use switchback_types::{Digest, TargetPath};

/// Which kind of document an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A release document.
    Release,
    /// A channel document.
    Channel,
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "release document",
            Self::Channel => "channel document",
        })
    }
}

/// Why a document, or a blob that belongs to one, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The document has more bytes than any honest one needs.
    #[error("the {kind} has {length} bytes, at most {limit} are read")]
    TooLong {
        /// Which document.
        kind: DocumentKind,
        /// Its length in bytes.
        length: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The document is not JSON, lacks a field, has one too many, or one of the wrong type.
    #[error("the {kind} cannot be read")]
    Json {
        /// Which document.
        kind: DocumentKind,
        /// What the JSON reader says, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The document was written for another generation of this program.
    #[error(
        "the {kind} has schema {found}, this program reads schema {supported}; \
         install a release that reads schema {found} first, or publish in schema {supported}"
    )]
    UnknownSchema {
        /// Which document.
        kind: DocumentKind,
        /// The number in the document.
        found: u64,
        /// The number that this crate reads.
        supported: u32,
    },
    /// A field has a value outside its range.
    #[error("the {kind} says {field} = {value}: {expected}")]
    Field {
        /// Which document.
        kind: DocumentKind,
        /// The field, as a path (`image.size`).
        field: &'static str,
        /// The value found.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A document was signed under a name that belongs to another one.
    #[error("the artifact {signed_as} holds the {kind} that belongs at {belongs_at}")]
    WrongPath {
        /// Which document.
        kind: DocumentKind,
        /// The artifact path that the signature covers.
        signed_as: TargetPath,
        /// The path that follows from the document's own fields.
        belongs_at: TargetPath,
    },
    /// A channel and the release that it points to disagree.
    #[error("the channel names {field} {wanted} for {path}, the release there has {found}")]
    PointerMismatch {
        /// The release document's artifact path.
        path: TargetPath,
        /// Which field differs.
        field: &'static str,
        /// What the channel says.
        wanted: String,
        /// What the release says.
        found: String,
    },
    /// A blob does not have the length that the document says.
    #[error("the {blob} {sha256} has {found} bytes, the release document says {expected}")]
    BlobLength {
        /// What the blob is.
        blob: &'static str,
        /// Its name.
        sha256: Digest,
        /// Bytes given.
        found: u64,
        /// Bytes promised.
        expected: u64,
    },
    /// A frame is empty or longer than any frame of its segment can be.
    #[error("frame {index} has {length} bytes, between 1 and {limit} are possible")]
    FrameLength {
        /// Which frame, from 0.
        index: u64,
        /// Its length in bytes.
        length: u32,
        /// The longest possible.
        limit: u64,
    },
    /// The frames do not fill the pack exactly.
    #[error("the frames add up to {sum} bytes, the pack has {expected}")]
    FrameSum {
        /// Sum of all frame lengths in bytes.
        sum: u64,
        /// Length of the pack in bytes.
        expected: u64,
    },
}
