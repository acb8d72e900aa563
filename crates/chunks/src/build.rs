//! The publisher's side: from chunks to blobs.

use crate::cut::Cutting;
use crate::error::ChunkError;
use crate::held::{Ended, Grouping};
use crate::index::{Group, Index};
use crate::key::Key;
use crate::list::{Chunk, write};

/// The index and the lists of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct Blobs {
    /// See [`Index`].
    pub index: Vec<u8>,
    /// What the data begins with, before the pack; see [`read_list`](crate::read_list).
    pub lists: Vec<u8>,
}

/// Takes the chunks of an image in order.
#[derive(Debug)]
pub struct Builder {
    cutting: Cutting,
    grouping: Grouping,
    groups: Vec<Group>,
    lists: Vec<u8>,
    place: u64,
    pack_place: u64,
    /// Packed bytes of the group that is not complete.
    packed: u32,
    first_chunk: u64,
}

impl Builder {
    /// For an image that is cut in this way.
    #[must_use]
    pub fn new(cutting: Cutting) -> Self {
        Self {
            cutting,
            grouping: Grouping::default(),
            groups: Vec::new(),
            lists: Vec::new(),
            place: 0,
            pack_place: 0,
            packed: 0,
            first_chunk: 0,
        }
    }

    /// The next chunk, and its length in the pack.
    pub fn push(&mut self, chunk: &[u8], packed: u32) {
        let key = Key::of(chunk);
        let plain = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let record = Chunk { key, plain, packed };
        write(&mut self.lists, self.cutting, record);
        self.packed += packed;
        if let Some(ended) = self.grouping.push(key, plain) {
            self.end(&ended);
        }
    }

    fn end(&mut self, ended: &Ended) {
        self.groups.push(Group {
            key: ended.key,
            place: self.place,
            pack_place: self.pack_place,
            first_chunk: self.first_chunk,
            plain: u32::try_from(ended.plain).unwrap_or(u32::MAX),
            packed: self.packed,
            chunks: ended.chunks,
        });
        self.place += ended.plain;
        self.pack_place += u64::from(self.packed);
        self.first_chunk += u64::from(ended.chunks);
        self.packed = 0;
    }

    /// The blobs.
    ///
    /// # Errors
    /// The image has too many groups.
    pub fn finish(mut self) -> Result<Blobs, ChunkError> {
        if let Some(ended) = self.grouping.end() {
            self.end(&ended);
        }
        let index = Index::new(self.cutting, self.groups);
        Ok(Blobs {
            index: index.to_bytes(self.place)?,
            lists: self.lists,
        })
    }
}
