//! What a delta is made of, for people: nothing is decoded but the map, both images are at hand.

use std::borrow::Cow;
use std::ops::Range;

use crate::blocks::{Blocks, Lists, Origin, Use};
use crate::codec::{Codecs, Family};
use crate::coding::bits::BitReader;
use crate::container::{Group, HEADER_LEN, Header, Part, Table, limit};
use crate::encode::ext4::{self, Free};
use crate::error::DeltaError;
use crate::frame::areas;
use crate::limits::MAX_RUNS;
use crate::map::{Run, read_runs};

/// Runs are compared in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// Lengths of the parts of a delta, in bytes of the blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Header, frame table, and the lists of compressed blocks.
    pub table: u64,
    /// The maps: where old bytes went.
    pub maps: u64,
    /// The frames: what is sent, and what changed.
    pub frames: u64,
    /// What a device packs; `None` when it packs nothing.
    pub packed: Option<Packed>,
}

/// Compressed blocks of the new image that a device makes from what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Whose format they have: `zstd`, `zlib`, `xz` or `lz4`.
    pub by: &'static str,
    /// How many there are.
    pub blocks: usize,
    /// Their bytes in the image.
    pub bytes: u64,
    /// The bytes in them.
    pub plain: u64,
}

/// Why bytes of the new image cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cost {
    /// They resemble old ones and differ from them. What was predicted costs next to nothing.
    Changed,
    /// They resemble nothing and are sent.
    Sent,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameParts {
    /// Which bytes of the new image it makes. When compressed blocks are packed by the device, all
    /// places and lengths here are of the image with these blocks unpacked.
    pub makes: Range<u64>,
    /// Its length in the blob, in bytes.
    pub length: u64,
    /// Bytes that are as they were in the old image, wherever they stood, or that the device
    /// makes itself: checksums of metadata.
    pub copied: u64,
    /// Bytes that are zero and cost nothing.
    pub zeros: u64,
    /// All other bytes of the new image, in order.
    pub costly: Vec<(Range<u64>, Cost)>,
}

/// Takes the delta from `old` to `new` apart and shows each frame to `see`, in order.
///
/// # Errors
/// When `blob` is no delta, is damaged, or is not between images of these lengths. Whether they
/// are the right images is for the caller to compare: [`Header::images`] has their digests.
pub fn explain(
    blob: &[u8],
    old: &[u8],
    new: &[u8],
    see: &mut dyn FnMut(&FrameParts),
) -> Result<Parts, DeltaError> {
    let header = blob
        .first_chunk::<HEADER_LEN>()
        .ok_or(DeltaError::NotADelta)?;
    let header = Header::parse(header)?;
    let (old_len, new_len) = (old.len() as u64, new.len() as u64);
    if (header.images.old_len, header.images.new_len) != (old_len, new_len) {
        return Err(DeltaError::OtherImage {
            old_len: header.images.old_len,
            new_len: header.images.new_len,
            wanted_old_len: old_len,
            wanted_new_len: new_len,
        });
    }
    let table_end = HEADER_LEN as u64 + u64::from(header.table_len);
    let table = part(blob, &(HEADER_LEN as u64..table_end))?;
    let table = Table::parse(table, &header)?;
    let (_, free) = ext4::find(new, header.segment_log);
    let lists_end = table_end + u64::from(header.lists_len);
    let lists = lists(blob, table_end..lists_end, &header)?;
    let packed = packed(&lists);
    let (old, new) = (unpacked_old(old, &lists)?, unpacked_new(new, &lists)?);
    let mut parts = Parts {
        table: lists_end,
        packed,
        ..Parts::default()
    };
    for group in &table.groups {
        let runs = runs(blob, group, &lists)?;
        parts.maps += length(&group.map);
        for frame in &group.frames {
            parts.frames += length(frame);
            let makes = lists.new.around(&frame.makes);
            see(&frame_parts(frame, makes, &runs, &old, &new, &free));
        }
    }
    Ok(parts)
}

