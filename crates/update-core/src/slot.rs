//! What is known of each slot.

use serde::{Deserialize, Serialize};
use switchback_types::{Digest, Timestamp, Version};

/// The identity of the bytes in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// What people call it.
    pub version: Version,
    /// Place in the line of releases; 0 for an image that came from the factory.
    pub sequence: u64,
    /// Compared with the device's floor; 0 for an image that came from the factory.
    pub security_epoch: u32,
    /// SHA-256 over the first `size` bytes of the slot.
    pub sha256: Digest,
    /// Bytes from the start of the slot that belong to the image.
    pub size: u64,
}

/// What a slot holds, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SlotContent {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// A write was begun and has not been verified: nothing in it may be started.
    Writing,
    /// These bytes, read back and compared.
    Holds {
        /// The image.
        image: ImageIdentity,
    },
    /// It held this image, and does not read back as it any more: nothing in it may be started.
    Damaged {
        /// The image that it held.
        image: ImageIdentity,
    },
}

/// One slot as the journal knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// What it holds.
    pub content: SlotContent,
    /// Whether health was proven on it since it was last written.
    pub good: bool,
    /// When what it holds was last read back whole, whatever came of it.
    #[serde(default)]
    pub checked: Option<Timestamp>,
}

impl SlotRecord {
    /// The image it holds, if that is known; nothing if that image is damaged.
    #[must_use]
    pub fn image(&self) -> Option<&ImageIdentity> {
        match &self.content {
            SlotContent::Holds { image } => Some(image),
            SlotContent::Unknown | SlotContent::Writing | SlotContent::Damaged { .. } => None,
        }
    }

    /// The image that was once verified in it, damaged or not: what a check compares with.
    #[must_use]
    pub fn verified_image(&self) -> Option<&ImageIdentity> {
        match &self.content {
            SlotContent::Holds { image } | SlotContent::Damaged { image } => Some(image),
            SlotContent::Unknown | SlotContent::Writing => None,
        }
    }

    /// The image it held before it went bad, if it did.
    #[must_use]
    pub fn damaged_image(&self) -> Option<&ImageIdentity> {
        match &self.content {
            SlotContent::Damaged { image } => Some(image),
            SlotContent::Unknown | SlotContent::Writing | SlotContent::Holds { .. } => None,
        }
    }
}
