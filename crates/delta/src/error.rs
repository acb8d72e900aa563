//! What can be wrong with a delta.

use core::ops::Range;

/// Why a delta cannot be applied, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The blob does not begin like one of ours.
    #[error("not a delta: it begins with other bytes")]
    NotADelta,
    /// The blob needs a newer program.
    #[error(
        "the delta is of version {version} with flags {flags:#x}, this program reads version {supported} with flags 0"
    )]
    Unsupported {
        /// The version that the blob says.
        version: u16,
        /// Its flags.
        flags: u16,
        /// The version that this program reads.
        supported: u16,
    },
    /// A part of the blob has other bytes than were written.
    #[error("the {what} at {}..{} of the delta is damaged", .range.start, .range.end)]
    Checksum {
        /// Which part.
        what: &'static str,
        /// Where it lies in the blob.
        range: Range<u64>,
    },
    /// A number in the blob is beyond what any honest one has.
    #[error("the delta asks for {found} {what}, at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many the blob wants.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The blob contradicts itself.
    #[error("the delta is damaged: {0}")]
    Damaged(&'static str),
    /// The delta was made from, or for, another image.
    #[error(
        "the delta is from {old_len} to {new_len} bytes, not from {wanted_old_len} to {wanted_new_len}"
    )]
    OtherImage {
        /// Length of the old image that the blob says, in bytes.
        old_len: u64,
        /// Length of the new image that the blob says, in bytes.
        new_len: u64,
        /// Length of the old image at hand, in bytes.
        wanted_old_len: u64,
        /// Length of the wanted image, in bytes.
        wanted_new_len: u64,
    },
    /// There is no such segment.
    #[error("segment {segment} was asked for, the image has {count}")]
    NoSuchSegment {
        /// The number, from 0.
        segment: u64,
        /// How many there are.
        count: u64,
    },
    /// Bytes were fed that nobody asked for.
    #[error("bytes for {found} of the delta were given, those at {wanted} are needed")]
    WrongInput {
        /// Offset of what was given.
        found: u64,
        /// Offset of what is needed.
        wanted: u64,
    },
    /// The old image cannot be read, or is not what it should be.
    #[error("the old image cannot be used at {}..{}", .range.start, .range.end)]
    Source {
        /// Which bytes of the old image.
        range: Range<u64>,
        /// What the source says.
        #[source]
        source: SourceError,
    },
    /// A compressed part cannot be written or read.
    #[error("zstd: {0}")]
    Zstd(&'static str),
    /// A block of the new image cannot be packed.
    #[error("the block at {offset} of the new image cannot be packed: {what}")]
    Pack {
        /// Where it begins in the new image.
        offset: u64,
        /// What the compressor says.
        what: &'static str,
    },
    /// A block of the new image has another length than the delta says: it was made with another
    /// version of its compressor than this program has.
    #[error("the block at {offset} of the new image is packed into another length")]
    NotPacked {
        /// Where it begins in the new image.
        offset: u64,
    },
    /// What was encoded does not decode to the new image. Nothing was published.
    #[error("the finished delta gives other bytes in segment {segment}")]
    NotReproduced {
        /// Which segment.
        segment: u64,
    },
    /// The caller asked for the work to end.
    #[error("stopped")]
    Stopped,
    /// An option has a value that cannot work.
    #[error("{option} = {value}: {expected}")]
    Option {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What is possible.
        expected: &'static str,
    },
}

/// Why the old image gave no bytes. The two ask for different ways out: one image has to be
/// fetched otherwise, one device has to be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The bytes are not those of the old image.
    #[error("its segment {segment} is not what was installed")]
    Altered {
        /// Number of the segment, from 0.
        segment: u64,
    },
    /// The storage failed.
    #[error("it cannot be read")]
    Unreadable(#[source] Box<dyn core::error::Error + Send + Sync>),
    /// A compressed block of it cannot be unpacked.
    #[error("its block at {offset} cannot be unpacked: {what}")]
    Packed {
        /// Where the block begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The old image is shorter than the delta thinks.
    #[error("it ends at {len}")]
    TooShort {
        /// Its length in bytes.
        len: u64,
    },
}