fn lists(blob: &[u8], range: Range<u64>, header: &Header) -> Result<Lists, DeltaError> {
    let lists = Lists::none(header.images.old_len, header.images.new_len);
    if range.is_empty() {
        return Ok(lists);
    }
    let bytes = part(blob, &range)?;
    if crc32fast::hash(bytes) != header.lists_crc {
        return Err(DeltaError::Checksum {
            what: "list of blocks",
            range,
        });
    }
    lists.code(&mut BitReader::new(bytes.to_vec(), 0))
}

fn packed(lists: &Lists) -> Option<Packed> {
    let blocks = lists.new.list.iter();
    let packed = blocks.filter(|block| matches!(block.kind, Origin::Packed(_)));
    let none = Packed {
        by: lists.new_family().name(),
        blocks: 0,
        bytes: 0,
        plain: 0,
    };
    let found = packed.fold(none, |sum, block| Packed {
        blocks: sum.blocks + 1,
        bytes: sum.bytes + block.packed,
        plain: sum.plain + block.plain,
        ..sum
    });
    (found.blocks > 0).then_some(found)
}

/// An image has at most so many times its bytes when it is unpacked here.
const MOST: u64 = 1024;

/// The unpacked image. What `bytes` leaves out are zeros: nobody compares it.
fn unpacked<'a, K: Copy>(
    image: &'a [u8],
    blocks: &Blocks<K>,
    family: Family,
    looked_into: impl Fn(K) -> bool,
) -> Result<Cow<'a, [u8]>, DeltaError> {
    if blocks.list.is_empty() {
        return Ok(Cow::Borrowed(image));
    }
    let most = (image.len() as u64).saturating_mul(MOST);
    limit("bytes of an unpacked image", blocks.len, most)?;
    let mut codecs = Codecs::default();
    let mut plain = Vec::new();
    let mut out = Vec::new();
    let mut at = 0;
    for block in &blocks.list {
        out.extend_from_slice(part(image, &(at..block.real))?);
        at = block.real_end();
        let len = usize::try_from(block.plain).unwrap_or(usize::MAX);
        if looked_into(block.kind) {
            let packed = part(image, &(block.real..at))?;
            codecs
                .unpack(family, packed, len, &mut plain)
                .map_err(|_| DeltaError::Damaged("a block does not unpack"))?;
            out.extend_from_slice(&plain);
        }
        out.resize(usize::try_from(block.place_end()).unwrap_or(0), 0);
    }
    out.extend_from_slice(part(image, &(at..image.len() as u64))?);
    Ok(Cow::Owned(out))
}

fn unpacked_old<'a>(image: &'a [u8], lists: &Lists) -> Result<Cow<'a, [u8]>, DeltaError> {
    let looked_into = |kind| kind == Use::Unpacked;
    unpacked(image, &lists.old, lists.family, looked_into)
}

fn unpacked_new<'a>(image: &'a [u8], lists: &Lists) -> Result<Cow<'a, [u8]>, DeltaError> {
    let looked_into = |kind| matches!(kind, Origin::Packed(_));
    unpacked(image, &lists.new, lists.new_family(), looked_into)
}

fn length(part: &Part) -> u64 {
    part.blob.end - part.blob.start
}

fn part<'a>(blob: &'a [u8], range: &Range<u64>) -> Result<&'a [u8], DeltaError> {
    let start = usize::try_from(range.start).ok();
    let end = usize::try_from(range.end).ok();
    start
        .zip(end)
        .and_then(|(start, end)| blob.get(start..end))
        .ok_or(DeltaError::Damaged("it is cut off"))
}

fn runs(blob: &[u8], group: &Group, lists: &Lists) -> Result<Vec<Run>, DeltaError> {
    let bytes = part(blob, &group.map.blob)?;
    if crc32fast::hash(bytes) != group.map.crc {
        return Err(DeltaError::Checksum {
            what: "map",
            range: group.map.blob.clone(),
        });
    }
    let mut bits = BitReader::new(bytes.to_vec(), 0);
    let makes = lists.new.around(&group.map.makes);
    read_runs(&mut bits, makes.start, makes.end, lists.old.len, MAX_RUNS)
}

