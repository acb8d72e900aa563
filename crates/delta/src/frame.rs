//! A frame: a few segments of the new image, made from old bytes and what is sent.
//!
//! ```text
//! literals      how many bytes, compressed length, one zstd frame; only a 0 when there are none,
//!               or when they are among the coded bits
//! coded bits    whether literals are among them
//!               for each gap between runs: literal bytes, zero bytes, …
//!               for each run: changed bytes with what they became, equal bytes, …
//! ```

use core::ops::Range;

use crate::coding::bits::{BitReader, Bits};
use crate::coding::numbers::Numbers;
use crate::error::DeltaError;
use crate::limits::{BESIDE, MAX_LITERALS, MAX_READ};
use crate::map::{AddressMap, Run};
use crate::model::guess::{Geography, MARGIN};
use crate::model::literal::Literals;
use crate::model::surprise::Surprise;
use crate::seal::Seals;
use crate::source::Source;
use crate::space::Space;
use crate::varint::Cursor;

/// What all frames of a group share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) map: AddressMap,
    pub(crate) spaces: Vec<Space>,
    pub(crate) seals: Seals,
    pub(crate) old_len: u64,
    pub(crate) block_log: u8,
}

impl Shared {
    pub(crate) fn geography(&self) -> Geography<'_> {
        Geography {
            map: &self.map,
            spaces: &self.spaces,
            old_len: self.old_len,
            block_log: self.block_log,
        }
    }
}

/// Lengths of the parts of gaps and runs.
#[derive(Debug)]
pub(crate) struct Lengths {
    literal: Numbers,
    zero: Numbers,
    changed: Numbers,
    equal: Numbers,
}

impl Lengths {
    pub(crate) fn new() -> Self {
        Self {
            literal: Numbers::new(),
            zero: Numbers::new(),
            changed: Numbers::new(),
            equal: Numbers::new(),
        }
    }

    /// Codes a pair: bytes that are sent, then bytes that are not. The second is left out when
    /// the first fills all that is `left`.
    pub(crate) fn code<B: Bits>(
        &mut self,
        bits: &mut B,
        in_run: bool,
        left: u64,
        wanted: (u64, u64),
    ) -> (u64, u64) {
        let (first, second) = if in_run {
            (&mut self.changed, &mut self.equal)
        } else {
            (&mut self.literal, &mut self.zero)
        };
        let sent = first.code(bits, wanted.0);
        let other = if sent < left {
            second.code(bits, wanted.1)
        } else {
            0
        };
        (sent, other)
    }
}

/// A gap or a run, as far as it lies in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    /// Which bytes of the new image.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the old bytes lie, for a run.
    pub(crate) old: Option<u64>,
}

/// The areas of `makes`, in order.
pub(crate) fn areas(runs: &[Run], makes: &Range<u64>) -> Areas {
    Areas {
        next: runs.partition_point(|run| run.new_end() <= makes.start),
        place: makes.start,
        end: makes.end,
    }
}

/// The old bytes beside a gap: those that follow the run before it, and those that precede the
/// run after it. They often say what a gap has nearly.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    before: Vec<u8>,
    after: Vec<u8>,
    start: u64,
    end: u64,
}

impl Beside {
    /// Looks around the gap `area`. `read` gives old bytes.
    pub(crate) fn look<E>(
        &mut self,
        area: &Area,
        runs: &[Run],
        old_len: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = runs.partition_point(|run| run.new < area.end);
        let part = (area.end - area.start).min(BESIDE as u64);
        self.start = area.start;
        self.end = area.end;
        let mut get = |out: &mut Vec<u8>, run: Option<&Run>, from: u64, to: u64| {
            out.clear();
            let Some(shift) = run.map(Run::shift) else {
                return Ok(());
            };
            let old = |new: u64| new.checked_add_signed(-shift).filter(|old| *old <= old_len);
            if let Some((from, to)) = old(from).zip(old(to)) {
                out.resize(usize::try_from(to - from).unwrap_or(0), 0);
                read(from, out)?;
            }
            Ok(())
        };
        let before = next.checked_sub(1).and_then(|index| runs.get(index));
        get(&mut self.before, before, area.start, area.start + part)?;
        get(&mut self.after, runs.get(next), area.end - part, area.end)
    }

