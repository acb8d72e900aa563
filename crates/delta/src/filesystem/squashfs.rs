//! squashfs 4.0: blocks of files, fragments, and tables of metadata.
//!
//! The words are those of the kernel's `squashfs_fs.h`.

use crate::codec::{Codec, Codecs, Family, said};
use crate::limits::MAX_CODECS;

use super::{FileStart, Found, Layout, in_order, part, u16_at, u32_at, u64_at};

const MAGIC: u32 = 0x7371_7368;
const METADATA: u32 = 8192;
/// The largest block that there is.
const MOST_BLOCK: u32 = 1 << 20;
/// Most plain bytes of a table that are looked through: 256 MiB.
const MOST_TABLE: usize = 1 << 28;
/// Most blocks of files: of 1 TiB in blocks of 128 KiB.
const MOST_BLOCKS: usize = 1 << 23;
/// What a table has that is not there.
const NO_TABLE: u64 = u64::MAX;
/// Set in a flag word when options of the compressor follow the superblock.
const HAS_OPTIONS: u16 = 0x400;
/// Set in the length of a block that is not compressed.
const STORED: u32 = 1 << 24;
/// The same for a block of metadata.
const STORED_METADATA: u16 = 1 << 15;
const NO_FRAGMENT: u32 = u32::MAX;

struct Superblock {
    inodes: u32,
    block_size: u32,
    fragments: u32,
    compressor: u16,
    flags: u16,
    ids: u16,
    id_table: u64,
    xattr_table: u64,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    export_table: u64,
}

impl Superblock {
    fn read(image: &[u8]) -> Option<Self> {
        if u32_at(image, 0)? != MAGIC || u16_at(image, 28)? != 4 {
            return None;
        }
        let block_size = u32_at(image, 12)?;
        if !block_size.is_power_of_two() || !(1 << 12..=MOST_BLOCK).contains(&block_size) {
            return None;
        }
        Some(Self {
            inodes: u32_at(image, 4)?,
            block_size,
            fragments: u32_at(image, 16)?,
            compressor: u16_at(image, 20)?,
            flags: u16_at(image, 24)?,
            ids: u16_at(image, 26)?,
            id_table: u64_at(image, 48)?,
            xattr_table: u64_at(image, 56)?,
            inode_table: u64_at(image, 64)?,
            directory_table: u64_at(image, 72)?,
            fragment_table: u64_at(image, 80)?,
            export_table: u64_at(image, 88)?,
        })
    }

    /// How its blocks are compressed, and what made them, the likeliest first.
    fn codecs(&self, image: &[u8]) -> Option<(Family, Vec<Codec>)> {
        // The options are a block of metadata that is never compressed.
        let has_options = self.flags & HAS_OPTIONS != 0;
        let option = |at: u64| u32_at(image, 98 + at).filter(|_| has_options);
        match self.compressor {
            6 => {
                // mksquashfs writes no options for its default.
                let said = option(0).and_then(|level| u8::try_from(level).ok());
                let said = said.filter(|level| (1..=22).contains(level)).unwrap_or(15);
                let others = (1..=22).rev().filter(|level| *level != said);
                let codecs = core::iter::once(said).chain(others);
                let codecs = codecs.map(|level| Codec::Zstd { level });
                Some((Family::Zstd, codecs.collect()))
            }
            1 => {
                let level = option(0).and_then(|level| u8::try_from(level).ok());
                let level = level.filter(|level| (1..=9).contains(level)).unwrap_or(9);
                let window = option(4).and_then(|both| u8::try_from(both & 0xFFFF).ok());
                let window = window.filter(|log| (9..=15).contains(log)).unwrap_or(15);
                let others = (1..=9).rev().filter(|other| *other != level);
                let codecs = core::iter::once(level).chain(others);
                let codecs = codecs.map(|level| Codec::Zlib { level, window });
                Some((Family::Zlib, codecs.collect()))
            }
            // Its blocks say themselves how they were made.
            4 => Some((Family::Xz, Vec::new())),
            _ => None,
        }
    }
}

/// Reads what an image says about its blocks.
pub(super) fn layout(image: &[u8]) -> Option<Layout> {
    let superblock = Superblock::read(image)?;
    let (family, mut codecs) = superblock.codecs(image)?;
    let mut reader = Reader {
        image,
        family,
        codecs: Codecs::default(),
        blocks: Vec::new(),
        files: Vec::new(),
    };
    reader.tables(&superblock);
    let Reader {
        mut blocks,
        mut files,
        ..
    } = reader;
    in_order(&mut blocks, image.len() as u64);
    if family == Family::Xz {
        codecs = ways_of_xz(image, &blocks);
    }
    files.sort_unstable();
    files.dedup();
    Some(Layout {
        family,
        codecs,
        blocks,
        files,
    })
}

