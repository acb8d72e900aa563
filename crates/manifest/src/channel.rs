//! The channel document: which release the devices following it should run.

use serde::{Deserialize, Serialize};
use switchback_types::{ChannelName, Digest, ProductName, TargetPath, Timestamp, Version};

use crate::document;
use crate::error::{DocumentKind, ManifestError};
use crate::release::{MAX_SEQUENCE, Release, release_path};

const KIND: DocumentKind = DocumentKind::Channel;

/// Names one release so exactly that no other can stand in for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePointer {
    /// Where the release document lies in the repository.
    pub path: TargetPath,
    /// What people call the release.
    pub version: Version,
    /// Its place in the line of releases.
    pub sequence: u64,
    /// SHA-256 of the image.
    pub image_sha256: Digest,
}

impl ReleasePointer {
    /// Points to `release`.
    #[must_use]
    pub fn to(release: &Release) -> Self {
        Self {
            path: release.path(),
            version: release.version.clone(),
            sequence: release.sequence,
            image_sha256: release.image.sha256,
        }
    }

    /// Whether `release` is the one that is meant.
    ///
    /// # Errors
    /// [`ManifestError::PointerMismatch`] names the first field that differs.
    pub fn confirm(&self, release: &Release) -> Result<(), ManifestError> {
        let found = Self::to(release);
        let differs = |field, wanted: String, found: String| ManifestError::PointerMismatch {
            path: self.path.clone(),
            field,
            wanted,
            found,
        };
        if self.path != found.path {
            return Err(differs(
                "path",
                self.path.to_string(),
                found.path.to_string(),
            ));
        }
        if self.version != found.version {
            return Err(differs(
                "version",
                self.version.to_string(),
                found.version.to_string(),
            ));
        }
        if self.sequence != found.sequence {
            return Err(differs(
                "sequence",
                self.sequence.to_string(),
                found.sequence.to_string(),
            ));
        }
        if self.image_sha256 != found.image_sha256 {
            let wanted = self.image_sha256.to_string();
            return Err(differs("image", wanted, found.image_sha256.to_string()));
        }
        Ok(())
    }
}

/// What the devices that follow one channel should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Always [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// The line of releases that the channel draws from.
    pub product: ProductName,
    /// The channel's own name.
    pub channel: ChannelName,
    /// The release that devices should run.
    pub release: ReleasePointer,
    /// Whether a device may go back to a release with a lower sequence number. It never goes
    /// below its floor.
    pub allow_downgrade: bool,
    /// Whether no device may begin an update now.
    pub halted: bool,
    /// After this time nothing may be installed because of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Channel {
    /// Reads a channel document.
    ///
    /// # Errors
    /// When it is too long, not JSON of this schema, or [`check`](Self::check) fails.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let channel: Self = document::read(KIND, bytes)?;
        channel.check()?;
        Ok(channel)
    }

    /// The document as text: indented, stable, with a newline at the end.
    ///
    /// # Errors
    /// When [`check`](Self::check) fails: no document is written that [`parse`](Self::parse)
    /// would refuse.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        self.check()?;
        document::write(KIND, self)
    }

    /// Where the document lies in the repository.
    #[must_use]
    pub fn path(&self) -> TargetPath {
        channel_path(&self.product, &self.channel)
    }

    /// Checks every field's range and that the pointer stays within the product.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        document::check_schema(KIND, u64::from(self.schema))?;
        if !(1..=MAX_SEQUENCE).contains(&self.release.sequence) {
            return Err(ManifestError::Field {
                kind: KIND,
                field: "release.sequence",
                value: self.release.sequence.to_string(),
                expected: format!("between 1 and {MAX_SEQUENCE} is allowed"),
            });
        }
        let wanted = release_path(&self.product, &self.release.version);
        if self.release.path != wanted {
            return Err(ManifestError::Field {
                kind: KIND,
                field: "release.path",
                value: self.release.path.to_string(),
                expected: format!("{wanted} follows from product and version"),
            });
        }
        Ok(())
    }
}

/// Where the document of a channel lies: `channels/<product>/<channel>.json`.
///
/// # Panics
/// Never: what both names may contain is allowed in a path, and their limits add up to less
/// than a path's.
#[must_use]
pub fn channel_path(product: &ProductName, channel: &ChannelName) -> TargetPath {
    format!("channels/{product}/{channel}.json")
        .parse()
        .expect("both names were checked to be plain path components")
}
