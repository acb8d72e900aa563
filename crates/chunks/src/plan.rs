//! From what an image has and what the slots hold to what is copied and what is fetched.

use core::ops::Range;

use crate::MAX_MISSING;
use crate::error::{ChunkError, limit};
use crate::held::{Held, Place};
use crate::index::{Group, Index};
use crate::list::{list_range, read_list};

/// Where bytes of the image come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// They are zeros.
    Zeros,
    /// They lie in a slot.
    Slot(Place),
    /// They are one chunk of the pack.
    Pack {
        /// Where it begins in the data, in bytes.
        offset: u64,
        /// Its length there, in bytes.
        len: u32,
    },
}

/// Some bytes of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where they begin, in bytes.
    pub place: u64,
    /// How many.
    pub len: u64,
    /// Where they come from.
    pub from: From,
}

/// How an image is made, from some byte on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The parts, in order; the first one may begin earlier.
    pub parts: Vec<Part>,
    /// Bytes of the pack that are fetched.
    pub fetched: u64,
}

/// Groups that end after byte `from` and that neither slot holds, by their numbers.
///
/// # Errors
/// They have more chunks than a device fetches.
pub fn missing(index: &Index, held: &Held, from: u64) -> Result<Vec<usize>, ChunkError> {
    let mut chunks = 0;
    let mut found = Vec::new();
    for (number, group) in index.groups().iter().enumerate() {
        let wanted = group.place + u64::from(group.plain) > from && group.packed > 0;
        if wanted && held.group(group.key, group.place).is_none() {
            chunks += u64::from(group.chunks);
            limit("missing chunks", chunks, MAX_MISSING as u64)?;
            found.push(number);
        }
    }
    Ok(found)
}

/// Plans how to make the image from byte `from` on. `lists` has the lists of the `missing` groups, one after
/// another.
///
/// # Errors
/// A list is not that of its group.
pub fn plan(
    index: &Index,
    held: &Held,
    from: u64,
    missing: &[usize],
    mut lists: &[u8],
) -> Result<Plan, ChunkError> {
    let mut plan = Plan::default();
    let mut missing = missing.iter().copied().peekable();
    let mut chunks = Vec::new();
    let pack_start = index.pack_start();
    for (number, group) in index.groups().iter().enumerate() {
        if missing.next_if_eq(&number).is_some() {
            let range = list_range(index, number).unwrap_or(0..0);
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let (list, rest) = lists
                .split_at_checked(len)
                .ok_or(ChunkError::Damaged("the lists end early"))?;
            lists = rest;
            chunks.clear();
            read_list(index, group, list, &mut chunks)?;
            let mut place = group.place;
            let mut offset = pack_start + group.pack_place;
            for chunk in &chunks {
                let source = match (chunk.packed, held.chunk(chunk.key, place)) {
                    (0, _) => From::Zeros,
                    (_, Some(there)) => From::Slot(there),
                    (len, None) => From::Pack { offset, len },
                };
                plan.add(place, chunk.plain, source, from);
                place += u64::from(chunk.plain);
                offset += u64::from(chunk.packed);
            }
        } else {
            plan.whole(group, held, from)?;
        }
    }
    Ok(plan)
}

impl Plan {
    /// A group that needs no list.
    fn whole(&mut self, group: &Group, held: &Held, from: u64) -> Result<(), ChunkError> {
        if group.place + u64::from(group.plain) <= from {
            return Ok(());
        }
        let source = match (group.packed, held.group(group.key, group.place)) {
            (0, _) => From::Zeros,
            (_, Some(there)) => From::Slot(there),
            (_, None) => return Err(ChunkError::Damaged("a group is missed and has no list")),
        };
        self.add(group.place, group.plain, source, from);
        Ok(())
    }

    fn add(&mut self, place: u64, len: u32, source: From, from: u64) {
        let len = u64::from(len);
        if place + len <= from {
            return;
        }
        if let From::Pack { len, .. } = source {
            self.fetched += u64::from(len);
        }
        if let Some(last) = self.parts.last_mut()
            && goes_on(last, source)
        {
            last.len += len;
            return;
        }
        self.parts.push(Part {
            place,
            len,
            from: source,
        });
    }

    /// Which ranges of the data are needed for the parts from number `first` on, those that touch as one.
    #[must_use]
    pub fn ranges(&self, first: usize) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for part in self.parts.get(first..).unwrap_or_default() {
            let From::Pack { offset, len } = part.from else {
                continue;
            };
            let end = offset + u64::from(len);
            match ranges.last_mut() {
                Some(last) if last.end == offset => last.end = end,
                _ => ranges.push(offset..end),
            }
        }
        ranges
    }
}

/// Whether `source` lies right behind the part's.
fn goes_on(last: &Part, source: From) -> bool {
    match (last.from, source) {
        (From::Zeros, From::Zeros) => true,
        (From::Slot(before), From::Slot(next)) => {
            before.slot == next.slot && before.offset + last.len == next.offset
        }
        _ => false,
    }
}
