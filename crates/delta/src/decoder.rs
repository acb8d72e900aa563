//! From a delta and the old image to the new one, segment by segment.

use core::ops::Range;

use crate::blocks::Lists;
use crate::coding::bits::BitReader;
use crate::container::{HEADER_LEN, Header, Images, Part, Table};
use crate::error::DeltaError;
use crate::frame::{Frame, Shared, Workshop};
use crate::limits::{MAX_RUNS, MAX_SPACES};
use crate::map::{AddressMap, read_runs};
use crate::seal::Seals;
use crate::source::Source;
use crate::space::read_spaces;
use crate::weave::{Loom, Weaver};

/// A segment of the new image, as the delta makes it. It counts once it was compared with the
/// signed list.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its number, from 0.
    pub index: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Decodes a delta. It reads and writes nothing by itself:
///
/// 1. [`needs`](Self::needs) says which bytes of the blob come next; [`feed`](Self::feed) takes
///    them, in pieces of any size.
/// 2. [`segment`](Self::segment) makes the next segment from them and the old image.
///
/// At most 10 MiB are held, whatever the images (see [`limits`](crate::limits)), and 5 MiB more while
/// blocks are packed.
#[derive(Debug)]
pub struct Decoder {
    images: Images,
    header: Option<Header>,
    table: Table,
    stage: Stage,
    /// What was fed of the part that is needed.
    input: Vec<u8>,
    lists: Lists,
    loom: Loom,
    shared: Shared,
    shared_of: Option<usize>,
    workshop: Workshop,
    segment: Vec<u8>,
    /// The next byte of the new image that is made.
    place: u64,
    /// The first segment that the caller wants.
    first: u64,
}

#[derive(Debug)]
enum Stage {
    Header,
    Table,
    Lists,
    Map {
        group: usize,
        frame: usize,
    },
    Frame {
        group: usize,
        frame: usize,
    },
    Making {
        group: usize,
        frame: usize,
        open: Box<Frame>,
        end: u64,
    },
    Done,
}

impl Decoder {
    /// Decodes all of the delta between these two images.
    #[must_use]
    pub fn new(images: Images) -> Self {
        Self::from_segment(images, 0)
    }

    /// Decodes from segment `first` on: those before it are in place already.
    #[must_use]
    pub fn from_segment(images: Images, first: u64) -> Self {
        Self {
            images,
            header: None,
            table: Table::default(),
            stage: Stage::Header,
            input: Vec::new(),
            lists: Lists::none(images.old_len, images.new_len),
            loom: Loom::default(),
            shared: Shared::default(),
            shared_of: None,
            workshop: Workshop::new(),
            segment: Vec::new(),
            place: 0,
            first,
        }
    }

    /// Which bytes of the blob are needed next; `None` while there are segments to make, and
    /// after the last one. From one range to the next there are gaps only where a resumed
    /// delta leaves out what it does not need.
    #[must_use]
    pub fn needs(&self) -> Option<Range<u64>> {
        let whole = self.part()?.0;
        Some(whole.start + self.input.len() as u64..whole.end)
    }

    /// The header, once it was read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether the last segment was made.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// The part that is read now, and its name.
    fn part(&self) -> Option<(Range<u64>, u32, &'static str)> {
        let header_len = HEADER_LEN as u64;
        match (&self.stage, &self.header) {
            (Stage::Header, _) => Some((0..header_len, 0, "header")),
            (Stage::Table, Some(header)) => {
                let end = header_len + u64::from(header.table_len);
                Some((header_len..end, header.table_crc, "frame table"))
            }
            (Stage::Lists, Some(header)) => {
                let start = header_len + u64::from(header.table_len);
                let end = start + u64::from(header.lists_len);
                Some((start..end, header.lists_crc, "list of blocks"))
            }
            (Stage::Map { group, .. }, _) => {
                let part = &self.table.groups.get(*group)?.map;
                Some((part.blob.clone(), part.crc, "map"))
            }
            (Stage::Frame { group, frame }, _) => {
                let part = self.frame_part(*group, *frame)?;
                Some((part.blob.clone(), part.crc, "frame"))
            }
            _ => None,
        }
    }

