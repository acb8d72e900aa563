//! The unpacked images, and which of the new image's blocks the decoder can pack again.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::blocks::{Block, Blocks, Lists, Origin, Use};
use crate::codec::Codecs;
use crate::error::DeltaError;
use crate::filesystem::{FileStart, Found, Layout, layout};
use crate::limits::MAX_PLAIN;

use super::Task;
use super::scan::Match;
use super::ways::{self, packed};
use super::work::{Work, each};

/// What became of the compressed blocks of a new image that are not in the old one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repacked {
    /// How many there are.
    pub changed: usize,
    /// How many of them a device makes from their plain bytes; the others are sent compressed.
    pub reproduced: usize,
    /// Bytes of the others, compressed.
    pub sent: u64,
}

/// Both images unpacked, and what is known about them.
pub(super) struct Ground<'a> {
    pub(super) old: Cow<'a, [u8]>,
    pub(super) new: Cow<'a, [u8]>,
    /// All blocks of the old image, one by one.
    pub(super) lists: Lists,
    /// Where the new image's copied blocks come from.
    pub(super) anchors: Vec<Match>,
    /// Where programs may begin in the unpacked old image.
    pub(super) programs: Vec<u64>,
}

/// Unpacks both images. There is no ground when nothing would be won by it.
pub(super) fn unpack(
    old: &[u8],
    new: &[u8],
    work: &Work<'_>,
) -> Result<(Option<Ground<'static>>, Repacked), DeltaError> {
    let mut repacked = Repacked::default();
    let (Some(was), Some(now)) = (layout(old), layout(new)) else {
        return Ok((None, repacked));
    };
    let same = same_blocks(old, &was.blocks, new, &now.blocks);
    let changed: Vec<usize> = (0..same.len()).filter(|n| same[*n].is_none()).collect();
    let plain_old = each(
        work,
        Task::Unpack,
        was.blocks.len(),
        Codecs::default,
        |codecs, n| Ok(plain(old, &was, n, codecs)),
    )?;
    let plain_new = each(
        work,
        Task::Unpack,
        changed.len(),
        Codecs::default,
        |codecs, n| Ok(plain(new, &now, changed[n], codecs)),
    )?;
    let mut contents: Vec<Option<&[u8]>> = same
        .iter()
        .map(|from| plain_old[(*from)?].as_deref())
        .collect();
    for (number, bytes) in changed.iter().zip(&plain_new) {
        contents[*number] = bytes.as_deref();
    }
    let blocks = ways::Blocks {
        image: new,
        layout: &now,
        changed: &changed,
        contents,
    };
    let (codecs, ways) = blocks.ways(work)?;
    for (n, way) in changed.iter().zip(&ways) {
        repacked.changed += 1;
        if way.is_some() {
            repacked.reproduced += 1;
        } else {
            repacked.sent += u64::from(now.blocks[*n].packed);
        }
    }
    if repacked.reproduced == 0 {
        return Ok((None, repacked));
    }
    let (old_image, old_blocks) = build(
        old,
        was.blocks
            .iter()
            .zip(&plain_old)
            .filter_map(|(found, bytes)| Some((found, Use::Unpacked, bytes.as_deref()?))),
    );
    let programs = programs(&was.files, &old_blocks, &old_image);
    let mut own = changed.iter().zip(plain_new.iter().zip(&ways)).peekable();
    let of_new = now.blocks.iter().enumerate().filter_map(|(n, found)| {
        if let Some((_, (bytes, way))) = own.next_if(|(changed, _)| **changed == n) {
            return Some((found, Origin::Packed((*way)?), bytes.as_deref()?));
        }
        let from = same[n]?;
        let origin = Origin::Copied(was.blocks[from].offset);
        Some((found, origin, plain_old[from].as_deref()?))
    });
    let (new_image, new_blocks) = build(new, of_new);
    let (new_blocks, anchors) = merge_copied(old, new, &old_blocks, &new_blocks);
    let ground = Ground {
        old: Cow::Owned(old_image),
        new: Cow::Owned(new_image),
        lists: Lists {
            family: was.family,
            old: old_blocks,
            codecs,
            new: new_blocks,
        },
        anchors,
        programs,
    };
    Ok((Some(ground), repacked))
}

