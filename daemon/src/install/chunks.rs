//! Chunks that neither slot holds, whatever image runs.
//!
//! Both slots are cut into chunks as the publisher cut the image. What they hold is copied, from the slot that
//! is being written only what lies at the same place or later: the rest is overwritten by then. What is
//! made counts when its segment has the digest in the signed list; a segment that has not comes from its frame.

use std::ops::Range;

use switchback_chunks::{
    BEHIND, ChunkError, From, Held, Index, Part, Plan, Scan, Where, list_range, missing, plan,
    unpack,
};
use switchback_manifest::{Chunks, Release};
use switchback_types::{ByteCount, SlotName};

use super::{Fetched, InstallProgress, Installer, Left, Looked, Stage};
use crate::fetch::{FetchError, Parts};
use crate::hash::sha256;
use crate::report::chain;
use crate::slot::{SlotReader, SlotWriter};

/// Bytes of a slot that are looked at, or copied, at once.
const READ: usize = 256 * 1024;
/// So many segments may come out wrong before the whole way is left.
const MOST_WRONG: u32 = 8;

impl Installer<'_> {
    /// Writes the image from the first segment on that the slot does not hold, and proves all of it.
    pub(super) fn by_chunks(
        &mut self,
        document: &Release,
        chunks: &Chunks,
        looked: &Looked,
        fetched: &mut Fetched,
    ) -> Result<(), Left> {
        let path = chunks.data.path();
        let url = self.source.url(&path);
        let unfit = |error: &ChunkError| Left::Unfit(format!("{url}: {}", chain(error)));
        let index = self.blob(&chunks.index).map_err(Left::unless_content)?;
        fetched.bytes += chunks.index.length;
        let index = Index::parse(&index, document.image.size).map_err(|e| unfit(&e))?;
        let from = looked.first * u64::from(document.image.segment_size);
        let mut slots = self.slots()?;
        let held = self.scan(&index, document, &mut slots)?;
        let missing = missing(&index, &held, from).map_err(|e| unfit(&e))?;
        let ranges = missing
            .iter()
            .filter_map(|number| list_range(&index, *number));
        let ranges: Vec<_> = ranges.collect();
        let lists = self.ranges(&path, &ranges, fetched)?;
        let plan = plan(&index, &held, from, &missing, &lists).map_err(|e| unfit(&e))?;
        drop((held, index, missing, lists));
        let rest = looked.rest(document);
        if plan.fetched >= rest {
            return Err(Left::Unfit(format!(
                "the slots lack {} of chunks, all frames have {}",
                ByteCount(plan.fetched),
                ByteCount(rest)
            )));
        }
        tracing::info!("{} of chunks are fetched", ByteCount(plan.fetched));
        let mut writer = self.writer(document).map_err(Left::Failed)?;
        writer.skip_to(looked.first);
        let mut assembly = Assembly::begin(&plan, from, slots);
        self.assemble(document, looked, &path, &mut assembly, &mut writer, fetched)?;
        let synced = writer.sync()?;
        Ok(self.verify(document, synced, fetched.bytes)?)
    }

    /// Both slots, the one that runs first.
    fn slots(&self) -> Result<[SlotReader; 2], Left> {
        let inactive = self.layout.inactive().name();
        let open = |slot: SlotName| SlotReader::open(self.layout, slot);
        Ok([open(self.layout.booted)?, open(inactive)?])
    }

    /// What both slots hold.
    fn scan(
        &self,
        index: &Index,
        document: &Release,
        slots: &mut [SlotReader; 2],
    ) -> Result<Held, Left> {
        let runs = self.running.map_or(u64::MAX, |image| image.size);
        // Of the other slot nobody knows how long its image is.
        let other = document
            .image
            .size
            .max(self.running.map_or(0, |image| image.size));
        let lengths = [runs, other];
        let lengths: Vec<u64> = slots
            .iter()
            .zip(lengths)
            .map(|(slot, length)| slot.size().min(length))
            .collect();
        let mut held = Held::with_room(index.cutting(), lengths.iter().sum());
        for ((slot, length), place) in slots
            .iter_mut()
            .zip(lengths)
            .zip([Where::Running, Where::Inactive])
        {
            self.scan_slot(slot, length, Scan::new(index.cutting(), place), &mut held)?;
        }
        held.sort();
        Ok(held)
    }

    fn scan_slot(
        &self,
        slot: &mut SlotReader,
        length: u64,
        mut scan: Scan,
        held: &mut Held,
    ) -> Result<(), Left> {
        let mut bytes = Vec::with_capacity(2 * READ);
        let mut place = 0_u64;
        while place < length {
            self.cancel.check()?;
            let kept = bytes.len();
            let wanted = usize::try_from(length - place).map_or(READ, |left| left.min(READ));
            bytes.resize(kept + wanted, 0);
            let read = match slot.read_at(bytes.get_mut(kept..).unwrap_or_default(), place) {
                Ok(read) => read,
                Err(error) => {
                    // What cannot be read is not held.
                    tracing::warn!("{}; what follows is not used", chain(&error));
                    break;
                }
            };
            bytes.truncate(kept + read);
            place += u64::try_from(read).unwrap_or(u64::MAX);
            let last = read < wanted || place >= length;
            let taken = scan.take(held, &bytes, last);
            bytes.drain(..taken);
            if last {
                break;
            }
        }
        Ok(())
    }

    /// Ranges of a blob, one after another; only for small ones.
    fn ranges(
        &mut self,
        path: &str,
        ranges: &[Range<u64>],
        fetched: &mut Fetched,
    ) -> Result<Vec<u8>, Left> {
        let length: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let mut breaks = 0;
        loop {
            let outcome = self.source.ranges(path, ranges).and_then(|mut parts| {
                let outcome = parts.fill(&mut bytes);
                fetched.bytes += parts.received();
                outcome
            });
            match outcome {
                Ok(()) => return Ok(bytes),
                Err(error) => self.after_break_of_way(&mut breaks, &error)?,
            }
        }
    }

    fn assemble(
        &mut self,
        document: &Release,
        looked: &Looked,
        path: &str,
        assembly: &mut Assembly<'_>,
        writer: &mut SlotWriter,
        fetched: &mut Fetched,
    ) -> Result<(), Left> {
        let source = self.source;
        let mut breaks = 0;
        let mut wrong = 0;
        // And what was counted of what it received.
        let mut connection: Option<(Box<dyn Parts + '_>, u64)> = None;
        while let Some((index, length)) = writer.next() {
            self.cancel.check()?;
            let start = index * u64::from(document.image.segment_size);
            let end = start + u64::try_from(length).unwrap_or(0);
            loop {
                let before = assembly.next;
                let outcome =
                    assembly.extend(end, &mut connection, |ranges| source.ranges(path, ranges));
                if let Some((parts, told)) = &mut connection {
                    fetched.bytes += parts.received() - *told;
                    *told = parts.received();
                }
                let Err(error) = outcome else {
                    break;
                };
                connection = None;
                if assembly.next != before {
                    breaks = 0;
                }
                self.after_break_of_way(&mut breaks, &error)?;
            }
            let made = assembly.segment(start..end);
            if Some(&sha256(made)) == looked.segments.get(index) {
                fetched.segments += u64::from(writer.put(made)?);
            } else {
                wrong += 1;
                if wrong > MOST_WRONG {
                    let url = source.url(path);
                    return Err(Left::Unfit(format!("{url}: makes other segments")));
                }
                tracing::warn!("segment {index} came out wrong; its frame is fetched");
                self.write_frames(document, looked, index + 1, writer, fetched)
                    .map_err(Left::Failed)?;
                assembly.correct(start..end, writer.last_written(length));
            }
            assembly.forget_before(end);
            (self.progress)(InstallProgress {
                stage: Stage::Writing,
                done: writer.written(),
                total: document.image.size,
                received: fetched.bytes,
            });
        }
        Ok(())
    }
}

