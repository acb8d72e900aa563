//! From matches to groups and frames.

use core::ops::Range;

use crate::blocks::NewBlocks;
use crate::frame::{Shared, areas};
use crate::limits::{MAX_LITERALS, MAX_RUNS, MAX_SPACES};
use crate::map::{AddressMap, Run};
use crate::seal::Seals;
use crate::space::{Space, is_plain};

use super::elf;
use super::ext4::Free;
use super::frame::{gap_parts, run_parts};
use super::scan::Match;

/// Files begin at multiples of this in the images that we look into.
const PAGE: usize = 4096;
/// A group is closed when it has so many runs.
const RUNS: usize = MAX_RUNS;
/// Most segments of a frame: a resumed install makes them again.
const SEGMENTS: u64 = 64;

/// A group that is to be coded.
pub(super) struct Planned {
    pub(super) shared: Shared,
    /// Which bytes of the image it makes, …
    pub(super) real: Range<u64>,
    /// … and which of the unpacked image.
    pub(super) makes: Range<u64>,
    /// Bytes of the image.
    pub(super) frames: Vec<Range<u64>>,
}

/// The matches as runs.
pub(super) fn runs(matches: &[Match]) -> Vec<Run> {
    matches
        .iter()
        .filter(|m| m.len > 0)
        .map(|m| Run {
            new: m.new as u64,
            old: (m.new as i64 + m.diagonal) as u64,
            len: m.len as u64,
        })
        .collect()
}

/// Divides the new image into groups at multiples of `segment`, cutting runs that cross. A block
/// that lies in two groups has its runs in both.
pub(super) fn groups(
    runs: &[Run],
    blocks: &NewBlocks,
    segment: u64,
) -> Vec<(Range<u64>, Vec<Run>)> {
    let new_len = blocks.real_len;
    let mut out = Vec::new();
    let mut current: Vec<Run> = Vec::new();
    let mut start = 0;
    let mut next = 0;
    let mut pending: Option<Run> = None;
    for number in 0..new_len.div_ceil(segment) {
        let end = blocks.end_of(((number + 1) * segment).min(new_len));
        let mut here: Vec<Run> = Vec::new();
        while let Some(run) = pending.take().or_else(|| {
            let run = runs.get(next).copied();
            next += 1;
            run
        }) {
            if run.new >= end {
                pending = Some(run);
                break;
            }
            if run.new_end() > end {
                let len = end - run.new;
                here.push(Run { len, ..run });
                pending = Some(Run {
                    new: end,
                    old: run.old + len,
                    len: run.len - len,
                });
                break;
            }
            here.push(run);
        }
        if here.len() > RUNS {
            let mut lengths: Vec<u64> = here.iter().map(|run| run.len).collect();
            lengths.sort_unstable_by_key(|len| core::cmp::Reverse(*len));
            let least = lengths[RUNS];
            here.retain(|run| run.len > least);
        }
        if current.len() + here.len() > RUNS {
            let begun = (number * segment).min(new_len);
            out.push((start..begun, std::mem::take(&mut current)));
            start = begun;
            current = again(runs, blocks, begun, RUNS.saturating_sub(here.len()));
        }
        for run in here {
            match current.last_mut() {
                Some(last) if last.new_end() == run.new && last.old_end() == run.old => {
                    last.len += run.len;
                }
                _ => current.push(run),
            }
        }
    }
    if start < new_len {
        out.push((start..new_len, current));
    }
    out
}

/// The runs of the block that reaches over the place where a group begins; at most so many.
fn again(runs: &[Run], blocks: &NewBlocks, begun: u64, most: usize) -> Vec<Run> {
    let (from, to) = (blocks.start_of(begun), blocks.end_of(begun));
    if from >= to {
        return Vec::new();
    }
    let first = runs.partition_point(|run| run.new_end() <= from);
    let inside = runs[first..].iter().take_while(|run| run.new < to);
    let cut = inside.map(|run| {
        let (start, end) = (run.new.max(from), run.new_end().min(to));
        Run {
            new: start,
            old: run.old + (start - run.new),
            len: end - start,
        }
    });
    cut.take(most).collect()
}

/// What plans of all groups are made from.
pub(super) struct Plan<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) blocks: &'a NewBlocks,
    pub(super) programs: &'a [u64],
    pub(super) seals: &'a (Seals, Free),
    pub(super) segment_log: u8,
    pub(super) block_log: u8,
    /// A frame is closed when so many bytes are sent or differ.
    pub(super) target: u64,
}

