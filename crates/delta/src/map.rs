//! Where the old image's bytes went.

use crate::coding::bits::Bits;
use crate::coding::chance::Chance;
use crate::coding::numbers::Numbers;
use crate::error::DeltaError;

/// A stretch of the new image that resembles a stretch of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where it begins in the new image.
    pub(crate) new: u64,
    /// Where it begins in the old image.
    pub(crate) old: u64,
    /// Length in bytes, never 0.
    pub(crate) len: u64,
}

impl Run {
    pub(crate) fn new_end(&self) -> u64 {
        self.new + self.len
    }

    pub(crate) fn old_end(&self) -> u64 {
        self.old + self.len
    }

    /// How far its bytes moved. Both offsets are below 2^48.
    pub(crate) fn shift(&self) -> i64 {
        self.new.cast_signed() - self.old.cast_signed()
    }
}

/// A stretch of the old image and how far it moved.
#[derive(Debug, Clone, Copy)]
struct Moved {
    start: u64,
    end: u64,
    shift: i64,
}

/// Bytes beside a stretch that moved are taken to have moved with it up to this distance.
const NEAR: u64 = 4096;
/// Old addresses are sorted into buckets of at least 2^16 bytes, so that a look-up is short, and
/// into at most 2^16 buckets, whatever the image.
const BUCKET_BITS: u32 = 16;

/// All runs of a group, and the way from an old address to a new one.
#[derive(Debug, Default)]
pub(crate) struct AddressMap {
    runs: Vec<Run>,
    moved: Vec<Moved>,
    buckets: Vec<u32>,
    bucket_bits: u32,
}

impl AddressMap {
    /// Sorts `runs`, which are in the order of the new image.
    pub(crate) fn new(runs: Vec<Run>, old_len: u64) -> Self {
        let mut moved: Vec<Moved> = runs
            .iter()
            .map(|run| Moved {
                start: run.old,
                end: run.old_end(),
                shift: run.shift(),
            })
            .collect();
        // Longer ones first, then the earlier copy: a total order, equal on both sides.
        moved.sort_unstable_by_key(|m| (m.start, core::cmp::Reverse(m.end), m.shift));
        // What is used twice counts for its first use.
        let mut kept = 0_usize;
        let mut end = 0;
        for index in 0..moved.len() {
            let Some(mut this) = moved.get(index).copied() else {
                break;
            };
            this.start = this.start.max(end);
            if this.start < this.end {
                end = this.end;
                if let Some(place) = moved.get_mut(kept) {
                    *place = this;
                    kept += 1;
                }
            }
        }
        moved.truncate(kept);
        let mut buckets = Vec::new();
        let digits = u64::BITS - old_len.leading_zeros();
        let bucket_bits = digits.saturating_sub(16).max(BUCKET_BITS);
        if !moved.is_empty() {
            let count = (old_len >> bucket_bits) + 2;
            let mut index = 0_u32;
            let mut walk = moved.iter().peekable();
            for bucket in 0..count {
                while walk.next_if(|m| m.start >> bucket_bits < bucket).is_some() {
                    index += 1;
                }
                buckets.push(index);
            }
        }
        Self {
            runs,
            moved,
            buckets,
            bucket_bits,
        }
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How far the byte at the old address `at` moved, as far as that is known.
    pub(crate) fn shift(&self, at: u64) -> Option<i64> {
        let bucket = usize::try_from(at >> self.bucket_bits).ok()?;
        let from = usize::try_from(*self.buckets.get(bucket)?).ok()?;
        let to = usize::try_from(*self.buckets.get(bucket + 1)?).ok()?;
        let inside = self.moved.get(from..to)?;
        let next = from + inside.partition_point(|m| m.start <= at);
        let before = next.checked_sub(1).and_then(|index| self.moved.get(index));
        let after = self.moved.get(next);
        let below = before.map_or(u64::MAX, |m| (at + 1).saturating_sub(m.end));
        let above = after.map_or(u64::MAX, |m| m.start - at);
        if below <= NEAR && below <= above {
            before.map(|m| m.shift)
        } else if above <= NEAR {
            after.map(|m| m.shift)
        } else {
            None
        }
    }
}

/// Remembered distances between old and new.
const RECENT: usize = 7;

/// What is known about runs while they are coded.
#[derive(Debug)]
struct RunModel {
    gap: [Numbers; 2],
    len: [Numbers; 2],
    which: [[Chance; 8]; 2],
    moved: Numbers,
    recent: [i64; RECENT],
    had_gap: usize,
    spare: Chance,
}

impl RunModel {
    fn new() -> Self {
        Self {
            gap: [Numbers::new(), Numbers::new()],
            len: [Numbers::new(), Numbers::new()],
            which: [[Chance::EVEN; 8]; 2],
            moved: Numbers::new(),
            recent: [0; RECENT],
            had_gap: 0,
            spare: Chance::EVEN,
        }
    }

