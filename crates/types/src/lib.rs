//! Words of the field as types that cannot be wrong.
//!
//! What is parsed here is checked once, at the edge; past the edge no bare `String` means a
//! version, a slot or a digest. The crate is `no_std`: nothing here reads a clock or a file.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Serialises a type as its text: what `Display` writes and `FromStr` reads.
macro_rules! written_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

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