    /// What both sides say about the byte at `place` of the new image.
    pub(crate) fn guesses(&self, place: u64) -> [Option<u8>; 2] {
        let before = usize::try_from(place - self.start).ok();
        let after = usize::try_from(self.end - place).ok();
        let after = after.and_then(|back| self.after.len().checked_sub(back));
        [
            before.and_then(|index| self.before.get(index).copied()),
            after.and_then(|index| self.after.get(index).copied()),
        ]
    }
}

/// Goes through the areas of a frame.
#[derive(Debug)]
pub(crate) struct Areas {
    next: usize,
    place: u64,
    end: u64,
}

impl Areas {
    /// The next area, if there is one.
    pub(crate) fn next(&mut self, runs: &[Run]) -> Option<Area> {
        if self.place >= self.end {
            return None;
        }
        let start = self.place;
        let area = match runs.get(self.next) {
            Some(run) if run.new <= start => {
                self.next += 1;
                Area {
                    start,
                    end: run.new_end().min(self.end),
                    old: Some(run.old + (start - run.new)),
                }
            }
            Some(run) => Area {
                start,
                end: run.new.min(self.end),
                old: None,
            },
            None => Area {
                start,
                end: self.end,
                old: None,
            },
        };
        self.place = area.end;
        Some(area)
    }
}

/// What the decoder needs for any frame, kept from one to the next.
#[derive(Debug)]
pub(crate) struct Workshop {
    surprise: Surprise,
    /// Only while a frame needs it: it takes as much as literals of the other kind.
    written: Option<Box<Literals>>,
    window: Vec<u8>,
    literals: Vec<u8>,
    beside: Beside,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self {
            surprise: Surprise::new(),
            written: None,
            window: Vec::new(),
            literals: Vec::new(),
            beside: Beside::default(),
        }
    }
}

/// A frame that is being made.
#[derive(Debug)]
pub(crate) struct Frame {
    bits: BitReader,
    lengths: Lengths,
    areas: Areas,
    area: Area,
    /// So many bytes of the area are sent, so many follow that are not.
    sent: u64,
    other: u64,
    place: u64,
    literal: usize,
    /// Literals are among the coded bits.
    written: bool,
}

impl Frame {
    /// Begins with the frame `bytes`, which makes the bytes `makes`.
    pub(crate) fn open(
        bytes: Vec<u8>,
        makes: &Range<u64>,
        shared: &Shared,
        workshop: &mut Workshop,
    ) -> Result<Self, DeltaError> {
        let mut cursor = Cursor::new(&bytes);
        let plain = cursor.number()?;
        crate::container::limit("literal bytes", plain, MAX_LITERALS as u64)?;
        let plain = usize::try_from(plain).unwrap_or(0);
        workshop.literals.clear();
        if plain > 0 {
            workshop.written = None;
            let packed = usize::try_from(cursor.number()?).unwrap_or(usize::MAX);
            let packed = cursor.take(packed)?;
            workshop.literals.reserve_exact(plain);
            let made = zstd_safe::decompress(&mut workshop.literals, packed)
                .map_err(|code| DeltaError::Zstd(zstd_safe::get_error_name(code)))?;
            if made != plain {
                return Err(DeltaError::Damaged("its literals have another length"));
            }
        }
        workshop.surprise.reset();
        let start = cursor.place();
        let mut bits = BitReader::new(bytes, start);
        let written = bits.bit(false, 1 << 15);
        if written {
            workshop.literals = Vec::new();
            let model = workshop
                .written
                .get_or_insert_with(|| Box::new(Literals::new()));
            model.reset();
        } else {
            workshop.written = None;
        }
        Ok(Self {
            bits,
            lengths: Lengths::new(),
            areas: areas(shared.map.runs(), makes),
            area: Area {
                start: makes.start,
                end: makes.start,
                old: None,
            },
            sent: 0,
            other: 0,
            place: makes.start,
            literal: 0,
            written,
        })
    }