    fn frame_part(&self, group: usize, frame: usize) -> Option<&Part> {
        self.table.groups.get(group)?.frames.get(frame)
    }

    /// Takes bytes of the blob that lie at `offset`, and says how many of them: it stops at the
    /// end of a part, to make segments or to go elsewhere.
    ///
    /// # Errors
    /// When `offset` is not where [`needs`](Self::needs) begins, or when the part that is now
    /// complete is damaged or asks for too much.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> Result<usize, DeltaError> {
        let Some(needed) = self.needs() else {
            return Ok(0);
        };
        if offset != needed.start {
            return Err(DeltaError::WrongInput {
                found: offset,
                wanted: needed.start,
            });
        }
        let left = usize::try_from(needed.end - needed.start).unwrap_or(usize::MAX);
        let taken = bytes.get(..left.min(bytes.len())).unwrap_or_default();
        if self.input.is_empty() {
            // The length of a part was held against its limit when it was read.
            self.input.reserve_exact(left);
        }
        self.input.extend_from_slice(taken);
        if taken.len() == left {
            let input = core::mem::take(&mut self.input);
            self.complete(input)?;
        }
        Ok(taken.len())
    }

    fn complete(&mut self, input: Vec<u8>) -> Result<(), DeltaError> {
        if let Some((range, crc, what)) = self.part()
            && !matches!(self.stage, Stage::Header)
            && crc32fast::hash(&input) != crc
        {
            return Err(DeltaError::Checksum { what, range });
        }
        match self.stage {
            Stage::Header => {
                self.take_header(&input)?;
                self.stage = Stage::Table;
                self.skip_empty()?;
            }
            Stage::Table => self.take_table(&input)?,
            Stage::Lists => {
                let mut bits = BitReader::new(input, 0);
                self.lists = self.lists.code(&mut bits)?;
                self.go_to_first()?;
            }
            Stage::Map { group, frame } => {
                self.take_map(group, input)?;
                self.stage = Stage::Frame { group, frame };
                self.skip_empty()?;
            }
            Stage::Frame { group, frame } => {
                let makes = self.frame_part(group, frame).map(|part| part.makes.clone());
                let makes = makes.unwrap_or(0..0);
                let plain = self.lists.new.around(&makes);
                let open = Frame::open(input, &plain, &self.shared, &mut self.workshop)?;
                self.loom.begin();
                self.place = makes.start;
                self.stage = Stage::Making {
                    group,
                    frame,
                    open: Box::new(open),
                    end: makes.end,
                };
            }
            Stage::Making { .. } | Stage::Done => {}
        }
        Ok(())
    }

    /// A part without bytes is complete at once.
    fn skip_empty(&mut self) -> Result<(), DeltaError> {
        match self.needs() {
            Some(needed) if needed.is_empty() => {
                let input = core::mem::take(&mut self.input);
                self.complete(input)
            }
            _ => Ok(()),
        }
    }

    fn take_header(&mut self, input: &[u8]) -> Result<(), DeltaError> {
        let input = input.try_into().map_err(|_| DeltaError::NotADelta)?;
        let header = Header::parse(input)?;
        if header.images != self.images {
            return Err(DeltaError::OtherImage {
                old_len: header.images.old_len,
                new_len: header.images.new_len,
                wanted_old_len: self.images.old_len,
                wanted_new_len: self.images.new_len,
            });
        }
        self.header = Some(header);
        Ok(())
    }

    fn take_table(&mut self, input: &[u8]) -> Result<(), DeltaError> {
        let Some(header) = &self.header else {
            return Ok(());
        };
        self.table = Table::parse(input, header)?;
        let count = header.segment_count();
        if self.first > count {
            return Err(DeltaError::NoSuchSegment {
                segment: self.first,
                count,
            });
        }
        if header.lists_len > 0 {
            self.stage = Stage::Lists;
            return Ok(());
        }
        self.go_to_first()
    }

    /// The first byte of the new image that the caller wants.
    fn wanted_from(&self) -> u64 {
        let segment_log = self.header.as_ref().map_or(0, |header| header.segment_log);
        self.first << segment_log
    }

    fn go_to_first(&mut self) -> Result<(), DeltaError> {
        match self.table.find(self.wanted_from()) {
            Some((group, frame)) => self.go_to(group, frame),
            None => {
                self.stage = Stage::Done;
                Ok(())
            }
        }
    }

    fn go_to(&mut self, group: usize, frame: usize) -> Result<(), DeltaError> {
        self.stage = if self.shared_of == Some(group) {
            Stage::Frame { group, frame }
        } else {
            Stage::Map { group, frame }
        };
        self.skip_empty()
    }

    fn take_map(&mut self, group: usize, input: Vec<u8>) -> Result<(), DeltaError> {
        let makes = self.table.groups.get(group).map(|g| g.map.makes.clone());
        let makes = makes.unwrap_or(0..0);
        let makes = self.lists.new.around(&makes);
        let old_len = self.lists.old.len;
        // The one before goes first: two do not fit into the promise.
        self.shared = Shared::default();
        let mut bits = BitReader::new(input, 0);
        let runs = read_runs(&mut bits, makes.start, makes.end, old_len, MAX_RUNS)?;
        let spaces = read_spaces(&mut bits, MAX_SPACES)?;
        let seals = Seals::default().code(&mut bits)?;
        self.shared = Shared {
            map: AddressMap::new(runs, old_len),
            spaces,
            seals,
            old_len,
            block_log: self.header.as_ref().map_or(0, |header| header.block_log),
        };
        self.shared_of = Some(group);
        Ok(())
    }

    /// Makes the next segment. `None` means that bytes of the blob are needed first, or that
    /// there are no more segments.
    ///
    /// # Errors
    /// When the old image cannot be used, or the delta contradicts itself. The decoder is of no
    /// use after that.
    pub fn segment(&mut self, source: &mut dyn Source) -> Result<Option<Segment<'_>>, DeltaError> {
        let Some(segment_log) = self.header.as_ref().map(|header| header.segment_log) else {
            return Ok(None);
        };
        let wanted_from = self.wanted_from();
        loop {
            let Stage::Making {
                group,
                frame,
                open,
                end,
            } = &mut self.stage
            else {
                return Ok(None);
            };
            let (group, frame, end) = (*group, *frame, *end);
            let index = self.place >> segment_log;
            let len = (end - self.place).min(1 << segment_log);
            self.segment.resize(usize::try_from(len).unwrap_or(0), 0);
            let wanted = index >= self.first;
            Weaver {
                lists: &self.lists,
                loom: &mut self.loom,
                shared: &self.shared,
                workshop: &mut self.workshop,
                source,
                wanted_from,
            }
            .fill(open, self.place, &mut self.segment)?;
            self.shared.seals.apply(&mut self.segment, self.place);
            self.place += len;
            if self.place == end {
                self.leave(group, frame)?;
            }
            if wanted {
                return Ok(Some(Segment {
                    index,
                    bytes: &self.segment,
                }));
            }
        }
    }

    fn leave(&mut self, group: usize, frame: usize) -> Result<(), DeltaError> {
        if let Stage::Making { open, .. } = core::mem::replace(&mut self.stage, Stage::Done) {
            // Frames are of similar size: the buffer serves the next one.
            self.input = open.into_bytes();
            self.input.clear();
        }
        if self.frame_part(group, frame + 1).is_some() {
            self.go_to(group, frame + 1)
        } else if self.table.groups.get(group + 1).is_some() {
            self.go_to(group + 1, 0)
        } else {
            Ok(())
        }
    }
}
