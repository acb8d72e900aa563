//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

mod erofs;
mod squash;

use crate::codec::Codecs;
use crate::container::{Group, HEADER_LEN, Header, Part, Table};
use crate::filesystem::layout;
use crate::{Decoder, DeltaError, Images, Options, Outcome, encode};

pub use erofs::{Erofs, Filler, erofs_pair};
pub use squash::{Packer, Squash, squash_pair};

/// Larger images than this are not made from fuzzed bytes.
const MOST: u64 = 1 << 18;

/// A blob of any bytes: an error, or as many bytes as its header says.
pub fn delta_raw(data: &[u8]) {
    let old = pair(3).0;
    let images = head(data).map(|header| header.images);
    if let Some(images) = images.filter(|images| images.new_len.max(images.old_len) <= MOST) {
        // An error is as good as an image: both say what to do next.
        if let Ok(made) = decode(data, images, &old, 0) {
            assert_eq!(made.len() as u64, images.new_len);
        }
    }
}

/// A sound delta with changed bytes and checksums that fit again: gets behind every checksum.
/// Three bytes of data are one change: where, and what.
pub fn delta_parts(data: &[u8]) {
    let (old, new) = pair(data.first().copied().unwrap_or(0));
    changed_delta(&old, &new, data);
}

/// The same for a delta between images with compressed blocks: lists, and blocks that do not fit.
pub fn delta_blocks(data: &[u8]) {
    let (old, new) = compressed_pair(data.first().copied().unwrap_or(0));
    changed_delta(&old, &new, data);
}

/// Two images of compressed blocks: four contents, and after the first four, which zstd packs,
/// each of the other compressors.
fn compressed_pair(kind: u8) -> (Vec<u8>, Vec<u8>) {
    let (mut old, mut new) = squash_pair(kind % 4);
    let packer = match kind / 4 % 7 {
        1 => Packer::Gzip(9),
        2 => Packer::Xz,
        0 => Packer::Zstd(15),
        other => {
            let fillers = [
                Filler::Lz4(0),
                Filler::Lz4(9),
                Filler::Lz4(12),
                Filler::Zstd(0),
            ];
            let (old, new) = erofs_pair(kind % 4, fillers[usize::from(other - 3)]);
            return (old.image(), new.image());
        }
    };
    (old.packer, new.packer) = (packer, packer);
    (old.image(), new.image())
}

/// The delta between two images with the changes that `data` says.
fn changed_delta(old: &[u8], new: &[u8], data: &[u8]) {
    let Some(mut blob) = delta(old, new) else {
        return;
    };
    let images = head(&blob).expect("just made").images;
    let changed = change(&mut blob, data);
    let whole = repair(&mut blob);
    let outcome = decode(&blob, images, old, 0);
    if !changed {
        assert_eq!(outcome.expect("nothing was changed"), new);
    } else if let Ok(made) = outcome {
        assert!(whole.is_some());
        assert_eq!(made.len(), new.len());
    }
}

/// Makes the changes that follow the first byte of `data`; says whether there are any.
fn change(bytes: &mut [u8], data: &[u8]) -> bool {
    let (changes, _) = data.get(1..).unwrap_or_default().as_chunks::<3>();
    for [low, high, value] in changes {
        let place = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        bytes[place] ^= value;
    }
    !changes.is_empty()
}

/// An image of any bytes, and a sound one with changed bytes: what is found in it lies in it, and
/// a delta to it and from it gives the very bytes.
pub fn image_layout(data: &[u8]) {
    look(data);
    let (sound, _) = compressed_pair(data.first().copied().unwrap_or(0));
    let mut changed = sound.clone();
    change(&mut changed, data);
    look(&changed);
    for (old, new) in [(&sound, &changed), (&changed, &sound)] {
        let blob = delta(old, new).expect("no limit was set");
        let images = head(&blob).expect("just made").images;
        let made = decode(&blob, images, old, 0).expect("proved by the encoder");
        assert_eq!(&made, new);
    }
}

/// Blocks lie in order inside of the image, and none is larger than it may be.
fn look(image: &[u8]) {
    let Some(layout) = layout(image) else {
        return;
    };
    let mut codecs = Codecs::default();
    let mut plain = Vec::new();
    let mut end = 0;
    for block in &layout.blocks {
        assert!(block.offset >= end && block.packed > 0);
        end = block.end();
        let start = usize::try_from(block.offset).expect("in the image");
        let packed = &image[start..usize::try_from(end).expect("in the image")];
        let most = usize::try_from(block.most).expect("short");
        if codecs
            .unpack(layout.family, packed, most, &mut plain)
            .is_ok()
        {
            assert!(plain.len() <= most);
        }
    }
}

/// Two images, parted where the first byte says: the delta between them gives the second one,
/// from every segment on.
pub fn delta_round_trip(data: &[u8]) {
    let (place, rest) = data.split_first().unwrap_or((&0, &[]));
    let (old, new) = rest.split_at(rest.len() * usize::from(*place) / 255);
    let blob = delta(old, new).expect("no limit was set");
    let images = head(&blob).expect("just made").images;
    for first in 0..=new.len().div_ceil(4096) {
        let made = decode(&blob, images, old, first as u64).expect("proved by the encoder");
        assert_eq!(made, new[(first * 4096).min(new.len())..]);
    }
}

