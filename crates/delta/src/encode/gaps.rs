//! Short matches near their neighbours, and the bytes between matches that nearly match.

use core::ops::Range;

use super::index::Index;
use super::scan::{Match, Scanner, on, push};

/// The shortest gap that is searched again.
const SHORTEST: usize = 16;
/// The longest one, and the longest stretch of the old image that is searched for it.
const LONGEST: usize = 4 << 20;
/// How far around the neighbours' ends the search goes at least, and at most.
const AROUND: (usize, usize) = (4096, 65_536);

/// Neighbourhoods that fit are indexed in tiles of this size, two at a time, so that an index
/// serves the next gaps too.
const TILE: usize = 64 << 10;
/// So many indices are kept: matches jump to and fro between a few places.
const KEPT: usize = 24;

/// Indices of parts of the old image, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Neighbourhoods {
    kept: Vec<(Range<usize>, Index)>,
    /// One for a larger range; it takes too much memory to keep many.
    large: Option<(Range<usize>, Index)>,
}

impl Neighbourhoods {
    /// An index for the range, unless it costs more than `budget` bytes to make.
    fn get(
        &mut self,
        old: &[u8],
        (from, to): (usize, usize),
        budget: &mut usize,
    ) -> Option<(&Index, usize)> {
        let tile = from / TILE * TILE;
        let wanted = tile..to.max(tile + 2 * TILE).min(old.len());
        if wanted.len() > 4 * TILE {
            let mut large = self.large.take().unwrap_or_else(|| (0..0, Index::empty()));
            if large.0 != wanted {
                *budget = budget.checked_sub(wanted.len())?;
                large.1.local(old, wanted.start, wanted.end);
                large.0 = wanted;
            }
            let (range, index) = self.large.insert(large);
            return Some((index, range.end));
        }
        let known = self.kept.iter().position(|(range, _)| *range == wanted);
        let entry = if let Some(known) = known {
            self.kept.remove(known)
        } else {
            *budget = budget.checked_sub(wanted.len())?;
            let mut index = if self.kept.len() < KEPT {
                Index::empty()
            } else {
                self.kept.remove(0).1
            };
            index.local(old, wanted.start, wanted.end);
            (wanted, index)
        };
        self.kept.push(entry);
        self.kept.last().map(|(range, index)| (index, range.end))
    }
}

/// Searches the gaps of `matches` in the old bytes around their neighbours; stops when `budget`
/// bytes were indexed.
pub(super) fn fill(
    old: &[u8],
    new: &[u8],
    matches: &[Match],
    places: &mut Neighbourhoods,
    mut budget: usize,
) -> Vec<Match> {
    let mut out = Vec::with_capacity(matches.len() * 2);
    let mut before: Option<&Match> = None;
    for this in matches {
        if let Some(before) = before {
            let (start, end) = (before.end(), this.new);
            let around = neighbourhood(before, this, old.len());
            if let Some((index, to)) = around
                .filter(|_| end - start >= SHORTEST)
                .and_then(|around| places.get(old, around, &mut budget))
            {
                let mut scanner = Scanner {
                    old: &old[..to],
                    new,
                    index,
                    margin: 10,
                    budget: LONGEST * 4,
                };
                scanner.scan(start, end, Some(before.diagonal), &mut out);
            }
        }
        push(&mut out, *this);
        before = Some(this);
    }
    out
}

/// The old bytes in which a gap is searched.
fn neighbourhood(before: &Match, after: &Match, old_len: usize) -> Option<(usize, usize)> {
    let gap = after.new - before.end();
    if gap > LONGEST {
        return None;
    }
    let around = (gap / 2).clamp(AROUND.0, AROUND.1);
    let from = on(before.diagonal, before.end())?;
    let to = on(after.diagonal, after.new)?;
    let to = if from <= to && to - from < LONGEST {
        to
    } else {
        from + gap
    };
    let (from, to) = (from.saturating_sub(around), (to + around).min(old_len));
    (from + SHORTEST <= to).then_some((from, to))
}

/// How far into a gap the search for more equal bytes than others goes.
const FARTHEST: usize = 1 << 20;
/// It ends where so many more bytes differed.
const GIVE_UP: i64 = 600;

/// Prolongs matches into the gaps between them, as far as more bytes are equal than not.
pub(super) fn extend(old: &[u8], new: &[u8], matches: &[Match]) -> Vec<Match> {
    let mut out: Vec<Match> = Vec::with_capacity(matches.len());
    for index in 0..=matches.len() {
        let after = matches.get(index).copied();
        let start = out.last().map_or(0, Match::end);
        let end = after.map_or(new.len(), |m| m.new);
        let gap = end - start;
        let same =
            |diagonal: i64, at: usize| on(diagonal, at).and_then(|at| old.get(at)) == new.get(at);
        let diagonal = out.last().map(|m| m.diagonal);
        let mut front = diagonal.map_or(0, |d| {
            reach(gap, |k| {
                on(d, start + k)
                    .is_some_and(|o| o < old.len())
                    .then(|| same(d, start + k))
            })
        });
        let mut back = after.map_or(0, |m| {
            let place = |k: usize| end - 1 - k;
            reach(gap, |k| {
                on(m.diagonal, place(k))
                    .is_some_and(|o| o < old.len())
                    .then(|| same(m.diagonal, place(k)))
            })
        });
        if let (Some(d), Some(m)) = (diagonal, after) {
            if d == m.diagonal {
                (front, back) = (gap, 0);
            } else if front + back > gap {
                front = divide(start, front, front + back - gap, |at| {
                    i64::from(same(d, at)) - i64::from(same(m.diagonal, at))
                });
                back = gap - front;
            }
        }
        if let Some(last) = out.last_mut() {
            last.len += front;
        }
        if let Some(mut m) = after {
            m.new -= back;
            m.len += back;
            push(&mut out, m);
        }
    }
    out
}

/// The length to which it pays to prolong a match. A byte that differs from the old one costs
/// about as much as two literals when nothing is known about it; most of them are part of a
/// pointer, and cost nothing.
fn reach(gap: usize, same: impl Fn(usize) -> Option<bool>) -> usize {
    let (mut score, mut best, mut len) = (0_i64, 0_i64, 0);
    for k in 0..gap.min(FARTHEST) {
        let Some(same) = same(k) else { break };
        score += if same { 2 } else { -1 };
        if score > best {
            (best, len) = (score, k + 1);
        }
        if score < best - GIVE_UP {
            break;
        }
    }
    len
}

/// Where two prolonged matches that overlap by `overlap` bytes are parted best.
fn divide(start: usize, front: usize, overlap: usize, gain: impl Fn(usize) -> i64) -> usize {
    let first = front - overlap;
    let (mut score, mut best, mut len) = (0_i64, 0_i64, 0);
    for k in 0..overlap {
        score += gain(start + first + k);
        if score > best {
            (best, len) = (score, k + 1);
        }
    }
    first + len
}
