//! Images in chunks, for a device that runs an image from which no delta leads.
//!
//! The publisher cuts an image into chunks of some KiB and stores two blobs, the index and the data:
//!
//! - the [`Index`]: runs of chunks, called groups, each with one key. A device fetches all of it.
//! - the data begins with lists: for each group, its chunks ([`read_list`]). A device fetches those of
//!   the groups that neither of its slots holds.
//! - the pack follows: the chunks, each compressed behind the 64 KiB of the image before it ([`Packer`],
//!   [`unpack`]). The image is written from front to back, so whatever the device came from, it has these
//!   64 KiB when it comes to the chunk.
//!
//! The device cuts what its slots hold in the same way ([`Scan`], [`Held`]) and [`plan`]s: what is
//! copied, from where, and what is fetched.
//!
//! Keys have 40 bits and prove nothing: they are hints. What was made counts when its segment has the
//! digest in the signed list.
#![forbid(unsafe_code)]

mod build;
mod cut;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a broken promise must stop the fuzzer"
)]
pub mod fuzz;
mod held;
mod index;
mod key;
mod list;
mod pack;
mod plan;
#[cfg(test)]
mod tests;
mod whole;

pub use build::{Blobs, Builder};
pub use cut::Cutting;
pub use error::ChunkError;
pub use held::{Held, Place, Scan, Where};
pub use index::{Group, Index};
pub use key::Key;
pub use list::{Chunk, list_range, read_list};
pub use pack::{Packer, unpack};
pub use plan::{From, Part, Plan, missing, plan};
pub use whole::{Made, make_image, pack_image};

/// Most bytes of one chunk.
pub const MAX_CHUNK: usize = 32 << 10;
/// Most chunks of one group.
pub const MAX_GROUP: usize = 64;
/// Most groups of an image: the device holds 32 bytes for each of them.
pub const MAX_GROUPS: usize = 1 << 16;
/// Most bytes of an image: 1 TiB.
pub const MAX_IMAGE: u64 = 1 << 40;
/// A publisher cuts an image into no more chunks than this, so that a device can remember those of two
/// images.
pub const GOOD_CHUNKS: u64 = 1 << 17;
/// Most chunks that a device remembers of its slots, 16 bytes each.
pub const MAX_HELD: usize = 1 << 18;
/// Most chunks that a device fetches; when more are missing, the whole image is as good.
pub const MAX_MISSING: usize = 1 << 16;
/// A chunk is compressed behind so many bytes of the image before it.
pub const BEHIND: usize = 64 << 10;
