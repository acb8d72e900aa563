//! The release document: one version of an image.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use switchback_types::{Compatible, Digest, ProductName, TargetPath, Timestamp, Version};

use crate::blob::{BlobRef, Chunks, MAX_CHUNK_INDEX_BYTES, Pack};
use crate::delta::{Delta, MAX_DELTAS};
use crate::document;
use crate::error::{DocumentKind, ManifestError};
use crate::segments::max_frame_length;

/// Largest image in bytes (1 TiB): larger than any slot, small enough for checked arithmetic.
pub const MAX_IMAGE_BYTES: u64 = 1 << 40;
/// Smallest segment in bytes: below this the digest list outgrows what it saves.
pub const MIN_SEGMENT_SIZE: u32 = 64 * 1024;
/// Largest segment in bytes: a device holds one decoded segment and one frame in memory.
pub const MAX_SEGMENT_SIZE: u32 = 4 * 1024 * 1024;
/// Segment size in bytes unless the publisher asks for another.
pub const DEFAULT_SEGMENT_SIZE: u32 = 1024 * 1024;
/// Most segments of one image: the device holds 32 bytes for each of them.
pub const MAX_SEGMENTS: u64 = 1 << 20;
/// Most kinds of hardware that one image may run on.
pub const MAX_COMPATIBLE: usize = 16;
/// Longest notes in bytes: they are shown on devices and kept in their history.
pub const MAX_NOTES_BYTES: usize = 4 * 1024;
/// Most bytes of a bill of materials or a provenance statement: 64 MiB.
pub const MAX_PAPER_BYTES: u64 = 64 << 20;
/// Highest sequence number: the largest integer that every JSON reader keeps exactly.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

const KIND: DocumentKind = DocumentKind::Release;

/// What lies in an image: says which tools can look inside. Devices write it unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// An ext4 file system (or its older relatives).
    Ext4,
    /// A squashfs file system.
    Squashfs,
    /// An erofs file system.
    Erofs,
    /// Anything else.
    Raw,
}

impl ImageFormat {
    /// All formats, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Squashfs, Self::Erofs, Self::Raw];

    /// The word in documents and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no image format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such image format: expected ext4, squashfs, erofs or raw")]
pub struct ParseImageFormatError;

impl FromStr for ImageFormat {
    type Err = ParseImageFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or(ParseImageFormatError)
    }
}

/// The bytes of a root file system as they are written to a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// What lies in it.
    pub format: ImageFormat,
    /// Length in bytes, 1 to [`MAX_IMAGE_BYTES`].
    pub size: u64,
    /// SHA-256 of the whole image.
    pub sha256: Digest,
    /// Bytes per segment: a power of two; the last segment may be shorter.
    pub segment_size: u32,
    /// The digest of every segment, read with [`SegmentList`](crate::SegmentList).
    pub segments: BlobRef,
    /// Names the kernel, initramfs, device tree and command line together: two images with the
    /// same value may be switched without starting the kernel again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_id: Option<Digest>,
}

impl Image {
    /// How many segments the image has; 0 only for values that [`Release::check`] refuses.
    #[must_use]
    pub fn segment_count(&self) -> u64 {
        match u64::from(self.segment_size) {
            0 => 0,
            size => self.size.div_ceil(size),
        }
    }

    /// Where segment `index` lies in the image: offset and length in bytes.
    #[must_use]
    pub fn segment_range(&self, index: u64) -> Option<(u64, u32)> {
        let offset = index.checked_mul(u64::from(self.segment_size))?;
        let rest = self.size.checked_sub(offset).filter(|rest| *rest > 0)?;
        Some((
            offset,
            u32::try_from(rest).map_or(self.segment_size, |rest| rest.min(self.segment_size)),
        ))
    }
}

/// A release that comes before another: a device goes there first, unless what it runs is that one or a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// Which one.
    pub version: Version,
    /// Its place in the line of releases, below that of the release that requires it.
    pub sequence: u64,
}