impl Plan<'_> {
    /// Plans one group.
    pub(super) fn group(&self, real: Range<u64>, runs: Vec<Run>) -> Planned {
        let Self {
            old, new, blocks, ..
        } = *self;
        let map = AddressMap::new(runs, old.len() as u64);
        let makes = blocks.around(&real);
        let mut frames = Vec::new();
        let mut changed_pages = vec![false; old.len() / PAGE + 1];
        let (mut start, mut weight, mut literals) = (real.start, 0, 0);
        let mut at = real.start;
        let mut place = makes.start;
        while at < real.end {
            let end = (at + (1 << self.segment_log)).min(real.end);
            let part = place..blocks.end_of(end);
            let (sent, differing) = weigh(old, new, &map, &self.seals.1, &part, &mut changed_pages);
            let heavy = weight > 0 && weight + sent + differing > self.target;
            // A block that is packed in two frames is sent twice.
            let heavy = heavy && (weight > 2 * self.target || !blocks.cuts_packed(at));
            let full = literals + sent > MAX_LITERALS as u64
                || (at - start) >> self.segment_log >= SEGMENTS;
            if at > start && (heavy || full) {
                frames.push(start..at);
                (start, weight, literals) = (at, 0, 0);
            }
            weight += sent + differing;
            literals += sent;
            at = end;
            place = part.end;
        }
        frames.push(start..real.end);
        let spaces = spaces(old, new, &map, self.programs, &changed_pages);
        Planned {
            shared: Shared {
                map,
                spaces,
                seals: self.seals.0.within(real.start, real.end),
                old_len: old.len() as u64,
                block_log: self.block_log,
            },
            real,
            makes,
            frames,
        }
    }
}

/// Literal and differing bytes of a part of the new image. Marks the old pages that change.
fn weigh(
    old: &[u8],
    new: &[u8],
    map: &AddressMap,
    free: &Free,
    part: &Range<u64>,
    pages: &mut [bool],
) -> (u64, u64) {
    let (mut sent, mut differing) = (0, 0);
    let mut walk = areas(map.runs(), part);
    while let Some(area) = walk.next(map.runs()) {
        let bytes = &new[area.start as usize..area.end as usize];
        let Some(start) = area.old.map(|old| old as usize) else {
            gap_parts(bytes, |literal, _| sent += literal as u64);
            continue;
        };
        let same = &old[start..start + bytes.len()];
        let bytes = &free.as_before(bytes, same, area.start)[..];
        let mut at = 0;
        run_parts(same, bytes, |changed, equal| {
            if changed > 0 {
                let pairs = same[at..at + changed].iter().zip(&bytes[at..at + changed]);
                differing += pairs.filter(|(a, b)| a != b).count() as u64;
                let touched = (start + at) / PAGE..=(start + at + changed - 1) / PAGE;
                pages[touched].fill(true);
            }
            at += changed + equal;
        });
    }
    (sent, differing)
}

/// Where programs begin in an image.
pub(super) fn programs(image: &[u8]) -> Vec<u64> {
    (0..image.len())
        .step_by(PAGE)
        .filter(|at| image[*at..].starts_with(b"\x7fELF"))
        .map(|at| at as u64)
        .collect()
}

/// The programs that changed and are still there.
fn spaces(
    old: &[u8],
    new: &[u8],
    map: &AddressMap,
    programs: &[u64],
    changed: &[bool],
) -> Vec<Space> {
    let mut out: Vec<Space> = Vec::new();
    for start in programs {
        if out.len() == MAX_SPACES || out.last().is_some_and(|last| *start < last.old_end()) {
            continue;
        }
        let Some(was) = elf::parse(old, *start) else {
            continue;
        };
        let touched = *start as usize / PAGE..=(*start + was.len) as usize / PAGE;
        if !changed[touched].contains(&true) {
            continue;
        }
        let Some(place) = map
            .shift(*start)
            .and_then(|by| start.checked_add_signed(by))
        else {
            continue;
        };
        let Some(now) = elf::parse(new, place).filter(|now| now.machine == was.machine) else {
            continue;
        };
        let space = Space {
            old: *start,
            old_len: was.len,
            new: place,
            machine: was.machine,
            old_pieces: was.pieces,
            new_pieces: now.pieces,
            old_table: was.table,
            new_table: now.table,
        };
        if is_plain(&space) {
            out.push(space);
        }
    }
    out
}
