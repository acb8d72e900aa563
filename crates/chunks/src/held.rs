//! What the slots of a device hold.

use crate::cut::Cutting;
use crate::key::Key;
use crate::{MAX_GROUP, MAX_HELD};

/// A slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Where {
    /// The one that runs: nobody writes to it.
    Running,
    /// The one that is being written, from front to back.
    Inactive,
}

/// Bytes in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which slot.
    pub slot: Where,
    /// Where in it, in bytes.
    pub offset: u64,
}

const INACTIVE: u64 = 1 << 63;

impl Place {
    const fn to_bits(self) -> u64 {
        match self.slot {
            Where::Running => self.offset,
            Where::Inactive => self.offset | INACTIVE,
        }
    }

    const fn from_bits(bits: u64) -> Self {
        let slot = match bits & INACTIVE {
            0 => Where::Running,
            _ => Where::Inactive,
        };
        Self {
            slot,
            offset: bits & !INACTIVE,
        }
    }
}

/// The chunks and groups of both slots.
#[derive(Debug, Default)]
pub struct Held {
    chunks: Places,
    groups: Places,
}

/// Keys and places, sorted by both.
#[derive(Debug, Default)]
struct Places(Vec<(Key, u64)>);

impl Places {
    fn sort(&mut self) {
        self.0.sort_unstable();
        // Of places with one key the first is looked at, and the last: those between are not.
        let mut before = None;
        let mut kept = 0_usize;
        for at in 0..self.0.len() {
            let Some(one) = self.0.get(at).copied() else {
                break;
            };
            let last_of_key = self.0.get(at + 1).is_none_or(|next| next.0 != one.0);
            if before != Some(one.0) || last_of_key {
                if let Some(to) = self.0.get_mut(kept) {
                    *to = one;
                }
                kept += 1;
            }
            before = Some(one.0);
        }
        self.0.truncate(kept);
        self.0.shrink_to_fit();
    }

    /// Where bytes with this key lie that can still be there when byte `target` of the image is made.
    fn find(&self, key: Key, target: u64) -> Option<Place> {
        let start = self.0.partition_point(|one| one.0 < key);
        let same = self.0.get(start..)?;
        let same = same.iter().take_while(|one| one.0 == key);
        let usable = |place: &Place| place.slot == Where::Running || place.offset >= target;
        same.map(|one| Place::from_bits(one.1)).find(usable)
    }
}

impl Held {
    /// Nothing yet, with room for the chunks of so many bytes.
    #[must_use]
    pub fn with_room(cutting: Cutting, bytes: u64) -> Self {
        let (Cutting::Blocks { log } | Cutting::Content { log }) = cutting;
        let chunks = usize::try_from(bytes >> log).unwrap_or(usize::MAX);
        Self {
            chunks: Places(Vec::with_capacity(chunks.min(MAX_HELD))),
            groups: Places::default(),
        }
    }

    /// To be called when all was scanned, before it is searched.
    pub fn sort(&mut self) {
        self.chunks.sort();
        self.groups.sort();
    }

    /// Where the chunk is, for byte `target` of the image.
    #[must_use]
    pub fn chunk(&self, key: Key, target: u64) -> Option<Place> {
        self.chunks.find(key, target)
    }

    /// Where the group is, for byte `target` of the image.
    #[must_use]
    pub fn group(&self, key: Key, target: u64) -> Option<Place> {
        self.groups.find(key, target)
    }
}

/// Goes through a slot and remembers what it has.
#[derive(Debug)]
pub struct Scan {
    cutting: Cutting,
    slot: Where,
    offset: u64,
    group: Grouping,
}

impl Scan {
    /// Begins at the slot's first byte.
    #[must_use]
    pub fn new(cutting: Cutting, slot: Where) -> Self {
        Self {
            cutting,
            slot,
            offset: 0,
            group: Grouping::default(),
        }
    }

    /// Takes chunks from the front of `bytes`, which go on where the ones taken before ended, and says
    /// how many bytes it took; the others are wanted again, with more behind them. With `last`,
    /// nothing follows.
    pub fn take(&mut self, held: &mut Held, bytes: &[u8], last: bool) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..) {
            let Some(len) = self.cutting.chunk(rest, last) else {
                break;
            };
            let chunk = rest.get(..len).unwrap_or_default();
            let key = Key::of(chunk);
            let zeros = chunk.iter().all(|byte| *byte == 0);
            if !zeros && held.chunks.0.len() < MAX_HELD {
                let place = self.place(self.offset);
                held.chunks.0.push((key, place));
            }
            self.offset += len as u64;
            taken += len;
            // Chunks are at most 32 KiB long.
            let ended = self.group.push(key, u32::try_from(len).unwrap_or(u32::MAX));
            if let Some(group) = ended {
                self.remember(held, &group);
            }
        }
        if last && let Some(group) = self.group.end() {
            self.remember(held, &group);
        }
        taken
    }

    fn place(&self, offset: u64) -> u64 {
        let slot = self.slot;
        Place { slot, offset }.to_bits()
    }

    fn remember(&self, held: &mut Held, group: &Ended) {
        if held.groups.0.len() < MAX_HELD / 4 {
            let place = self.place(self.offset - group.plain);
            held.groups.0.push((group.key, place));
        }
    }
}

/// Gathers chunks into groups.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    chunks: Vec<(Key, u32)>,
}

/// A group that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    pub(crate) plain: u64,
    pub(crate) chunks: u8,
}

impl Grouping {
    /// One chunk in sixteen ends a group, by its key.
    pub(crate) fn push(&mut self, key: Key, plain: u32) -> Option<Ended> {
        self.chunks.push((key, plain));
        if key.bits() & 15 == 0 || self.chunks.len() == MAX_GROUP {
            return self.end();
        }
        None
    }

    /// The chunks gathered so far are one too, when there are any.
    pub(crate) fn end(&mut self) -> Option<Ended> {
        if self.chunks.is_empty() {
            return None;
        }
        let ended = Ended {
            key: group_key(self.chunks.iter().copied()),
            plain: self.chunks.iter().map(|chunk| u64::from(chunk.1)).sum(),
            chunks: u8::try_from(self.chunks.len()).unwrap_or(u8::MAX),
        };
        self.chunks.clear();
        Some(ended)
    }
}

/// The key of a group: of its chunks' keys and lengths.
pub(crate) fn group_key(chunks: impl Iterator<Item = (Key, u32)>) -> Key {
    let mut bytes = Vec::with_capacity(MAX_GROUP * 9);
    for (key, plain) in chunks {
        bytes.extend_from_slice(&key.to_bytes());
        bytes.extend_from_slice(&plain.to_le_bytes());
    }
    Key::of(&bytes)
}
