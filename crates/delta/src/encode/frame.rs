//! Frames as bytes.

use core::ops::Range;

use crate::coding::bits::{BitWriter, Bits as _};
use crate::error::DeltaError;
use crate::frame::{Beside, Lengths, Shared, areas};
use crate::limits::MAX_READ;
use crate::model::guess::MARGIN;
use crate::model::literal::Literals;
use crate::model::surprise::Surprise;
use crate::varint::push;

use super::ext4::Free;
use super::scan::common;

/// Shorter stretches of zeros are sent as literals.
const ZEROS: usize = 64;
/// Shorter equal stretches are part of the changed ones around them.
pub(super) const EQUAL: usize = 256;
/// At the end of a run, this is enough.
const EQUAL_AT_END: usize = 32;

/// What became of the bytes of a frame, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Copied from the old image unchanged.
    pub equal: u64,
    /// Made from old bytes with changes.
    pub changed: u64,
    /// Of those, bytes that differ from the old ones.
    pub differing: u64,
    /// Sent.
    pub literal: u64,
    /// Zeros.
    pub zero: u64,
    /// What the literals take in the blob.
    pub literal_coded: u64,
    /// What all other bits take in the blob.
    pub bits_coded: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.equal += other.equal;
        self.changed += other.changed;
        self.differing += other.differing;
        self.literal += other.literal;
        self.zero += other.zero;
        self.literal_coded += other.literal_coded;
        self.bits_coded += other.bits_coded;
    }
}

/// Parts a gap: literal bytes and the zeros after them, until its end.
pub(super) fn gap_parts(gap: &[u8], mut each: impl FnMut(usize, usize)) {
    let (mut start, mut at) = (0, 0);
    while at < gap.len() {
        if gap[at] != 0 {
            at += 1;
            continue;
        }
        let zeros = gap[at..].iter().take_while(|byte| **byte == 0).count();
        if zeros >= ZEROS {
            each(at - start, zeros);
            start = at + zeros;
        }
        at += zeros;
    }
    if start < gap.len() {
        each(gap.len() - start, 0);
    }
}

/// Parts a run: changed bytes and the equal ones after them, until its end.
pub(super) fn run_parts(old: &[u8], new: &[u8], mut each: impl FnMut(usize, usize)) {
    let (mut start, mut at) = (0, 0);
    while at < new.len() {
        let equal = common(&new[at..], &old[at..]);
        let at_end = at + equal == new.len();
        if equal >= EQUAL || (equal >= EQUAL_AT_END && (at_end || at == 0)) {
            each(at - start, equal);
            start = at + equal;
        }
        at += equal.max(1);
    }
    if start < new.len() {
        each(new.len() - start, 0);
    }
}

/// What a thread needs for any frame.
pub(super) struct Bench {
    surprise: Surprise,
    written: Literals,
    beside: Beside,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            surprise: Surprise::new(),
            written: Literals::new(),
            beside: Beside::default(),
        }
    }
}

/// How literals are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Among the bits, one by one: smaller, and slower to read.
    Written,
    /// By zstd, at this level.
    Packed(i32),
}

/// Codes the bytes `makes` of the new image.
pub(super) fn encode(
    old: &[u8],
    new: &[u8],
    makes: &Range<u64>,
    shared: &Shared,
    free: &Free,
    bench: &mut Bench,
    way: Way,
) -> Result<(Vec<u8>, Tally), DeltaError> {
    let mut bits = BitWriter::new();
    let mut lengths = Lengths::new();
    let mut literals = Vec::new();
    let mut tally = Tally::default();
    let mut scratch = Vec::new();
    let geography = shared.geography();
    let Bench {
        surprise,
        written,
        beside,
    } = bench;
    surprise.reset();
    bits.bit(way == Way::Written, 1 << 15);
    if way == Way::Written {
        written.reset();
    }
    let runs = shared.map.runs();
    let mut walk = areas(runs, makes);
    while let Some(area) = walk.next(runs) {
        let bytes = &new[area.start as usize..area.end as usize];
        let mut left = bytes.len();
        let Some(start) = area.old else {
            if way == Way::Written {
                beside.look(&area, runs, old.len() as u64, |offset, out| {
                    let offset = offset as usize;
                    out.copy_from_slice(&old[offset..offset + out.len()]);
                    Ok::<(), DeltaError>(())
                })?;
            }
            gap_parts(bytes, |literal, zeros| {
                let at = bytes.len() - left;
                lengths.code(
                    &mut bits,
                    false,
                    left as u64,
                    (literal as u64, zeros as u64),
                );
                if way == Way::Written {
                    let before = bits.len();
                    for (place, byte) in (area.start + at as u64..).zip(&bytes[at..at + literal]) {
                        written.code(&mut bits, beside.guesses(place), *byte);
                    }
                    tally.literal_coded += (bits.len() - before) as u64;
                } else {
                    literals.extend_from_slice(&bytes[at..at + literal]);
                }
                tally.literal += literal as u64;
                tally.zero += zeros as u64;
                left -= literal + zeros;
            });
            continue;
        };
        let same = &old[start as usize..start as usize + bytes.len()];
        let bytes = &free.as_before(bytes, same, area.start)[..];
        run_parts(same, bytes, |changed, equal| {
            let at = bytes.len() - left;
            lengths.code(&mut bits, true, left as u64, (changed as u64, equal as u64));
            tally.changed += changed as u64;
            tally.equal += equal as u64;
            left -= changed + equal;
            if changed > 0 {
                surprise.begin(&shared.spaces, start + at as u64);
            }
            for from in (at..at + changed).step_by(MAX_READ) {
                let to = (from + MAX_READ).min(at + changed);
                scratch.clear();
                scratch.extend_from_slice(&bytes[from..to]);
                let place = start as usize + from;
                let window = window(old, place, to - from);
                let new_place = area.start + from as u64;
                let old_place = place as u64;
                surprise.code(
                    &mut bits,
                    &geography,
                    &window,
                    (old_place, new_place),
                    &mut scratch,
                    &free.mask(new_place, to - from),
                );
                let pairs = bytes[from..to].iter().zip(&same[from..to]);
                tally.differing += pairs.filter(|(a, b)| a != b).count() as u64;
            }
        });
    }
    let mut out = Vec::new();
    push(&mut out, literals.len() as u64);
    if let (false, Way::Packed(level)) = (literals.is_empty(), way) {
        let packed = compress(&literals, level)?;
        push(&mut out, packed.len() as u64);
        out.extend_from_slice(&packed);
    }
    tally.bits_coded = bits.len() as u64 - tally.literal_coded;
    tally.literal_coded += out.len() as u64;
    out.extend_from_slice(&bits.finish());
    Ok((out, tally))
}

/// The old bytes around a stretch, with zeros beyond the image's ends.
fn window(old: &[u8], start: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0; len + 2 * MARGIN];
    let from = start.saturating_sub(MARGIN);
    let to = (start + len + MARGIN).min(old.len());
    let skip = MARGIN - (start - from);
    out[skip..skip + to - from].copy_from_slice(&old[from..to]);
    out
}

fn compress(plain: &[u8], level: i32) -> Result<Vec<u8>, DeltaError> {
    let named = |code| DeltaError::Zstd(zstd_safe::get_error_name(code));
    let mut context = zstd_safe::CCtx::create();
    context
        .set_parameter(zstd_safe::CParameter::CompressionLevel(level))
        .map_err(named)?;
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
    context.compress2(&mut out, plain).map_err(named)?;
    Ok(out)
}