/// The image, as far as it is made and not written.
struct Assembly<'a> {
    plan: &'a Plan,
    /// The part that is made next.
    next: usize,
    slots: [SlotReader; 2],
    /// What lies before the next byte: what is not written yet, and up to [`BEHIND`] bytes of what is.
    bytes: Vec<u8>,
    /// Where they begin in the image.
    base: u64,
    packed: Vec<u8>,
}

impl<'a> Assembly<'a> {
    /// Begins at byte `from`; the slot holds what comes before it.
    fn begin(plan: &'a Plan, from: u64, slots: [SlotReader; 2]) -> Self {
        // A chunk of the pack is made whole.
        let start = match plan.parts.first() {
            Some(Part {
                place,
                from: From::Pack { .. },
                ..
            }) => from.min(*place),
            _ => from,
        };
        let behind = u64::try_from(BEHIND).unwrap_or(u64::MAX);
        let base = start.saturating_sub(behind);
        let mut assembly = Self {
            plan,
            next: 0,
            slots,
            bytes: Vec::new(),
            base,
            packed: Vec::new(),
        };
        assembly.copy(Where::Inactive, base, start - base);
        assembly
    }

    /// Appends bytes of a slot. What cannot be read are zeros: the segment tells.
    fn copy(&mut self, slot: Where, offset: u64, length: u64) {
        let [running, inactive] = &mut self.slots;
        let slot = match slot {
            Where::Running => running,
            Where::Inactive => inactive,
        };
        let kept = self.bytes.len();
        self.bytes
            .resize(kept + usize::try_from(length).unwrap_or(0), 0);
        let place = self.bytes.get_mut(kept..).unwrap_or_default();
        if let Err(error) = slot.read_at(place, offset) {
            tracing::warn!("{}", chain(&error));
        }
    }