    /// Codes the distance to the run before, the length less one, and the shift.
    fn code<B: Bits>(&mut self, bits: &mut B, gap: u64, len: u64, shift: i64) -> (u64, u64, i64) {
        let [no, yes] = &mut self.gap;
        let gap = if self.had_gap == 1 { yes } else { no }.code(bits, gap);
        self.had_gap = usize::from(gap > 0);
        let wanted = self
            .recent
            .iter()
            .position(|known| *known == shift)
            .map_or(0, |index| index + 1);
        let mut none = [Chance::EVEN; 8];
        let tree = self.which.get_mut(self.had_gap).unwrap_or(&mut none);
        let mut node = 1_usize;
        for place in (0..3).rev() {
            let chance = tree.get_mut(node).unwrap_or(&mut self.spare);
            let bit = bits.bit((wanted >> place) & 1 == 1, chance.get());
            chance.learn(bit, 60);
            node = node * 2 + usize::from(bit);
        }
        let index = (node % 8).checked_sub(1);
        let [last, ..] = self.recent;
        let shift = match index.and_then(|index| self.recent.get(index)) {
            Some(known) => *known,
            None => last.wrapping_add(self.moved.code_signed(bits, shift.wrapping_sub(last))),
        };
        let end = index.map_or(RECENT, |index| index + 1);
        if let Some(part) = self.recent.get_mut(..end) {
            part.rotate_right(1);
        }
        if let Some(first) = self.recent.first_mut() {
            *first = shift;
        }
        let [no, yes] = &mut self.len;
        let len = if index.is_some() { yes } else { no }.code(bits, len);
        (gap, len, shift)
    }
}

/// Writes the runs that begin in a group whose first byte is `start`.
pub(crate) fn write_runs<B: Bits>(bits: &mut B, runs: &[Run], start: u64) {
    let mut numbers = Numbers::new();
    numbers.code(bits, runs.len() as u64);
    let mut model = RunModel::new();
    let mut end = start;
    for run in runs {
        model.code(bits, run.new - end, run.len - 1, run.shift());
        end = run.new_end();
    }
}

/// Reads what [`write_runs`] wrote, for a group that covers `start..end` of the new image.
pub(crate) fn read_runs<B: Bits>(
    bits: &mut B,
    start: u64,
    end: u64,
    old_len: u64,
    most: usize,
) -> Result<Vec<Run>, DeltaError> {
    let count = Numbers::new().code(bits, 0);
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= most)
        .ok_or(DeltaError::TooMany {
            what: "runs",
            found: count,
            limit: most as u64,
        })?;
    let mut runs = Vec::with_capacity(count);
    let mut model = RunModel::new();
    let mut place = start;
    for _ in 0..count {
        let (gap, len, shift) = model.code(bits, 0, 0, 0);
        let run = read_run(place, gap, len, shift)
            .filter(|run| run.new_end() <= end && run.old_end() <= old_len);
        let run = run.ok_or(DeltaError::Damaged("a run leaves its image"))?;
        place = run.new_end();
        runs.push(run);
    }
    Ok(runs)
}

fn read_run(place: u64, gap: u64, len: u64, shift: i64) -> Option<Run> {
    let new = place.checked_add(gap)?;
    let old = new.checked_add_signed(shift.checked_neg()?)?;
    let len = len.checked_add(1)?;
    new.checked_add(len)?;
    old.checked_add(len)?;
    Some(Run { new, old, len })
}
