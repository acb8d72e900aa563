//! The index: every group of an image, in order.
//!
//! ```text
//! magic "SBCHUNK1", cutting u8, three zeros, groups u32, length of the image u64
//! one zstd frame: keys (5 bytes each); numbers of chunks (1 byte each); packed lengths (the lowest
//!                 bytes of all, the next ones, …); with `Content`, plain lengths in the same way
//! ```
//! Numbers are little endian.

use crate::cut::Cutting;
use crate::error::{ChunkError, limit};
use crate::key::{KEY_LEN, Key};
use crate::list::record_len;
use crate::{MAX_CHUNK, MAX_GROUP, MAX_GROUPS, MAX_IMAGE};

const MAGIC: &[u8; 8] = b"SBCHUNK1";
const HEADER_LEN: usize = 24;

/// A run of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// What it has.
    pub key: Key,
    /// Where it begins in the image, in bytes.
    pub place: u64,
    /// Where its chunks begin in the pack, in bytes from the pack's start.
    pub pack_place: u64,
    /// How many chunks of the image come before it.
    pub first_chunk: u64,
    /// Its length in the image, in bytes.
    pub plain: u32,
    /// Its length in the pack, in bytes; 0 when it is all zeros.
    pub packed: u32,
    /// How many chunks it has.
    pub chunks: u8,
}

/// Every group of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    cutting: Cutting,
    groups: Vec<Group>,
}

impl Index {
    /// Reads the index of an image of `image_len` bytes.
    ///
    /// # Errors
    /// It is none, or contradicts itself.
    pub fn parse(bytes: &[u8], image_len: u64) -> Result<Self, ChunkError> {
        let (header, frame) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ChunkError::NotAnIndex)?;
        let [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            cutting,
            0,
            0,
            0,
            a,
            b,
            c,
            d,
            len @ ..,
        ] = *header
        else {
            return Err(ChunkError::NotAnIndex);
        };
        let cutting = Cutting::from_byte(cutting).filter(|_| header.starts_with(MAGIC));
        let cutting = cutting.ok_or(ChunkError::NotAnIndex)?;
        let found = u64::from_le_bytes(len);
        if found != image_len {
            return Err(ChunkError::OtherImage {
                found,
                wanted: image_len,
            });
        }
        limit("bytes of an image", image_len, MAX_IMAGE)?;
        let count = u32::from_le_bytes([a, b, c, d]);
        limit("groups", count.into(), MAX_GROUPS as u64)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut columns = Vec::with_capacity(count * columns(cutting));
        zstd_safe::decompress(&mut columns, frame)
            .map_err(|code| ChunkError::Unpack(zstd_safe::get_error_name(code)))?;
        let index = Self {
            cutting,
            groups: read(&columns, count, cutting, image_len)?,
        };
        let end = index.groups.last();
        let end = end.map_or(0, |group| group.place + u64::from(group.plain));
        if end != image_len {
            return Err(ChunkError::Damaged("its groups do not fill the image"));
        }
        Ok(index)
    }

    pub(crate) fn new(cutting: Cutting, groups: Vec<Group>) -> Self {
        Self { cutting, groups }
    }

    /// The blob.
    pub(crate) fn to_bytes(&self, image_len: u64) -> Result<Vec<u8>, ChunkError> {
        limit("groups", self.groups.len() as u64, MAX_GROUPS as u64)?;
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let mut columns = Vec::with_capacity(self.groups.len() * columns(self.cutting));
        for group in &self.groups {
            columns.extend_from_slice(&group.key.to_bytes());
        }
        columns.extend(self.groups.iter().map(|group| group.chunks));
        planes(&mut columns, &self.groups.iter().map(|group| group.packed));
        if let Cutting::Content { .. } = self.cutting {
            planes(&mut columns, &self.groups.iter().map(|group| group.plain));
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[self.cutting.to_byte(), 0, 0, 0]);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&image_len.to_le_bytes());
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(columns.len()));
        zstd_safe::compress(&mut frame, &columns, 19)
            .map_err(|code| ChunkError::Unpack(zstd_safe::get_error_name(code)))?;
        out.extend_from_slice(&frame);
        Ok(out)
    }

    /// How the image was cut.
    #[must_use]
    pub const fn cutting(&self) -> Cutting {
        self.cutting
    }

    /// Its groups, in order.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where the pack begins in the data, in bytes: after the lists.
    #[must_use]
    pub fn pack_start(&self) -> u64 {
        self.chunks() * record_len(self.cutting) as u64
    }

    /// How many chunks it has.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        let last = self.groups.last();
        last.map_or(0, |group| group.first_chunk + u64::from(group.chunks))
    }
}