    /// Where the next byte lies in the image.
    fn place(&self) -> u64 {
        self.base
            .saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }

    /// Makes the image up to byte `end` at least.
    fn extend<'s>(
        &mut self,
        end: u64,
        connection: &mut Option<(Box<dyn Parts + 's>, u64)>,
        connect: impl Fn(&[Range<u64>]) -> Result<Box<dyn Parts + 's>, FetchError>,
    ) -> Result<(), FetchError> {
        while self.place() < end {
            let place = self.place();
            let plan = self.plan;
            let Some(part) = plan.parts.get(self.next) else {
                // The plan fills the image; if not, the segment tells.
                self.bytes.resize(self.bytes.len() + 1, 0);
                continue;
            };
            let done = place.saturating_sub(part.place);
            let length = part.len.saturating_sub(done);
            let most = u64::try_from(READ).unwrap_or(u64::MAX);
            let now = length.min(end - place).min(most);
            let length = match part.from {
                From::Zeros => {
                    let kept = self.bytes.len();
                    self.bytes
                        .resize(kept + usize::try_from(now).unwrap_or(0), 0);
                    now
                }
                From::Slot(there) => {
                    self.copy(there.slot, there.offset + done, now);
                    now
                }
                From::Pack { len, .. } => {
                    let (parts, _) = match connection {
                        Some(connection) => connection,
                        None => connection.insert((connect(&plan.ranges(self.next))?, 0)),
                    };
                    self.packed.resize(usize::try_from(len).unwrap_or(0), 0);
                    parts.fill(&mut self.packed)?;
                    let plain = usize::try_from(part.len).unwrap_or(0);
                    let kept = self.bytes.len();
                    let mut made = Vec::with_capacity(plain);
                    if let Err(error) = unpack(&self.bytes, &self.packed, plain, &mut made) {
                        // The segment tells.
                        tracing::warn!("{}", chain(&error));
                    }
                    self.bytes.extend_from_slice(&made);
                    self.bytes.resize(kept + plain, 0);
                    part.len
                }
            };
            if place + length >= part.place + part.len {
                self.next += 1;
            }
        }
        Ok(())
    }

    fn span(&self, range: Range<u64>) -> Range<usize> {
        let at =
            |place: u64| usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        at(range.start)..at(range.end)
    }

    fn segment(&self, range: Range<u64>) -> &[u8] {
        self.bytes.get(self.span(range)).unwrap_or_default()
    }

    /// Puts right what came out wrong: what follows is made from it.
    fn correct(&mut self, range: Range<u64>, right: &[u8]) {
        let span = self.span(range);
        if let Some(place) = self
            .bytes
            .get_mut(span)
            .filter(|place| place.len() == right.len())
        {
            place.copy_from_slice(right);
        }
    }

    /// Everything before `end` is written: only what a chunk may be compressed behind is kept.
    fn forget_before(&mut self, end: u64) {
        let behind = u64::try_from(BEHIND).unwrap_or(u64::MAX);
        let keep = end.saturating_sub(behind).max(self.base);
        let gone = self.span(self.base..keep).end.min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base = keep;
    }
}
