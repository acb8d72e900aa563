//! Words of the field as types that cannot be wrong.
//!
//! What is parsed here is checked once, at the edge; past the edge no bare `String` means a
//! version, a slot or a digest. The crate is `no_std`: nothing here reads a clock or a file.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
mod digest;
mod name;
mod slot;
mod time;
mod trace;

pub use bytes::ByteCount;
pub use digest::{Digest, ParseDigestError};
pub use name::{
    ActionId, ChannelName, Compatible, FlagSetName, ParseNameError, ProductName, TargetPath,
    Version,
};
pub use slot::{ParseSlotError, SlotName};
pub use time::{ParseTimestampError, Timestamp};
pub use trace::{Hex, ParseTraceIdError, TraceId};
