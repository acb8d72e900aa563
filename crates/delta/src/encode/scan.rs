//! Exact matches: the backbone of the runs.

use super::index::{Index, eight, is_constant};

/// A stretch of the new image and how far the old bytes lie from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) new: usize,
    pub(super) len: usize,
    /// Old offset less new offset.
    pub(super) diagonal: i64,
}

impl Match {
    pub(super) fn end(&self) -> usize {
        self.new + self.len
    }
}

/// The old offset on a diagonal.
pub(super) fn on(diagonal: i64, new: usize) -> Option<usize> {
    usize::try_from(new as i64 + diagonal).ok()
}

/// How many bytes are equal from the front.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    let most = a.len().min(b.len());
    let mut at = 0;
    while at + 8 <= most {
        let differ = eight(a, at) ^ eight(b, at);
        if differ != 0 {
            return at + (differ.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < most && a[at] == b[at] {
        at += 1;
    }
    at
}

/// How many bytes are equal from the back.
fn common_back(a: &[u8], b: &[u8]) -> usize {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
}

/// Appends, or prolongs the last one.
pub(super) fn push(out: &mut Vec<Match>, next: Match) {
    match out.last_mut() {
        Some(last) if last.diagonal == next.diagonal && last.end() == next.new => {
            last.len += next.len;
        }
        _ => out.push(next),
    }
}

/// A competitor on another diagonal is compared over so many bytes.
const COMPARED: usize = 4096;

/// Looks for matches.
pub(super) struct Scanner<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) index: &'a Index,
    /// Another diagonal must win by so many bytes.
    pub(super) margin: usize,
    /// So many bytes may still be compared with care.
    pub(super) budget: usize,
}

impl Scanner<'_> {
    /// Appends the matches inside `start..end` of the new image, beginning on `diagonal`.
    pub(super) fn scan(
        &mut self,
        start: usize,
        end: usize,
        mut diagonal: Option<i64>,
        out: &mut Vec<Match>,
    ) {
        let window = self.index.window();
        let mut at = start;
        let mut done = start;
        while at + window <= end {
            if let Some(len) = diagonal.and_then(|d| self.stay(d, at, end))
                && len >= window
                && let Some(diagonal) = diagonal
            {
                let back = self.back(diagonal, done, at);
                let new = at - back;
                push(
                    out,
                    Match {
                        new,
                        len: len + back,
                        diagonal,
                    },
                );
                at += len;
                done = at;
                continue;
            }
            if is_constant(self.new, at, window) {
                at = self.skip_constant(at, end, window, done);
                continue;
            }
            if let Some(found) = self.best(at, done, end)
                && diagonal.is_none_or(|d| self.wins(d, &found))
            {
                at = found.end();
                done = at;
                diagonal = Some(found.diagonal);
                push(out, found);
                continue;
            }
            at += if self.budget == 0 { 8 } else { 1 };
        }
    }

    fn stay(&self, diagonal: i64, at: usize, end: usize) -> Option<usize> {
        let old = self.old.get(on(diagonal, at)?..)?;
        Some(common(&self.new[at..end], old))
    }

    fn back(&self, diagonal: i64, done: usize, at: usize) -> usize {
        let Some(old) = on(diagonal, at) else {
            return 0;
        };
        common_back(&self.new[done..at], &self.old[..old])
    }

    /// The next place whose window is not constant, or half a window before it.
    fn skip_constant(&self, at: usize, end: usize, window: usize, done: usize) -> usize {
        let byte = self.new[at];
        let mut stop = at + window;
        while stop < end && self.new[stop] == byte {
            stop += 1;
        }
        // The window that ends behind the first other byte.
        (stop + 1 - window).max(at + 1).max(done)
    }

    fn best(&mut self, at: usize, done: usize, end: usize) -> Option<Match> {
        let mut best: Option<Match> = None;
        for old in self.index.find(self.new, at) {
            if old + 8 > self.old.len() || eight(self.new, at) != eight(self.old, old) {
                continue;
            }
            let len = common(&self.new[at..end], &self.old[old..]);
            if len < self.index.window() {
                continue;
            }
            let back = common_back(&self.new[done..at], &self.old[..old]);
            self.budget = self.budget.saturating_sub(len + back);
            if best.is_none_or(|best| len + back > best.len) {
                best = Some(Match {
                    new: at - back,
                    len: len + back,
                    diagonal: old as i64 - at as i64,
                });
            }
        }
        best
    }

    /// Whether to leave `diagonal` for `found`.
    fn wins(&mut self, diagonal: i64, found: &Match) -> bool {
        let len = found.len.min(COMPARED);
        let new = &self.new[found.new..found.new + len];
        let Some(old) = on(diagonal, found.new).and_then(|old| self.old.get(old..)) else {
            return true;
        };
        self.budget = self.budget.saturating_sub(len);
        let equal = new.iter().zip(old).filter(|(a, b)| a == b).count();
        len >= equal + self.margin
    }
}
