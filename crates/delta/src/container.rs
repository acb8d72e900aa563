//! The first bytes of a delta: what it is for, and where its parts lie.
//!
//! ```text
//! header        128 bytes, see [`Header`]
//! table         for each group: frames, map length, map CRC; for each frame: length, segments, CRC
//! lists         of compressed blocks in both images, see [`Lists`](crate::blocks::Lists); left out
//!               when there are none
//! group         map, then its frames, in the order of the new image
//! …
//! ```
//! Fixed numbers are little endian, the others LEB128. A CRC (CRC-32) tells a damaged delta from a
//! damaged old image; it proves nothing: what counts is the signed list of segments.

use core::ops::Range;

use switchback_types::Digest;

use crate::error::DeltaError;
use crate::limits::{
    MAX_FRAME, MAX_FRAMES, MAX_GROUPS, MAX_IMAGE, MAX_LISTS, MAX_MAP, MAX_SEGMENT_LOG, MAX_TABLE,
    MIN_SEGMENT_LOG, VERSION,
};
use crate::varint::{Cursor, push};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 128;
const MAGIC: &[u8; 8] = b"SBDELTA1";

/// The two images of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// Length of the old image in bytes.
    pub old_len: u64,
    /// Length of the new image in bytes.
    pub new_len: u64,
    /// SHA-256 of the old image.
    pub old_sha256: Digest,
    /// SHA-256 of the new image.
    pub new_sha256: Digest,
}

/// The header of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it leads from and to.
    pub images: Images,
    /// Size of a segment of the new image as a power of two.
    pub segment_log: u8,
    /// Size of a block of the file system as a power of two, 0 when there is none.
    pub(crate) block_log: u8,
    pub(crate) groups: u32,
    pub(crate) table_len: u32,
    pub(crate) table_crc: u32,
    /// Length of the lists of compressed blocks; 0 when there are none.
    pub(crate) lists_len: u32,
    pub(crate) lists_crc: u32,
}

/// The flag of a delta that has lists of compressed blocks.
const HAS_LISTS: u16 = 1;

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn digest_at(bytes: &[u8; HEADER_LEN], at: usize) -> Digest {
    let digest = bytes.get(at..at + 32).and_then(|all| all.try_into().ok());
    Digest::from_bytes(digest.unwrap_or_default())
}

impl Header {
    /// Reads the first [`HEADER_LEN`] bytes of a delta.
    ///
    /// # Errors
    /// When they are not a header, not of this version, damaged, or say what cannot be.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, DeltaError> {
        if !bytes.starts_with(MAGIC) {
            return Err(DeltaError::NotADelta);
        }
        let [.., a, b, c, d] = *bytes;
        let kept = bytes.get(..HEADER_LEN - 4).unwrap_or_default();
        if crc32fast::hash(kept) != u32::from_le_bytes([a, b, c, d]) {
            return Err(DeltaError::Checksum {
                what: "header",
                range: 0..HEADER_LEN as u64,
            });
        }
        let [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            v0,
            v1,
            f0,
            f1,
            segment_log,
            block_log,
            ..,
        ] = *bytes;
        let (version, flags) = (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([f0, f1]));
        if version != VERSION || flags & !HAS_LISTS != 0 {
            return Err(DeltaError::Unsupported {
                version,
                flags,
                supported: VERSION,
            });
        }
        let header = Self {
            images: Images {
                old_len: u64_at(bytes, 16),
                new_len: u64_at(bytes, 24),
                old_sha256: digest_at(bytes, 32),
                new_sha256: digest_at(bytes, 64),
            },
            segment_log,
            block_log,
            groups: u32_at(bytes, 96),
            table_len: u32_at(bytes, 100),
            table_crc: u32_at(bytes, 104),
            lists_len: u32_at(bytes, 108),
            lists_crc: u32_at(bytes, 112),
        };
        let longest = header.images.old_len.max(header.images.new_len);
        limit("bytes of an image", longest, MAX_IMAGE)?;
        limit("groups", header.groups.into(), MAX_GROUPS as u64)?;
        limit(
            "bytes of the frame table",
            header.table_len.into(),
            MAX_TABLE as u64,
        )?;
        limit("bytes of lists", header.lists_len.into(), MAX_LISTS as u64)?;
        if (flags == HAS_LISTS) != (header.lists_len > 0) {
            return Err(DeltaError::Damaged("its lists of compressed blocks"));
        }
        if !(MIN_SEGMENT_LOG..=MAX_SEGMENT_LOG).contains(&segment_log) {
            return Err(DeltaError::Damaged("the size of its segments"));
        }
        if !matches!(block_log, 0 | 9..=16) {
            return Err(DeltaError::Damaged("the size of its blocks"));
        }
        Ok(header)
    }

    pub(crate) fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.lists_len > 0 { HAS_LISTS } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[self.segment_log, self.block_log, 0, 0]);
        out.extend_from_slice(&self.images.old_len.to_le_bytes());
        out.extend_from_slice(&self.images.new_len.to_le_bytes());
        out.extend_from_slice(self.images.old_sha256.as_bytes());
        out.extend_from_slice(self.images.new_sha256.as_bytes());
        let (groups, table) = (self.groups, [self.table_len, self.table_crc]);
        for number in [groups, table[0], table[1], self.lists_len, self.lists_crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEADER_LEN - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().unwrap_or([0; HEADER_LEN])
    }

    /// How many segments the new image has.
    #[must_use]
    pub fn segment_count(&self) -> u64 {
        self.images.new_len.div_ceil(1 << self.segment_log)
    }
}

