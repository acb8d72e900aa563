//! From the unpacked new image, as frames make it, to the image itself.

use crate::blocks::{Lists, Origin, Shelf, Unpacked, read_pieces};
use crate::codec::Codecs;
use crate::error::DeltaError;
use crate::frame::{Frame, Shared, Workshop};
use crate::limits::MAX_READ;
use crate::source::Source;

/// What is kept from one segment to the next, beside the frame.
#[derive(Debug, Default)]
pub(crate) struct Loom {
    codecs: Codecs,
    shelf: Shelf,
    /// The number of the block under way.
    block: Option<usize>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    /// Bytes of the unpacked image that a codec has seen already, and that come next.
    ahead: Vec<u8>,
}

/// All that makes segments.
pub(crate) struct Weaver<'a> {
    pub(crate) lists: &'a Lists,
    pub(crate) loom: &'a mut Loom,
    pub(crate) shared: &'a Shared,
    pub(crate) workshop: &'a mut Workshop,
    pub(crate) source: &'a mut dyn Source,
    /// Nobody looks at bytes before this one.
    pub(crate) wanted_from: u64,
}

impl Loom {
    /// A frame begins: it brings the block that reaches into it.
    pub(crate) fn begin(&mut self) {
        self.block = None;
        self.ahead.clear();
    }
}

impl Weaver<'_> {
    /// Makes the bytes of the new image from `at` on.
    pub(crate) fn fill(
        &mut self,
        frame: &mut Frame,
        mut at: u64,
        mut out: &mut [u8],
    ) -> Result<(), DeltaError> {
        let mut next = self.lists.new.at_real(at);
        while !out.is_empty() {
            let block = self.lists.new.list.get(next);
            let inside = block.filter(|block| block.real <= at);
            let end = match (inside, block) {
                (Some(block), _) => block.real_end(),
                (None, Some(block)) => block.real,
                (None, None) => u64::MAX,
            };
            let count = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let count = count.min(out.len());
            let (now, later) = out
                .split_at_mut_checked(count)
                .ok_or(DeltaError::Damaged("a block is too long"))?;
            let wanted = at + count as u64 > self.wanted_from;
            if let Some(block) = inside {
                if self.loom.block != Some(next) {
                    self.begin_block(frame, next)?;
                }
                let from = at - block.real;
                match block.kind {
                    Origin::Copied(old) if wanted => {
                        let offset = old + from;
                        read_pieces(self.source, offset, now).map_err(|source| {
                            DeltaError::Source {
                                range: offset..offset + now.len() as u64,
                                source,
                            }
                        })?;
                    }
                    Origin::Packed(_) if wanted => {
                        let from = usize::try_from(from).unwrap_or(usize::MAX);
                        let made = self.loom.packed.get(from..);
                        let made = made.and_then(|rest| rest.get(..now.len()));
                        now.copy_from_slice(
                            made.ok_or(DeltaError::Damaged("a block is too short"))?,
                        );
                    }
                    _ => {}
                }
                next += 1;
            } else {
                self.plain(frame, now, wanted)?;
            }
            at += count as u64;
            out = later;
        }
        Ok(())
    }

    /// Makes the next bytes of the unpacked image, or takes those that were made before.
    fn plain(&mut self, frame: &mut Frame, out: &mut [u8], keep: bool) -> Result<(), DeltaError> {
        let count = self.loom.ahead.len().min(out.len());
        let Some((seen, later)) = out.split_at_mut_checked(count) else {
            return Ok(());
        };
        for (to, from) in seen.iter_mut().zip(self.loom.ahead.drain(..count)) {
            *to = from;
        }
        self.made(frame, later, keep)
    }

    /// Makes the next bytes of the unpacked image.
    fn made(&mut self, frame: &mut Frame, out: &mut [u8], keep: bool) -> Result<(), DeltaError> {
        let Self {
            lists,
            loom,
            shared,
            workshop,
            source,
            ..
        } = self;
        if lists.old.list.is_empty() {
            return frame.fill(out, keep, shared, workshop, *source);
        }
        let mut unpacked = Unpacked {
            source: *source,
            blocks: &lists.old,
            family: lists.family,
            codecs: &mut loom.codecs,
            shelf: &mut loom.shelf,
        };
        frame.fill(out, keep, shared, workshop, &mut unpacked)
    }

    /// Makes `count` bytes from `place` on, which is where the next ones belong, without taking
    /// them, or fewer at the end of the unpacked image.
    fn look_ahead(
        &mut self,
        frame: &mut Frame,
        count: usize,
        place: u64,
    ) -> Result<(), DeltaError> {
        let left = self.lists.new.len.saturating_sub(place);
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut ahead = core::mem::take(&mut self.loom.ahead);
        let seen = ahead.len();
        if seen < count {
            ahead.resize(count, 0);
            self.made(frame, ahead.get_mut(seen..).unwrap_or_default(), true)?;
        }
        self.loom.ahead = ahead;
        Ok(())
    }

    /// Makes all of a block, or goes past it.
    fn begin_block(&mut self, frame: &mut Frame, number: usize) -> Result<(), DeltaError> {
        let Some(block) = self.lists.new.list.get(number).copied() else {
            return Ok(());
        };
        self.loom.block = Some(number);
        let mut plain = core::mem::take(&mut self.loom.plain);
        let way = match block.kind {
            Origin::Packed(way) if block.real_end() > self.wanted_from => Some(way),
            _ => None,
        };
        if let Some(way) = way {
            // Both lengths were held against their limits when the list was read.
            let len = usize::try_from(block.plain).unwrap_or(0);
            let wanted = usize::try_from(block.packed).unwrap_or(0);
            plain.resize(len, 0);
            self.plain(frame, &mut plain, true)?;
            self.look_ahead(frame, way.tail.ahead(), block.place_end())?;
            let Loom {
                codecs,
                packed,
                ahead,
                ..
            } = &mut *self.loom;
            plain.extend_from_slice(ahead);
            codecs
                .pack(
                    self.lists.codec(way.codec),
                    (&plain, len),
                    way.tail,
                    wanted,
                    packed,
                )
                .map_err(|what| DeltaError::Pack {
                    offset: block.real,
                    what,
                })?;
            if packed.len() != wanted {
                return Err(DeltaError::NotPacked { offset: block.real });
            }
        } else {
            let mut left = block.plain;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(MAX_READ).min(MAX_READ);
                plain.resize(most.max(plain.len()).min(MAX_READ), 0);
                let part = plain.get_mut(..most).unwrap_or_default();
                self.plain(frame, part, false)?;
                left -= most as u64;
            }
        }
        self.loom.plain = plain;
        Ok(())
    }
}