/// A pair of small images with most things in it that a delta knows: moved and changed bytes,
/// zeros, new bytes, pointers.
#[must_use]
pub fn pair(seed: u8) -> (Vec<u8>, Vec<u8>) {
    let mut state = u32::from(seed) | 1 << 16;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut old: Vec<u8> = (0..12_000).map(|_| next().to_le_bytes()[0]).collect();
    for word in old[2000..6000].chunks_exact_mut(4) {
        word.copy_from_slice(&(next() % 12_000).to_le_bytes());
    }
    let mut new = old.clone();
    for word in new[2000..6000].chunks_exact_mut(8) {
        let value = u32::from_le_bytes(word[..4].try_into().expect("four bytes"));
        word[..4].copy_from_slice(&(value + 40).to_le_bytes());
    }
    let fresh: Vec<u8> = (0..90).map(|_| next().to_le_bytes()[1] % 7).collect();
    new.splice(1000..1050, fresh);
    new.splice(7000..7000, [0; 300]);
    new.truncate(11_500);
    let moved: Vec<u8> = new.drain(8000..9000).collect();
    new.extend_from_slice(&moved);
    (old, new)
}

fn delta(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let options = Options {
        segment_log: 12,
        frame_bytes: 100,
        written_literals: (old.len() as u64 % 2) << 20,
        ..Options::default()
    };
    match encode(old, new, &options, &|_| true).expect("the options can work") {
        Outcome::Delta { blob, .. } => Some(blob),
        Outcome::NotWorthIt { .. } => None,
    }
}

fn head(blob: &[u8]) -> Option<Header> {
    Header::parse(blob.first_chunk::<HEADER_LEN>()?).ok()
}

/// Feeds a blob in uneven pieces.
fn decode(blob: &[u8], images: Images, old: &[u8], first: u64) -> Result<Vec<u8>, DeltaError> {
    let mut decoder = Decoder::from_segment(images, first);
    let mut source = old;
    let mut made = Vec::new();
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let start = usize::try_from(needed.start).unwrap_or(usize::MAX);
            let rest = blob.get(start..).unwrap_or_default();
            let rest = &rest[..rest.len().min(1000)];
            if rest.is_empty() {
                return Err(DeltaError::Damaged("it was cut off"));
            }
            decoder.feed(needed.start, rest)?;
        }
        while let Some(segment) = decoder.segment(&mut source)? {
            made.extend_from_slice(segment.bytes);
            assert!(made.len() as u64 <= images.new_len);
        }
    }
    Ok(made)
}

/// Makes all checksums fit, as far as the parts can be found.
fn repair(blob: &mut [u8]) -> Option<()> {
    let sum = crc32fast::hash(blob.get(..HEADER_LEN - 4)?);
    blob[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
    let mut header = head(blob)?;
    let table_end = HEADER_LEN + usize::try_from(header.table_len).ok()?;
    let table_bytes = blob.get(HEADER_LEN..table_end)?.to_vec();
    header.table_crc = crc32fast::hash(&table_bytes);
    let lists_end = table_end + usize::try_from(header.lists_len).ok()?;
    header.lists_crc = crc32fast::hash(blob.get(table_end..lists_end)?);
    let mut table = Table::parse(&table_bytes, &header).ok()?;
    let sum = |part: &mut Part| {
        let from = usize::try_from(part.blob.start).ok()?;
        let to = usize::try_from(part.blob.end).ok()?;
        part.crc = crc32fast::hash(blob.get(from..to)?);
        Some(())
    };
    for Group { map, frames } in &mut table.groups {
        sum(map)?;
        frames.iter_mut().try_for_each(sum)?;
    }
    let table_bytes = table.to_bytes(header.segment_log);
    header.table_crc = crc32fast::hash(&table_bytes);
    blob.get_mut(HEADER_LEN..table_end)
        .filter(|place| place.len() == table_bytes.len())?
        .copy_from_slice(&table_bytes);
    blob[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// As the targets read it: a choice, then places and what to write there.
    fn input(first: u8, changes: &[(u16, u8)]) -> Vec<u8> {
        let mut data = vec![first];
        for (place, value) in changes {
            data.extend_from_slice(&place.to_le_bytes());
            data.push(*value);
        }
        data
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            super::delta_raw(&bytes);
            super::delta_parts(&bytes);
            super::delta_round_trip(&bytes);
        }

        #[test]
        fn changed_deltas_of_compressed_blocks_break_no_promise(
            kind in 4..28_u8,
            changes in proptest::collection::vec((0..6000_u16, any::<u8>()), 0..4),
        ) {
            super::delta_blocks(&input(kind, &changes));
        }

        #[test]
        fn changed_deltas_break_no_promise(
            seed in any::<u8>(),
            changes in proptest::collection::vec((0..3000_u16, any::<u8>()), 1..4),
        ) {
            super::delta_parts(&input(seed, &changes));
        }
    }
}