/// How the blocks say that they were made, the most frequent first.
fn ways_of_xz(image: &[u8], blocks: &[Found]) -> Vec<Codec> {
    let mut found: Vec<(usize, Codec)> = Vec::new();
    for block in blocks {
        let packed = part(image, block.offset, block.packed.into()).unwrap_or_default();
        let Some((dictionary, filter)) = said(packed) else {
            continue;
        };
        let codec = Codec::Xz { dictionary, filter };
        if let Some((count, _)) = found.iter_mut().find(|(_, known)| *known == codec) {
            *count += 1;
        } else if found.len() < MAX_CODECS {
            found.push((1, codec));
        }
    }
    found.sort_by_key(|(count, _)| core::cmp::Reverse(*count));
    found.into_iter().map(|(_, codec)| codec).collect()
}

struct Reader<'a> {
    image: &'a [u8],
    family: Family,
    codecs: Codecs,
    blocks: Vec<Found>,
    files: Vec<FileStart>,
}

/// A block of data: where it begins, and its length with the flag.
type DataBlock = (u64, u32);

impl Reader<'_> {
    /// What makes no sense is left out; the rest counts.
    fn tables(&mut self, superblock: &Superblock) {
        let starts = self.starts(superblock);
        // A table ends where the next part begins, at the latest.
        let until = |start: u64| {
            let next = starts.iter().copied().find(|other| *other > start);
            next.unwrap_or(self.image.len() as u64)
        };
        let ends: Vec<(u64, u64)> = starts.iter().map(|start| (*start, until(*start))).collect();
        let end_of = |start: u64| {
            let found = ends.iter().find(|(other, _)| *other == start);
            found.map_or(start, |(_, end)| *end)
        };
        let inodes = self.table(superblock.inode_table, end_of(superblock.inode_table));
        let _ = self.table(
            superblock.directory_table,
            end_of(superblock.directory_table),
        );
        let mut fragments = Vec::new();
        for (table, len) in [
            (
                superblock.fragment_table,
                u64::from(superblock.fragments) * 16,
            ),
            (superblock.export_table, u64::from(superblock.inodes) * 8),
            (superblock.id_table, u64::from(superblock.ids) * 4),
        ] {
            let first = self.first_of(table, len);
            let bytes = first.map(|start| self.table(start, end_of(start)));
            if table == superblock.fragment_table {
                fragments = bytes.unwrap_or_default();
            }
        }
        if let Some((values, index)) = self.xattrs(superblock) {
            for start in [values, index] {
                let _ = self.table(start, end_of(start));
            }
        }
        let fragments = self.fragments(&fragments, superblock.block_size);
        let _ = self.inodes(&inodes, superblock, &fragments);
    }

    /// Where parts of the image begin that are no blocks of files.
    fn starts(&self, superblock: &Superblock) -> Vec<u64> {
        let lists = [
            (superblock.fragment_table, u64::from(superblock.fragments)),
            (superblock.export_table, u64::from(superblock.inodes)),
            (superblock.id_table, u64::from(superblock.ids)),
        ];
        let mut starts = vec![superblock.inode_table, superblock.directory_table];
        for (table, len) in lists {
            starts.push(table);
            starts.extend(self.first_of(table, len));
        }
        starts.push(superblock.xattr_table);
        if let Some((values, index)) = self.xattrs(superblock) {
            starts.extend([values, index]);
        }
        starts.retain(|start| *start != NO_TABLE);
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Where the first block of a table lies that has a list of its blocks.
    fn first_of(&self, list: u64, len: u64) -> Option<u64> {
        if list == NO_TABLE || len == 0 {
            return None;
        }
        u64_at(self.image, list)
    }

    /// Where the values of extended attributes begin, and the table of their lists.
    fn xattrs(&self, superblock: &Superblock) -> Option<(u64, u64)> {
        let table = superblock.xattr_table;
        if table == NO_TABLE || u32_at(self.image, table.checked_add(8)?)? == 0 {
            return None;
        }
        let values = u64_at(self.image, table)?;
        Some((values, u64_at(self.image, table.checked_add(16)?)?))
    }

    /// Lists the blocks of metadata in `start..end` and gives their plain bytes, as far as they
    /// make sense.
    fn table(&mut self, start: u64, end: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let mut plain = Vec::new();
        let mut at = start;
        while at < end && all.len() < MOST_TABLE {
            let Some(header) = u16_at(self.image, at) else {
                break;
            };
            let len = header & !STORED_METADATA;
            let Some(bytes) = part(self.image, at + 2, len.into()) else {
                break;
            };
            if len == 0 || u32::from(len) > METADATA {
                break;
            }
            if header & STORED_METADATA != 0 {
                all.extend_from_slice(bytes);
            } else {
                let most = METADATA as usize;
                let unpacked = self.codecs.unpack(self.family, bytes, most, &mut plain);
                if unpacked.is_err() {
                    break;
                }
                all.extend_from_slice(&plain);
                self.blocks.push(Found {
                    offset: at + 2,
                    packed: len.into(),
                    most: METADATA,
                    left: 0,
                });
            }
            at += 2 + u64::from(len);
        }
        all
    }

    fn add(&mut self, (offset, len): DataBlock, block_size: u32) {
        if len & STORED == 0 && len > 0 && self.blocks.len() < MOST_BLOCKS {
            self.blocks.push(Found {
                offset,
                packed: len,
                most: block_size,
                left: 0,
            });
        }
    }

    fn fragments(&mut self, table: &[u8], block_size: u32) -> Vec<DataBlock> {
        let entries = table
            .chunks_exact(16)
            .map_while(|entry| Some((u64_at(entry, 0)?, u32_at(entry, 8)?)));
        let entries: Vec<DataBlock> = entries.collect();
        for entry in &entries {
            self.add(*entry, block_size);
        }
        entries
    }

    /// Goes through the inodes until one makes no sense.
    fn inodes(
        &mut self,
        table: &[u8],
        superblock: &Superblock,
        fragments: &[DataBlock],
    ) -> Option<()> {
        let mut at = 0_u64;
        for _ in 0..superblock.inodes {
            let field = |offset: u64| u32_at(table, at + offset);
            let long = |offset: u64| u64_at(table, at + offset);
            let name = |offset: u64| field(offset).map(u64::from);
            at += match u16_at(table, at)? {
                // Directories, with an index in the second case.
                1 => 32,
                8 => {
                    let count = u16_at(table, at + 32)?;
                    let mut len = 40;
                    for _ in 0..count {
                        len += 13 + name(len + 8)?;
                    }
                    len
                }
                2 => {
                    let (start, fragment) = (field(16)?.into(), (field(20)?, field(24)?));
                    let size = field(28)?.into();
                    let sizes = at + 32;
                    32 + self.file(table, sizes, (start, size), fragment, superblock, fragments)?
                }
                9 => {
                    let (start, fragment) = (long(16)?, (field(44)?, field(48)?));
                    let sizes = at + 56;
                    let file = (start, long(24)?);
                    56 + self.file(table, sizes, file, fragment, superblock, fragments)?
                }
                // Links.
                3 => 24 + name(20)?,
                10 => 28 + name(20)?,
                // Devices.
                4 | 5 => 24,
                11 | 12 => 28,
                // Pipes and sockets.
                6 | 7 => 20,
                13 | 14 => 24,
                _ => return None,
            };
        }
        Some(())
    }

    /// The blocks of a file, whose sizes lie at `sizes`. Gives the length of their list.
    fn file(
        &mut self,
        table: &[u8],
        sizes: u64,
        (start, size): (u64, u64),
        (fragment, inside): (u32, u32),
        superblock: &Superblock,
        fragments: &[DataBlock],
    ) -> Option<u64> {
        let block_size = u64::from(superblock.block_size);
        let count = if fragment == NO_FRAGMENT {
            size.div_ceil(block_size)
        } else {
            size / block_size
        };
        let list = part(table, sizes, count.checked_mul(4)?)?;
        if count > 0 {
            self.files.push(FileStart {
                offset: start,
                inside: 0,
            });
        } else if let Some((offset, _)) = fragments.get(usize::try_from(fragment).ok()?) {
            self.files.push(FileStart {
                offset: *offset,
                inside,
            });
        }
        let mut at = start;
        for word in list.chunks_exact(4) {
            let len = u32_at(word, 0)?;
            self.add((at, len), superblock.block_size);
            at = at.checked_add(u64::from(len & !STORED))?;
        }
        Some(count * 4)
    }
}
