//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use crate::{Blobs, ChunkError, Cutting, Held, Index, make_image, missing, pack_image, plan};

/// An index and lists of any bytes: an error, or parts that fill the image in order.
pub fn chunk_index(data: &[u8]) {
    let len = data.get(16..24).and_then(|bytes| bytes.try_into().ok());
    let len = len.map_or(0, u64::from_le_bytes);
    let Ok(index) = Index::parse(data, len) else {
        return;
    };
    let mut held = Held::default();
    held.sort();
    let Ok(missing) = missing(&index, &held, 0) else {
        return;
    };
    let Ok(plan) = plan(&index, &held, 0, &missing, data) else {
        return;
    };
    let mut place = 0;
    for part in &plan.parts {
        assert_eq!(part.place, place);
        place += part.len;
    }
    assert_eq!(place, len);
}

/// A sound index of a small image whose lists and pack were changed: an error, or an image of the
/// right length. Three bytes of data are one change: where, and what.
pub fn chunk_parts(data: &[u8]) {
    let (old, new) = pair(data.first().copied().unwrap_or(0));
    let cutting = cutting(data.get(1).copied().unwrap_or(0));
    let (blobs, mut pack) = publish(&new, cutting);
    let mut lists = blobs.lists.clone();
    let changes = data.get(2..).unwrap_or_default().as_chunks::<3>().0;
    for [low, high, value] in changes {
        let all = lists.len() + pack.len();
        let place = usize::from(u16::from_le_bytes([*low, *high])) % all;
        match place.checked_sub(lists.len()) {
            None => lists[place] ^= value,
            Some(place) => pack[place] ^= value,
        }
    }
    let blobs = Blobs {
        index: blobs.index,
        lists,
    };
    let made = fetch(&blobs, &pack, &old, new.len() as u64);
    if changes.is_empty() {
        assert_eq!(made.expect("nothing was changed").0, new);
    } else if let Ok((made, _)) = made {
        assert_eq!(made.len(), new.len());
    }
}

/// Two images, parted where the first byte says: the second one is made from the first and its chunks.
pub fn chunk_round_trip(data: &[u8]) {
    let (place, rest) = data.split_first().unwrap_or((&0, &[]));
    let (old, new) = rest.split_at(rest.len() * usize::from(*place) / 255);
    let (blobs, pack) = publish(new, cutting(*place));
    let (made, fetched) = fetch(&blobs, &pack, old, new.len() as u64).expect("just made");
    assert_eq!(made, new);
    assert!(fetched <= pack.len() as u64);
}

fn cutting(byte: u8) -> Cutting {
    match byte % 2 {
        0 => Cutting::Blocks { log: 12 },
        _ => Cutting::Content { log: 12 },
    }
}

/// Two images that have much in common: zeros, what moved, and what is new.
pub(crate) fn pair(byte: u8) -> (Vec<u8>, Vec<u8>) {
    let words = (0..30_000_u32).map(|at| at.wrapping_mul(at ^ u32::from(byte)));
    let mut old: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    old[40_000..60_000].fill(0);
    let mut new = old.clone();
    new.splice(70_000..70_010, (0..4106).map(|at: u32| at as u8));
    new[20_000..20_100].fill(byte);
    (old, new)
}

/// All blobs of an image.
pub(crate) fn publish(image: &[u8], cutting: Cutting) -> (Blobs, Vec<u8>) {
    pack_image(image, cutting, 3).expect("small, and a sound level")
}

/// The image, from `old` and what is fetched, and how many bytes of the pack are.
pub(crate) fn fetch(
    blobs: &Blobs,
    pack: &[u8],
    old: &[u8],
    len: u64,
) -> Result<(Vec<u8>, u64), ChunkError> {
    let data = [&blobs.lists, pack].concat();
    let made = make_image(&blobs.index, &data, old, len)?;
    Ok((made.image, made.chunks))
}