/// For each new block the old one with the same bytes, if there is one: the one after the last
/// one that was found, if it can be.
fn same_blocks(old: &[u8], was: &[Found], new: &[u8], now: &[Found]) -> Vec<Option<usize>> {
    let mut places = HashMap::with_capacity(was.len());
    for (number, found) in was.iter().enumerate() {
        places.entry(packed(old, found)).or_insert(number);
    }
    let mut next = 0;
    let find = |found: &Found| {
        let bytes = packed(new, found);
        let follows = was
            .get(next)
            .is_some_and(|found| packed(old, found) == bytes);
        let number = if follows {
            Some(next)
        } else {
            places.get(bytes).copied()
        };
        next = number.map_or(next, |number| number + 1);
        number
    };
    now.iter().map(find).collect()
}

fn plain(image: &[u8], layout: &Layout, number: usize, codecs: &mut Codecs) -> Option<Vec<u8>> {
    let found = &layout.blocks[number];
    let mut out = Vec::new();
    let most = (found.most as usize).min(MAX_PLAIN);
    codecs
        .unpack(layout.family, packed(image, found), most, &mut out)
        .ok()?;
    out.shrink_to_fit();
    (!out.is_empty() && found.packed as usize <= MAX_PLAIN).then_some(out)
}

/// An unpacked image.
fn build<'a, K>(
    image: &[u8],
    found: impl Iterator<Item = (&'a Found, K, &'a [u8])>,
) -> (Vec<u8>, Blocks<K>) {
    let mut out = Vec::with_capacity(image.len());
    let mut list = Vec::new();
    let mut at = 0;
    for (found, kind, bytes) in found {
        out.extend_from_slice(&image[at..found.offset as usize]);
        list.push(Block {
            real: found.offset,
            packed: found.packed.into(),
            place: out.len() as u64,
            plain: bytes.len() as u64,
            kind,
        });
        out.extend_from_slice(bytes);
        at = found.end() as usize;
    }
    out.extend_from_slice(&image[at..]);
    let blocks = Blocks {
        list,
        real_len: image.len() as u64,
        len: out.len() as u64,
    };
    (out, blocks)
}

/// Copied blocks that follow each other in both images are one.
fn merge_copied(
    old: &[u8],
    new: &[u8],
    was: &Blocks<Use>,
    now: &Blocks<Origin>,
) -> (Blocks<Origin>, Vec<Match>) {
    let mut list: Vec<Block<Origin>> = Vec::new();
    let mut anchors: Vec<Match> = Vec::new();
    for block in &now.list {
        let Origin::Copied(from) = block.kind else {
            list.push(*block);
            continue;
        };
        if let Some(last) = list.last_mut()
            && let Origin::Copied(before) = last.kind
            && before + (block.real - last.real) == from
        {
            let gap = (block.real - last.real_end()) as usize;
            let (from, end) = (from as usize, last.real_end() as usize);
            if old[from - gap..from] == new[end..end + gap] {
                last.packed = block.real_end() - last.real;
                last.plain = block.place_end() - last.place;
                let anchor = anchors
                    .last_mut()
                    .expect("there is one for each copied block");
                anchor.len = last.plain as usize;
                continue;
            }
        }
        list.push(*block);
        anchors.push(Match {
            new: block.place as usize,
            len: block.plain as usize,
            diagonal: was.start_of(from) as i64 - block.place as i64,
        });
    }
    let blocks = Blocks { list, ..*now };
    (blocks, anchors)
}

fn programs(files: &[FileStart], blocks: &Blocks<Use>, image: &[u8]) -> Vec<u64> {
    let places = files
        .iter()
        .map(|file| blocks.start_of(file.offset) + u64::from(file.inside));
    let mut programs: Vec<u64> = places
        .filter(|place| {
            let rest = image.get(*place as usize..).unwrap_or_default();
            rest.starts_with(b"\x7fELF")
        })
        .collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}
