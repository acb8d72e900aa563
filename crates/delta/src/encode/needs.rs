//! Which blocks of the old image a device has to look into. The others need not be told apart.

use core::ops::Range;

use crate::blocks::{Block, Blocks, NewBlocks, OldBlocks, Origin, Use};
use crate::codec::AHEAD;
use crate::frame::areas;
use crate::model::guess::MARGIN;

use super::frame::EQUAL;
use super::plan::Planned;

/// Places of the unpacked old image that are read.
struct Needs {
    ranges: Vec<Range<u64>>,
}

impl Needs {
    fn add(&mut self, start: u64, end: u64) {
        let margin = MARGIN as u64;
        self.ranges
            .push(start.saturating_sub(margin)..end.saturating_add(margin));
    }

    fn finish(&mut self) {
        self.ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        self.ranges = merged;
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        let next = self
            .ranges
            .partition_point(|needed| needed.end <= range.start);
        let first = self.ranges.get(next);
        range.start < range.end && first.is_some_and(|needed| needed.start < range.end)
    }
}

/// The old image's blocks with all those merged that no frame looks into.
pub(super) fn reduce(old: &OldBlocks, new: &NewBlocks, planned: &[Planned]) -> OldBlocks {
    let mut needs = Needs { ranges: Vec::new() };
    for group in planned {
        look(&mut needs, new, group);
    }
    needs.finish();
    let mut list: Vec<Block<Use>> = Vec::new();
    for block in &old.list {
        if needs.touches(&(block.place..block.place_end())) {
            list.push(*block);
            continue;
        }
        match list.last_mut() {
            Some(last)
                if last.kind == Use::Opaque && !needs.touches(&(last.place_end()..block.place)) =>
            {
                last.packed = block.real_end() - last.real;
                last.plain = block.place_end() - last.place;
            }
            _ => list.push(Block {
                kind: Use::Opaque,
                ..*block
            }),
        }
    }
    Blocks { list, ..*old }
}

/// Where the bytes end that codecs see behind the packed blocks before `next`.
fn seen_until(new: &NewBlocks, next: usize, at: u64) -> u64 {
    let before = new.list[..next].iter().rev();
    let near = before.take_while(|block| block.place_end() + AHEAD as u64 > at);
    let seen = near.map(|block| match block.kind {
        Origin::Packed(way) => block.place_end() + way.tail.ahead() as u64,
        Origin::Copied(_) => 0,
    });
    seen.max().unwrap_or(0)
}

fn look(needs: &mut Needs, new: &NewBlocks, group: &Planned) {
    let runs = group.shared.map.runs();
    let mut walk = areas(runs, &group.makes);
    while let Some(area) = walk.next(runs) {
        let len = area.end - area.start;
        let Some(old) = area.old else {
            // A gap is compared with what lies beside it.
            let next = runs.partition_point(|run| run.new < area.end);
            if let Some(before) = next.checked_sub(1).and_then(|index| runs.get(index)) {
                needs.add(before.old_end(), before.old_end() + len);
            }
            if let Some(after) = runs.get(next) {
                needs.add(after.old.saturating_sub(len), after.old);
            }
            continue;
        };
        // What lies in copied blocks is not looked at.
        let mut at = area.start;
        let mut next = new.at_place(at);
        while at < area.end {
            let copied = |block: &&Block<Origin>| {
                matches!(block.kind, Origin::Copied(_)) && block.plain >= 2 * EQUAL as u64
            };
            let block = new.list.get(next);
            let inside = block.filter(|block| block.place <= at);
            let end = match (inside, block) {
                (Some(block), _) => block.place_end(),
                (None, Some(block)) => block.place,
                (None, None) => area.end,
            };
            let end = end.min(area.end);
            let needed = if inside.filter(copied).is_none() {
                end
            } else {
                seen_until(new, next, at).min(end)
            };
            if needed > at {
                needs.add(old + (at - area.start), old + (needed - area.start));
            }
            next += usize::from(inside.is_some());
            at = end;
        }
    }
}