/// One version of an image, as its publisher describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Always [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// The line of releases that this one belongs to.
    pub product: ProductName,
    /// The kinds of hardware that the image runs on, 1 to [`MAX_COMPATIBLE`], none twice.
    pub compatible: Vec<Compatible>,
    /// What people call it.
    pub version: Version,
    /// Which release is newer: the one with the higher number, 1 to [`MAX_SEQUENCE`].
    pub sequence: u64,
    /// Raised when older releases must never be installed again.
    pub security_epoch: u32,
    /// What a device must have reached before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// When the release was cut.
    pub created: Timestamp,
    /// The image.
    pub image: Image,
    /// The whole image, compressed: every device can be served from this.
    pub full: Pack,
    /// The same in chunks: costs less where a slot holds much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Chunks>,
    /// Ways to the image from others that cost fewer bytes, at most
    /// [`MAX_DELTAS`](crate::MAX_DELTAS); no two from the same image in the same format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    /// What the image is made of (SPDX or CycloneDX), at most [`MAX_PAPER_BYTES`]. Devices do not fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<BlobRef>,
    /// Who built the image, how and from what: an in-toto statement about it, at most [`MAX_PAPER_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<BlobRef>,
    /// What changed, for people, at most [`MAX_NOTES_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl Release {
    /// Reads a release document.
    ///
    /// # Errors
    /// When it is too long, not JSON of this schema, or [`check`](Self::check) fails.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let release: Self = document::read(KIND, bytes)?;
        release.check()?;
        Ok(release)
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
        release_path(&self.product, &self.version)
    }

    /// Checks every field's range and that the parts agree with each other.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        document::check_schema(KIND, u64::from(self.schema))?;
        self.check_compatible()?;
        if !(1..=MAX_SEQUENCE).contains(&self.sequence) {
            let expected = format!("between 1 and {MAX_SEQUENCE} is allowed");
            return refuse("sequence", self.sequence, expected);
        }
        if let Some(notes) = self.notes.as_ref().filter(|n| n.len() > MAX_NOTES_BYTES) {
            let expected = format!("at most {MAX_NOTES_BYTES} bytes are allowed; shorten them");
            return refuse("notes", format!("{} bytes", notes.len()), expected);
        }
        if let Some(requires) = &self.requires
            && !(1..self.sequence).contains(&requires.sequence)
        {
            let expected = format!("between 1 and {} is allowed", self.sequence - 1);
            return refuse("requires.sequence", requires.sequence, expected);
        }
        self.check_image()?;
        self.check_papers()?;
        self.check_pack()?;
        self.check_chunks()?;
        self.check_deltas()
    }

    /// The delta from an image in the format that devices of this generation know.
    #[must_use]
    pub fn delta_from(&self, image: &Digest) -> Option<&Delta> {
        self.deltas
            .iter()
            .find(|delta| delta.from == *image && delta.format.is_known())
    }

    /// Every blob that the document names.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        let whole = [&self.image.segments, &self.full.frames, &self.full.blob];
        let chunks = self.chunks.iter();
        let chunks = chunks.flat_map(|chunks| [&chunks.index, &chunks.data]);
        whole
            .into_iter()
            .chain(&self.sbom)
            .chain(&self.provenance)
            .chain(chunks)
            .chain(self.deltas.iter().map(|delta| &delta.blob))
    }

    fn check_compatible(&self) -> Result<(), ManifestError> {
        if !(1..=MAX_COMPATIBLE).contains(&self.compatible.len()) {
            let found = format!("{} names", self.compatible.len());
            let expected = format!("between 1 and {MAX_COMPATIBLE} are allowed");
            return refuse("compatible", found, expected);
        }
        let mut seen = std::collections::BTreeSet::new();
        match self.compatible.iter().find(|name| !seen.insert(*name)) {
            Some(twice) => refuse("compatible", twice, "each name may stand once".into()),
            None => Ok(()),
        }
    }

    fn check_image(&self) -> Result<(), ManifestError> {
        let image = &self.image;
        if !(1..=MAX_IMAGE_BYTES).contains(&image.size) {
            let expected = format!("between 1 and {MAX_IMAGE_BYTES} bytes are allowed");
            return refuse("image.size", image.size, expected);
        }
        if !image.segment_size.is_power_of_two()
            || !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&image.segment_size)
        {
            let expected = format!(
                "a power of two between {MIN_SEGMENT_SIZE} and {MAX_SEGMENT_SIZE} is allowed"
            );
            return refuse("image.segment_size", image.segment_size, expected);
        }
        let count = image.segment_count();
        if count > MAX_SEGMENTS {
            let expected = format!(
                "that makes {count} segments of an image of {} bytes, at most {MAX_SEGMENTS} are \
                 allowed; use larger segments",
                image.size
            );
            return refuse("image.segment_size", image.segment_size, expected);
        }
        // `count` is at most 2^20 here: the products cannot overflow.
        exact("image.segments.length", image.segments.length, count * 32)
    }

    fn check_papers(&self) -> Result<(), ManifestError> {
        for (field, blob) in [
            ("sbom.length", self.sbom),
            ("provenance.length", self.provenance),
        ] {
            if let Some(blob) = blob.filter(|blob| !(1..=MAX_PAPER_BYTES).contains(&blob.length)) {
                let expected = format!("between 1 and {MAX_PAPER_BYTES} bytes are allowed");
                return refuse(field, blob.length, expected);
            }
        }
        Ok(())
    }

    fn check_pack(&self) -> Result<(), ManifestError> {
        let count = self.image.segment_count();
        exact("full.frames.length", self.full.frames.length, count * 4)?;
        let most = count * max_frame_length(self.image.segment_size);
        let length = self.full.blob.length;
        if !(count..=most).contains(&length) {
            let expected = format!("{count} frames have between {count} and {most} bytes");
            return refuse("full.blob.length", length, expected);
        }
        Ok(())
    }

    fn check_chunks(&self) -> Result<(), ManifestError> {
        let Some(chunks) = &self.chunks else {
            return Ok(());
        };
        for (field, blob, most) in [
            ("chunks.index.length", chunks.index, MAX_CHUNK_INDEX_BYTES),
            // A chunk may be one byte, and has a header and a place in a list.
            ("chunks.data.length", chunks.data, 64 * self.image.size),
        ] {
            if !(1..=most).contains(&blob.length) {
                let expected = format!("between 1 and {most} bytes are allowed");
                return refuse(field, blob.length, expected);
            }
        }
        Ok(())
    }

    fn check_deltas(&self) -> Result<(), ManifestError> {
        if self.deltas.len() > MAX_DELTAS {
            let found = format!("{} deltas", self.deltas.len());
            return refuse("deltas", found, format!("at most {MAX_DELTAS} are allowed"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for delta in &self.deltas {
            if delta.from == self.image.sha256 {
                let expected = "a delta leads from another image than the release's own";
                return refuse("deltas.from", delta.from, expected.into());
            }
            if !seen.insert((delta.from, &delta.format)) {
                let expected = format!("one delta from it in format {} is allowed", delta.format);
                return refuse("deltas.from", delta.from, expected);
            }
            if !(1..=MAX_IMAGE_BYTES).contains(&delta.from_size) {
                let expected = format!("between 1 and {MAX_IMAGE_BYTES} bytes are allowed");
                return refuse("deltas.from_size", delta.from_size, expected);
            }
            if !(1..=MAX_IMAGE_BYTES).contains(&delta.blob.length) {
                let expected = format!("between 1 and {MAX_IMAGE_BYTES} bytes are allowed");
                return refuse("deltas.blob.length", delta.blob.length, expected);
            }
        }
        Ok(())
    }
}

fn exact(field: &'static str, value: u64, wanted: u64) -> Result<(), ManifestError> {
    if value == wanted {
        return Ok(());
    }
    refuse(
        field,
        value,
        format!("{wanted} follows from the number of segments"),
    )
}

fn refuse(
    field: &'static str,
    value: impl fmt::Display,
    expected: String,
) -> Result<(), ManifestError> {
    Err(ManifestError::Field {
        kind: KIND,
        field,
        value: value.to_string(),
        expected,
    })
}

/// Where the document of a release lies: `releases/<product>/<version>/release.json`.
///
/// # Panics
/// Never: what both names may contain is allowed in a path, and their limits add up to less
/// than a path's.
#[must_use]
pub fn release_path(product: &ProductName, version: &Version) -> TargetPath {
    format!("releases/{product}/{version}/release.json")
        .parse()
        .expect("both names were checked to be plain path components")
}
