//! From matches to groups and frames.

use core::ops::Range;

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
    pub(super) makes: Range<u64>,
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

/// Divides the new image into groups at multiples of `segment`, cutting runs that cross.
pub(super) fn groups(runs: &[Run], new_len: u64, segment: u64) -> Vec<(Range<u64>, Vec<Run>)> {
    let mut out = Vec::new();
    let mut current: Vec<Run> = Vec::new();
    let mut start = 0;
    let mut next = 0;
    let mut pending: Option<Run> = None;
    for number in 0..new_len.div_ceil(segment) {
        let end = ((number + 1) * segment).min(new_len);
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

/// Plans one group.
pub(super) fn plan(
    old: &[u8],
    new: &[u8],
    makes: Range<u64>,
    runs: Vec<Run>,
    programs: &[u64],
    seals: &(Seals, Free),
    (segment_log, block_log, target): (u8, u8, u64),
) -> Planned {
    let map = AddressMap::new(runs, old.len() as u64);
    let mut frames = Vec::new();
    let mut changed_pages = vec![false; old.len() / PAGE + 1];
    let (mut start, mut weight, mut literals) = (makes.start, 0, 0);
    let mut at = makes.start;
    while at < makes.end {
        let end = (at + (1 << segment_log)).min(makes.end);
        let (sent, differing) = weigh(old, new, &map, &seals.1, &(at..end), &mut changed_pages);
        let heavy = weight > 0 && weight + sent + differing > target;
        let full = literals + sent > MAX_LITERALS as u64 || (at - start) >> segment_log >= SEGMENTS;
        if at > start && (heavy || full) {
            frames.push(start..at);
            (start, weight, literals) = (at, 0, 0);
        }
        weight += sent + differing;
        literals += sent;
        at = end;
    }
    frames.push(start..makes.end);
    let spaces = spaces(old, new, &map, programs, &changed_pages);
    Planned {
        shared: Shared {
            map,
            spaces,
            seals: seals.0.within(makes.start, makes.end),
            old_len: old.len() as u64,
            block_log,
        },
        makes,
        frames,
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