/// Bytes of one group in all columns.
const fn columns(cutting: Cutting) -> usize {
    match cutting {
        Cutting::Blocks { .. } => KEY_LEN + 1 + 4,
        Cutting::Content { .. } => KEY_LEN + 1 + 8,
    }
}

fn planes(out: &mut Vec<u8>, numbers: &(impl Iterator<Item = u32> + Clone)) {
    for plane in 0..4 {
        out.extend(
            numbers
                .clone()
                .map(|number| (number >> (8 * plane)).to_le_bytes()[0]),
        );
    }
}

/// The columns, taken apart.
struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Columns<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ChunkError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ChunkError::Damaged("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn numbers(&mut self, count: usize) -> Result<impl Iterator<Item = u32> + use<'a>, ChunkError> {
        let [a, b, c, d] = [
            self.take(count)?,
            self.take(count)?,
            self.take(count)?,
            self.take(count)?,
        ];
        let bytes = a.iter().zip(b).zip(c).zip(d);
        Ok(bytes.map(|(((a, b), c), d)| u32::from_le_bytes([*a, *b, *c, *d])))
    }
}

fn read(
    columns: &[u8],
    count: usize,
    cutting: Cutting,
    image_len: u64,
) -> Result<Vec<Group>, ChunkError> {
    let mut columns = Columns { rest: columns };
    let keys = columns.take(count * KEY_LEN)?.as_chunks::<KEY_LEN>().0;
    let chunks = columns.take(count)?;
    let mut packed = columns.numbers(count)?;
    let mut plains = match cutting {
        Cutting::Content { .. } => Some(columns.numbers(count)?),
        Cutting::Blocks { .. } => None,
    };
    if !columns.rest.is_empty() {
        return Err(ChunkError::Damaged("bytes follow its last group"));
    }
    let mut groups = Vec::with_capacity(count);
    let (mut place, mut pack_place, mut first_chunk) = (0_u64, 0_u64, 0_u64);
    for (key, chunks) in keys.iter().zip(chunks) {
        let packed = packed.next().unwrap_or(0);
        let rest = image_len.saturating_sub(place);
        let plain = match (cutting, &mut plains) {
            (Cutting::Blocks { log }, _) => rest.min(u64::from(*chunks) << log),
            (_, Some(plains)) => plains.next().unwrap_or(0).into(),
            (_, None) => 0,
        };
        // A chunk that does not shrink is stored with a frame's header.
        let most = (MAX_CHUNK * MAX_GROUP) as u64;
        if !(1..=MAX_GROUP).contains(&usize::from(*chunks))
            || plain < u64::from(*chunks)
            || plain > rest.min(most)
            || u64::from(packed) > most + (MAX_GROUP * 256) as u64
        {
            return Err(ChunkError::Damaged("a group has a length that cannot be"));
        }
        groups.push(Group {
            key: Key::from_bytes(*key),
            place,
            pack_place,
            first_chunk,
            plain: u32::try_from(plain).unwrap_or(u32::MAX),
            packed,
            chunks: *chunks,
        });
        place += plain;
        pack_place += u64::from(packed);
        first_chunk += u64::from(*chunks);
    }
    Ok(groups)
}
