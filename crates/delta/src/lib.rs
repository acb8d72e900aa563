//! Deltas: the new image from the old one and very few bytes.
//!
//! - [`encode`] makes a delta, for a publisher.
//! - [`Decoder`] makes the new image of it, on a device: segment by segment, in bounded memory,
//!   from any segment on.
//!
//! The decoder trusts nothing. Whatever the blob says, it ends in an error or in segments; which
//! segments are right is for the signed list to say, [`matches`] compares. Old bytes come from a
//! [`Source`], which gives only bytes that it has checked.
//!
//! ```
//! use switchback_delta::{Decoder, Images, Options, Outcome, encode};
//! # let old: Vec<u8> = (0..40_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
//! # let mut new = old.clone();
//! # new.splice(1000..1004, *b"something else");
//! let outcome = encode(&old, &new, &Options::default(), &|_| true)?;
//! let Outcome::Delta { blob, .. } = outcome else { return Ok(()) };
//! # assert!(blob.len() < 300, "{}", blob.len());
//! # let header = switchback_delta::Header::parse(blob[..128].try_into()?)?;
//! # let images: Images = header.images;
//! let mut decoder = Decoder::new(images);
//! let mut made = Vec::new();
//! while !decoder.is_done() {
//!     while let Some(needed) = decoder.needs() {
//!         let bytes = &blob[needed.start as usize..needed.end as usize];
//!         decoder.feed(needed.start, bytes)?;
//!     }
//!     while let Some(segment) = decoder.segment(&mut old.as_slice())? {
//!         made.extend_from_slice(segment.bytes);
//!     }
//! }
//! assert_eq!(made, new);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod blocks;
mod codec;
mod coding;
mod container;
mod decoder;
mod encode;
mod error;
mod explain;
mod filesystem;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a broken promise must stop the fuzzer"
)]
pub mod fuzz;
pub mod limits;
mod map;
mod model;
mod seal;
mod source;
mod space;
mod varint;
mod weave;

use sha2::{Digest as _, Sha256};
use switchback_types::Digest;

pub use codec::PACKERS;
pub use container::{HEADER_LEN, Header, Images};
pub use decoder::{Decoder, Segment};
pub use encode::{Options, Outcome, Progress, Repacked, Tally, Task, encode};
pub use error::{DeltaError, SourceError};
pub use explain::{Cost, FrameParts, Packed, Parts, explain};
pub use source::Source;

/// Whether the bytes are the segment that the signed list has at its place.
#[must_use]
pub fn matches(bytes: &[u8], wanted: &Digest) -> bool {
    Sha256::digest(bytes).as_slice() == wanted.as_bytes()
}
