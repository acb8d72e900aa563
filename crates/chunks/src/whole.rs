//! Whole images in memory: for tests, fuzzing and measuring. Publishers and devices do the same stretch by
//! stretch.

use crate::build::{Blobs, Builder};
use crate::cut::Cutting;
use crate::error::ChunkError;
use crate::held::{Held, Scan, Where};
use crate::index::Index;
use crate::list::list_range;
use crate::pack::{Packer, unpack};
use crate::plan::{From, missing, plan};

const SHORT: ChunkError = ChunkError::Damaged("it ends early");

/// Cuts and packs an image at one of zstd's levels: index, lists and pack.
///
/// # Errors
/// It has too many groups, or zstd refuses.
pub fn pack_image(
    image: &[u8],
    cutting: Cutting,
    level: i32,
) -> Result<(Blobs, Vec<u8>), ChunkError> {
    let mut builder = Builder::new(cutting);
    let mut packer = Packer::new(image, level)?;
    let (mut at, mut pack) = (0, Vec::new());
    while let Some(rest) = image.get(at..)
        && let Some(len) = cutting.chunk(rest, true)
    {
        let packed = packer.pack(at, len, &mut pack)?;
        builder.push(rest.get(..len).unwrap_or_default(), packed);
        at += len;
    }
    Ok((builder.finish()?, pack))
}

/// An image and what had to be fetched for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// The image.
    pub image: Vec<u8>,
    /// Bytes of lists.
    pub lists: u64,
    /// Bytes of the pack.
    pub chunks: u64,
    /// In how many ranges those lie.
    pub ranges: usize,
}

/// Makes an image of `len` bytes on a device whose running slot has `old`. `data` has the lists and the pack.
///
/// # Errors
/// The index, the lists or a chunk is damaged.
pub fn make_image(index: &[u8], data: &[u8], old: &[u8], len: u64) -> Result<Made, ChunkError> {
    let index = Index::parse(index, len)?;
    let mut held = Held::with_room(index.cutting(), old.len() as u64);
    let taken = Scan::new(index.cutting(), Where::Running).take(&mut held, old, true);
    debug_assert_eq!(taken, old.len());
    held.sort();
    let missing = missing(&index, &held, 0)?;
    let mut lists = Vec::new();
    for range in missing
        .iter()
        .filter_map(|number| list_range(&index, *number))
    {
        lists.extend_from_slice(part(data, range.start, range.end - range.start)?);
    }
    let plan = plan(&index, &held, 0, &missing, &lists)?;
    let mut image = Vec::new();
    for piece in &plan.parts {
        debug_assert_eq!(piece.place, image.len() as u64);
        let plain = usize::try_from(piece.len).map_err(|_| SHORT)?;
        match piece.from {
            From::Zeros => image.resize(image.len() + plain, 0),
            From::Slot(place) => image.extend_from_slice(part(old, place.offset, piece.len)?),
            From::Pack { offset, len } => {
                let packed = part(data, offset, len.into())?;
                let mut chunk = Vec::new();
                unpack(&image, packed, plain, &mut chunk)?;
                image.append(&mut chunk);
            }
        }
    }
    Ok(Made {
        image,
        lists: lists.len() as u64,
        chunks: plan.fetched,
        ranges: plan.ranges(0).len(),
    })
}

fn part(bytes: &[u8], start: u64, len: u64) -> Result<&[u8], ChunkError> {
    let start = usize::try_from(start).map_err(|_| SHORT)?;
    let len = usize::try_from(len).map_err(|_| SHORT)?;
    let end = start.checked_add(len).ok_or(SHORT)?;
    bytes.get(start..end).ok_or(SHORT)
}