    /// The buffer, to be used again.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bits.into_bytes()
    }

    /// Makes the next bytes of the new image. Without `keep` the caller does not look at them,
    /// and old bytes that nothing depends on are not read.
    pub(crate) fn fill(
        &mut self,
        mut out: &mut [u8],
        keep: bool,
        shared: &Shared,
        workshop: &mut Workshop,
        source: &mut dyn Source,
    ) -> Result<(), DeltaError> {
        while !out.is_empty() {
            if self.sent == 0 && self.other == 0 {
                self.next_part(shared, workshop, source)?;
                continue;
            }
            let changing = self.sent > 0;
            let left = if changing { self.sent } else { self.other };
            let count = usize::try_from(left).unwrap_or(usize::MAX);
            let count = count.min(out.len()).min(MAX_READ);
            let (now, later) = out
                .split_at_mut_checked(count)
                .ok_or(DeltaError::Damaged("a part is too long"))?;
            match (self.old_place(), changing) {
                (None, true) if self.written => self.written(now, workshop),
                (None, true) => self.literals(now, workshop)?,
                (None, false) => now.fill(0),
                (Some(old), true) => self.changed(now, old, shared, workshop, source)?,
                (Some(old), false) if keep => read(source, old, now)?,
                (Some(_), false) => {}
            }
            let count = count as u64;
            self.place += count;
            if changing {
                self.sent -= count;
            } else {
                self.other -= count;
            }
            out = later;
        }
        Ok(())
    }

    /// Where the old byte for the current place lies, inside a run.
    fn old_place(&self) -> Option<u64> {
        let old = self.area.old?;
        Some(old + (self.place - self.area.start))
    }

    fn next_part(
        &mut self,
        shared: &Shared,
        workshop: &mut Workshop,
        source: &mut dyn Source,
    ) -> Result<(), DeltaError> {
        if self.place == self.area.end {
            self.area = self
                .areas
                .next(shared.map.runs())
                .ok_or(DeltaError::Damaged("a frame makes too little"))?;
            if self.written && self.area.old.is_none() {
                let (runs, old_len) = (shared.map.runs(), shared.old_len);
                workshop
                    .beside
                    .look(&self.area, runs, old_len, |offset, out: &mut [u8]| {
                        read(source, offset, out)
                    })?;
            }
        }
        let left = self.area.end - self.place;
        let in_run = self.area.old.is_some();
        let (sent, other) = self.lengths.code(&mut self.bits, in_run, left, (0, 0));
        let sum = sent.saturating_add(other);
        if sum == 0 || sum > left {
            return Err(DeltaError::Damaged("the parts of a stretch do not fill it"));
        }
        self.sent = sent;
        self.other = other;
        if let Some(old) = self.old_place().filter(|_| sent > 0) {
            workshop.surprise.begin(&shared.spaces, old);
        }
        Ok(())
    }

    fn written(&mut self, out: &mut [u8], workshop: &mut Workshop) {
        let Some(model) = &mut workshop.written else {
            return;
        };
        for (place, byte) in (self.place..).zip(out) {
            let near = workshop.beside.guesses(place);
            *byte = model.code(&mut self.bits, near, 0);
        }
    }

    fn literals(&mut self, out: &mut [u8], workshop: &Workshop) -> Result<(), DeltaError> {
        let end = self.literal + out.len();
        let bytes = workshop
            .literals
            .get(self.literal..end)
            .ok_or(DeltaError::Damaged("it has too few literals"))?;
        out.copy_from_slice(bytes);
        self.literal = end;
        Ok(())
    }

    fn changed(
        &mut self,
        out: &mut [u8],
        old: u64,
        shared: &Shared,
        workshop: &mut Workshop,
        source: &mut dyn Source,
    ) -> Result<(), DeltaError> {
        workshop.window.resize(out.len() + 2 * MARGIN, 0);
        workshop.window.fill(0);
        // Beyond the ends of the old image there are zeros.
        let before = old.min(MARGIN as u64);
        let end = (old + (out.len() + MARGIN) as u64).min(shared.old_len);
        let skip = MARGIN - usize::try_from(before).unwrap_or(0);
        let count = usize::try_from(end - (old - before)).unwrap_or(0);
        let window = workshop.window.get_mut(skip..skip + count);
        let window = window.ok_or(DeltaError::Damaged("a run leaves the old image"))?;
        read(source, old - before, window)?;
        workshop.surprise.code(
            &mut self.bits,
            &shared.geography(),
            &workshop.window,
            (old, self.place),
            out,
            &[],
        );
        Ok(())
    }
}

fn read(source: &mut dyn Source, offset: u64, out: &mut [u8]) -> Result<(), DeltaError> {
    source
        .read_at(offset, out)
        .map_err(|source| DeltaError::Source {
            range: offset..offset + out.len() as u64,
            source,
        })
}
