//! Deltas of a release: ways from other images to its own that cost few bytes.

use core::fmt;
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use switchback_types::Digest;

use crate::blob::BlobRef;

/// Most deltas of one release.
pub const MAX_DELTAS: usize = 64;

/// Longest name of a delta format in bytes.
pub const MAX_DELTA_FORMAT_BYTES: usize = 16;

/// How the blob of a delta is written: 1 to [`MAX_DELTA_FORMAT_BYTES`] lower-case letters and
/// digits. A device ignores deltas in formats that it does not know, so that a repository can
/// serve a new one beside the old.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DeltaFormat(String);

/// A text that names no delta format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a delta format: expected 1 to {MAX_DELTA_FORMAT_BYTES} lower-case letters and digits, \
     got {0:?}"
)]
pub struct ParseDeltaFormatError(String);

impl DeltaFormat {
    /// The text of the format that `switchback-delta` reads and writes.
    pub const SBD1: &'static str = "sbd1";

    /// The format that `switchback-delta` reads and writes.
    #[must_use]
    pub fn sbd1() -> Self {
        Self(Self::SBD1.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this generation of devices can use it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0 == Self::SBD1
    }
}

impl fmt::Display for DeltaFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DeltaFormat {
    type Err = ParseDeltaFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if (1..=MAX_DELTA_FORMAT_BYTES).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        Err(ParseDeltaFormatError(text.chars().take(40).collect()))
    }
}

impl<'de> Deserialize<'de> for DeltaFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// One delta: whoever holds the image `from` takes `blob` instead of the whole image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// SHA-256 of the image that it leads from.
    pub from: Digest,
    /// Length of that image in bytes: a slot from the factory is known by its first so many bytes.
    pub from_size: u64,
    /// How the blob is written.
    pub format: DeltaFormat,
    /// The delta, at least one byte.
    pub blob: BlobRef,
}