/// Fails when `found` is more than `limit`.
pub(crate) fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), DeltaError> {
    if found > limit {
        return Err(DeltaError::TooMany { what, found, limit });
    }
    Ok(())
}

/// One part of the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it lies in the blob.
    pub(crate) blob: Range<u64>,
    pub(crate) crc: u32,
    /// Which bytes of the new image it makes, or its group makes.
    pub(crate) makes: Range<u64>,
}

/// A map and the frames that need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) map: Part,
    pub(crate) frames: Vec<Part>,
}

/// Where everything lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) groups: Vec<Group>,
}

impl Table {
    /// Reads the bytes that follow the header.
    pub(crate) fn parse(bytes: &[u8], header: &Header) -> Result<Self, DeltaError> {
        let start = HEADER_LEN as u64;
        if crc32fast::hash(bytes) != header.table_crc {
            return Err(DeltaError::Checksum {
                what: "frame table",
                range: start..start + bytes.len() as u64,
            });
        }
        let mut cursor = Cursor::new(bytes);
        let mut blob = start + bytes.len() as u64 + u64::from(header.lists_len);
        let mut made = 0_u64;
        let mut frames_left = MAX_FRAMES as u64;
        let mut groups = Vec::new();
        for _ in 0..header.groups {
            let count = cursor.number()?;
            limit("frames", count, frames_left)?;
            frames_left -= count;
            let map_len = cursor.number()?;
            limit("bytes of a map", map_len, MAX_MAP as u64)?;
            let crc = cursor.fixed()?;
            let map = blob..blob + map_len;
            blob = map.end;
            if count == 0 {
                return Err(DeltaError::Damaged("a group without frames"));
            }
            let group_start = made;
            let mut frames = Vec::new();
            for _ in 0..count {
                let len = cursor.number()?;
                limit("bytes of a frame", len, MAX_FRAME as u64)?;
                let segments = cursor.number()?;
                limit("segments", segments, header.segment_count())?;
                let crc = cursor.fixed()?;
                let end = made + (segments << header.segment_log);
                let end = end.min(header.images.new_len);
                if end == made {
                    return Err(DeltaError::Damaged("a frame makes nothing"));
                }
                frames.push(Part {
                    blob: blob..blob + len,
                    crc,
                    makes: made..end,
                });
                blob += len;
                made = end;
            }
            groups.push(Group {
                map: Part {
                    blob: map,
                    crc,
                    makes: group_start..made,
                },
                frames,
            });
        }
        if !cursor.is_done() || made != header.images.new_len {
            return Err(DeltaError::Damaged("its frames do not make the new image"));
        }
        Ok(Self { groups })
    }

    pub(crate) fn to_bytes(&self, segment_log: u8) -> Vec<u8> {
        let mut out = Vec::new();
        for group in &self.groups {
            push(&mut out, group.frames.len() as u64);
            push(&mut out, group.map.blob.end - group.map.blob.start);
            out.extend_from_slice(&group.map.crc.to_le_bytes());
            for frame in &group.frames {
                push(&mut out, frame.blob.end - frame.blob.start);
                let made = frame.makes.end - frame.makes.start;
                push(&mut out, made.div_ceil(1 << segment_log));
                out.extend_from_slice(&frame.crc.to_le_bytes());
            }
        }
        out
    }

    /// The last part that the new image's byte `place` needs: its group and its frame.
    pub(crate) fn find(&self, place: u64) -> Option<(usize, usize)> {
        let group = self
            .groups
            .iter()
            .position(|group| group.map.makes.contains(&place))?;
        let frames = &self.groups.get(group)?.frames;
        let frame = frames.iter().position(|f| f.makes.contains(&place))?;
        Some((group, frame))
    }
}
