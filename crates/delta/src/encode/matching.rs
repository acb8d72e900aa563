//! Where the bytes of the new image come from.

use crate::error::DeltaError;
use crate::map::Run;

use super::gaps::Neighbourhoods;
use super::index::Index;
use super::scan::{Match, Scanner};
use super::work::{Work, each};
use super::{Options, Task, frame, gaps, scan};

/// A new image is searched in parts of this size, each by one thread.
const PART: usize = 8 << 20;
/// So many bytes are compared with care for each part; then the search gets coarse.
const COMPARED: usize = 1 << 30;
/// So many old bytes are indexed for the gaps of each part; then gaps stay as they are.
const INDEXED: usize = 512 << 20;
/// The same for images that have little in common, where it would take too long and bring little.
const INDEXED_WHEN_FAR: usize = 48 << 20;
/// Images have little in common when more than one byte in so many is without a match.
const FAR: usize = 12;
/// Finds where the bytes of the new image come from. `anchors` are known and stay.
pub(super) fn match_images(
    old: &[u8],
    new: &[u8],
    anchors: &[Match],
    options: &Options,
    work: &Work<'_>,
) -> Result<Vec<Match>, DeltaError> {
    let index = Index::whole(old, options.index_bytes);
    let count = new.len().div_ceil(PART);
    let parts = each(
        work,
        Task::Match,
        count,
        || (),
        |(), part| {
            let (start, end) = (part * PART, (part * PART + PART).min(new.len()));
            let mut out = Vec::new();
            let mut scanner = Scanner {
                old,
                new,
                index: &index,
                margin: 16,
                budget: COMPARED,
            };
            scan_between(&mut scanner, anchors, start, end, &mut out);
            Ok(out)
        },
    )?;
    drop(index);
    let matched: usize = parts.iter().flatten().map(|m| m.len).sum();
    let far = (new.len() - matched) * FAR > new.len();
    let budget = if far { INDEXED_WHEN_FAR } else { INDEXED };
    let parts = each(
        work,
        Task::Match,
        count,
        Neighbourhoods::default,
        |local, part| {
            // The gap between two parts belongs to the second.
            let last = part.checked_sub(1).and_then(|before| parts[before].last());
            let mut own: Vec<Match> = last.into_iter().copied().collect();
            own.extend_from_slice(&parts[part]);
            let mut filled = gaps::fill(old, new, &own, local, budget);
            if let (Some(last), Some(first)) = (last, filled.first_mut()) {
                // The last match of the part before stands there already; the first one of this part
                // may have prolonged it.
                first.new += last.len;
                first.len -= last.len;
            }
            Ok(filled)
        },
    )?;
    let mut matches = Vec::new();
    for part in parts.into_iter().flatten().filter(|part| part.len > 0) {
        scan::push(&mut matches, part);
    }
    Ok(gaps::extend(old, new, &matches))
}

/// Searches a part of the new image, as far as no anchor covers it.
fn scan_between(
    scanner: &mut Scanner<'_>,
    anchors: &[Match],
    start: usize,
    end: usize,
    out: &mut Vec<Match>,
) {
    let first = anchors.partition_point(|anchor| anchor.end() <= start);
    let mut at = start;
    for anchor in anchors[first..]
        .iter()
        .take_while(|anchor| anchor.new < end)
    {
        let from = anchor.new.max(start);
        let diagonal = out.last().map_or(0, |last| last.diagonal);
        scanner.scan(at, from, Some(diagonal), out);
        at = anchor.end().min(end);
        let known = Match {
            new: from,
            len: at - from,
            ..*anchor
        };
        scan::push(out, known);
    }
    let diagonal = out.last().map_or(0, |last| last.diagonal);
    scanner.scan(at, end, Some(diagonal), out);
}

/// Literal bytes between the runs, without long stretches of zeros.
pub(super) fn literals(new: &[u8], runs: &[Run], most: u64) -> u64 {
    let mut sum = 0;
    let mut at = 0;
    for run in runs {
        frame::gap_parts(&new[at..run.new as usize], |literal, _| {
            sum += literal as u64;
        });
        at = run.new_end() as usize;
    }
    frame::gap_parts(&new[at..], |literal, _| sum += literal as u64);
    sum.min(most)
}