fn frame_parts(
    frame: &Part,
    makes: Range<u64>,
    runs: &[Run],
    old: &[u8],
    new: &[u8],
    free: &Free,
) -> FrameParts {
    let mut walk = areas(runs, &makes);
    let mut parts = FrameParts {
        makes,
        length: length(frame),
        copied: 0,
        zeros: 0,
        costly: Vec::new(),
    };
    while let Some(area) = walk.next(runs) {
        let made = bytes(new, area.start..area.end);
        let Some(from) = area.old else {
            let sent = made.iter().map(|byte| *byte != 0);
            parts.zeros += costs(&mut parts.costly, area.start, Cost::Sent, sent);
            continue;
        };
        // The range was held against both images when the map was read.
        let from = bytes(old, from..from + (area.end - area.start));
        let pieces = made.chunks(PIECE).zip(from.chunks(PIECE));
        for (start, (made, from)) in (area.start..).step_by(PIECE).zip(pieces) {
            let made = free.as_before(made, from, start);
            let changed = made.iter().zip(from).map(|(a, b)| a != b);
            parts.copied += costs(&mut parts.costly, start, Cost::Changed, changed);
        }
    }
    parts
}

fn bytes(image: &[u8], range: Range<u64>) -> &[u8] {
    part(image, &range).unwrap_or_default()
}

/// Enters the stretches of bytes that cost something; gives how many do not.
fn costs(
    found: &mut Vec<(Range<u64>, Cost)>,
    start: u64,
    cost: Cost,
    costly: impl Iterator<Item = bool>,
) -> u64 {
    let mut free = 0;
    for (place, costly) in (start..).zip(costly) {
        if !costly {
            free += 1;
            continue;
        }
        match found.last_mut() {
            Some((range, last)) if range.end == place && *last == cost => range.end += 1,
            _ => found.push((place..place + 1, cost)),
        }
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Outcome, encode};

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect()
    }

    fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
        match encode(old, new, &Options::default(), &|_| true).unwrap() {
            Outcome::Delta { blob, .. } => blob,
            Outcome::NotWorthIt { estimate } => panic!("{estimate}"),
        }
    }

    #[test]
    fn every_byte_of_the_new_image_and_of_the_blob_is_accounted_for() {
        let old = noise(1, 3_000_000);
        let mut new = old.clone();
        new.splice(500_000..500_000, noise(2, 10_000));
        new[2_000_000] ^= 0xff;
        new.extend(vec![0; 100_000]);
        let blob = delta(&old, &new);
        let mut made = 0;
        let mut sent = 0;
        let mut changed = Vec::new();
        let mut free = 0;
        let parts = explain(&blob, &old, &new, &mut |frame| {
            assert_eq!(frame.makes.start, made);
            made = frame.makes.end;
            free += frame.copied + frame.zeros;
            for (range, cost) in &frame.costly {
                match cost {
                    Cost::Sent => sent += range.end - range.start,
                    Cost::Changed => changed.push(range.clone()),
                }
            }
        })
        .unwrap();
        assert_eq!(made, new.len() as u64);
        assert_eq!(parts.table + parts.maps + parts.frames, blob.len() as u64);
        let differ: u64 = changed.iter().map(|range| range.end - range.start).sum();
        assert_eq!(free + sent + differ, new.len() as u64);
        assert!((9_900..10_100).contains(&sent), "{sent}");
        assert!(changed.contains(&(2_000_000..2_000_001)), "{changed:?}");
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let old = noise(3, 200_000);
        let new = [&old[..100_000], &noise(4, 5000), &old[100_000..]].concat();
        let blob = delta(&old, &new);
        for cut in (0..blob.len()).step_by(7) {
            let _ = explain(&blob[..cut], &old, &new, &mut |_| {});
        }
        for place in 0..blob.len().min(2000) {
            let mut blob = blob.clone();
            blob[place] ^= 0x55;
            let _ = explain(&blob, &old, &new, &mut |_| {});
        }
        assert!(explain(&blob[..100], &old, &new, &mut |_| {}).is_err());
        assert!(explain(&blob, &new, &old, &mut |_| {}).is_err());
    }
}
