//! The superblock of ext4 and its older relatives, and where files lie.

use std::ops::Range;

use super::{bytes_at, halves, u16_at, u32_at};

const START: u64 = 1024;
const MAGIC: u16 = 0xef53;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// Deeper extent trees do not exist.
const MAX_EXTENT_DEPTH: u16 = 5;
/// Lengths above this say that the blocks read as zeros.
const MAX_EXTENT_BLOCKS: u32 = 32_768;

/// So many extents, block pointers, directory blocks and entries are looked at in one image; then the
/// rest stays unexplained.
const BUDGET: u32 = 4_000_000;

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) uuid: [u8; 16],
    pub(crate) hash_seed: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub(crate) made: u32,
    /// When it was written last.
    pub(crate) written: u32,
    pub(crate) has_journal: bool,
    /// Bytes per block.
    pub(crate) block_size: u64,
    blocks: u64,
    first_block: u64,
    blocks_per_group: u32,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u16,
    descriptor_size: u16,
    incompatible: u32,
}

impl Superblock {
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        let word = |offset| u32_at(image, START + offset);
        if u16_at(image, START + 0x38)? != MAGIC {
            return None;
        }
        let log = word(0x18).filter(|log| *log <= 6)?;
        let incompatible = word(0x60)?;
        let wide = incompatible & INCOMPAT_64BIT != 0;
        let superblock = Self {
            uuid: bytes_at(image, START + 0x68)?,
            hash_seed: bytes_at(image, START + 0xec)?,
            made: word(0x108)?,
            written: word(0x30)?,
            has_journal: word(0x5c)? & COMPAT_HAS_JOURNAL != 0,
            block_size: 1024 << log,
            blocks: halves(word(0x4)?, if wide { word(0x150)? } else { 0 }),
            first_block: u64::from(word(0x14)?),
            blocks_per_group: word(0x20)?,
            inodes: word(0)?,
            inodes_per_group: word(0x28)?,
            inode_size: u16_at(image, START + 0x58).filter(|size| *size >= 128)?,
            descriptor_size: if wide {
                u16_at(image, START + 0xfe).filter(|size| *size >= 64)?
            } else {
                32
            },
            incompatible,
        };
        let sane = superblock.blocks_per_group > 0 && superblock.inodes_per_group > 0;
        sane.then_some(superblock)
    }
}

/// A stretch of a file: where in the file, and where in the image, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) at: u64,
    pub(crate) image: Range<u64>,
}

/// An inode, as far as it is of interest.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    mode: u16,
    pub(crate) size: u64,
    /// Accessed, changed and modified, in seconds since 1970.
    pub(crate) times: [u32; 3],
    flags: u32,
    map: [u8; 60],
    /// Where its extended attributes lie, 0 when they have no block.
    attributes: u64,
}

impl Inode {
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & 0xf000 == 0x4000
    }

    pub(crate) fn is_file(&self) -> bool {
        self.mode & 0xf000 == 0x8000
    }

    fn has_blocks(&self) -> bool {
        // A symbolic link of up to 59 bytes lies where the block map would.
        let short_link = self.mode & 0xf000 == 0xa000 && self.size < 60;
        let mapped = matches!(self.mode & 0xf000, 0x4000 | 0x8000 | 0xa000);
        mapped && !short_link && self.flags & FLAG_INLINE_DATA == 0
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) inode: u32,
    pub(crate) name: String,
}

/// An image that is read, with the budget for it.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    image: &'a [u8],
    superblock: Superblock,
    budget: u32,
}

impl<'a> Reader<'a> {
    /// `None` when the image holds no ext4, or one of a layout that is not explained.
    pub(crate) fn new(image: &'a [u8]) -> Option<Self> {
        let superblock = Superblock::read(image)?;
        (superblock.incompatible & INCOMPAT_META_BG == 0).then_some(Self {
            image,
            superblock,
            budget: BUDGET,
        })
    }

    /// Takes one unit of the budget; `false` when nothing is left.
    fn spend(&mut self) -> bool {
        match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    fn block(&self, number: u64) -> Option<Range<u64>> {
        let size = self.superblock.block_size;
        let start = number.checked_mul(size)?;
        let end = start.checked_add(size)?;
        (end <= self.image.len() as u64 && number < self.superblock.blocks).then_some(start..end)
    }

    fn descriptor(&self, group: u32) -> Option<u64> {
        let table = (self.superblock.first_block + 1).checked_mul(self.superblock.block_size)?;
        table.checked_add(u64::from(group) * u64::from(self.superblock.descriptor_size))
    }

    fn descriptor_field(&self, group: u32, low: u64, high: u64) -> Option<u64> {
        let at = self.descriptor(group)?;
        let upper = if self.superblock.descriptor_size >= 64 {
            u32_at(self.image, at + high)?
        } else {
            0
        };
        Some(halves(u32_at(self.image, at + low)?, upper))
    }

    /// What the file system itself needs: name and place, group by group.
    pub(crate) fn metadata(&mut self) -> Vec<(&'static str, Range<u64>)> {
        let mut found = Vec::new();
        let per_group = u64::from(self.superblock.blocks_per_group);
        let groups = self.superblock.blocks.div_ceil(per_group);
        let table = u64::from(self.superblock.inodes_per_group)
            .saturating_mul(u64::from(self.superblock.inode_size));
        let descriptors = groups.saturating_mul(u64::from(self.superblock.descriptor_size));
        if let Some(start) = self.descriptor(0) {
            let end = start.saturating_add(descriptors);
            found.push(("(superblock and group descriptors)", 0..end));
        }
        for group in 0..u32::try_from(groups).unwrap_or(u32::MAX) {
            if !self.spend() {
                break;
            }
            let Some(inodes) = self.descriptor_field(group, 0x8, 0x28) else {
                break;
            };
            if let Some(block) = self.block(inodes) {
                found.push((
                    "(inode tables)",
                    block.start..block.start.saturating_add(table),
                ));
            }
            for (low, high) in [(0x0, 0x20), (0x4, 0x24)] {
                let bitmap = self.descriptor_field(group, low, high);
                if let Some(block) = bitmap.and_then(|number| self.block(number)) {
                    found.push(("(bitmaps)", block));
                }
            }
        }
        found
    }

    pub(crate) fn inode(&mut self, number: u32) -> Option<Inode> {
        let index = number.checked_sub(1)?;
        if number > self.superblock.inodes || !self.spend() {
            return None;
        }
        let group = index / self.superblock.inodes_per_group;
        let place = u64::from(index % self.superblock.inodes_per_group);
        let table = self.descriptor_field(group, 0x8, 0x28)?;
        let start = self.block(table)?.start;
        let at = start.checked_add(place * u64::from(self.superblock.inode_size))?;
        let word = |offset| u32_at(self.image, at + offset);
        let high = u16_at(self.image, at + 0x76)?;
        Some(Inode {
            mode: u16_at(self.image, at)?,
            size: halves(word(0x4)?, word(0x6c)?),
            times: [word(0x8)?, word(0xc)?, word(0x10)?],
            flags: word(0x20)?,
            map: bytes_at(self.image, at + 0x28)?,
            attributes: halves(word(0x68)?, u32::from(high)),
        })
    }

    /// Where the block of extended attributes lies, if the inode has one of its own.
    pub(crate) fn attributes(&self, inode: &Inode) -> Option<Range<u64>> {
        match inode.attributes {
            0 => None,
            number => self.block(number),
        }
    }

    /// Where the content of a file or directory lies, in the order of the map. The blocks of
    /// the map itself come under `map`.
    pub(crate) fn stretches(&mut self, inode: &Inode, map: &mut Vec<Range<u64>>) -> Vec<Stretch> {
        let mut found = Vec::new();
        if !inode.has_blocks() {
            return found;
        }
        if inode.flags & FLAG_EXTENTS != 0 {
            self.extents(&inode.map, MAX_EXTENT_DEPTH, map, &mut found);
        } else {
            self.pointers(&inode.map, map, &mut found);
        }
        found
    }

    fn extents(
        &mut self,
        node: &[u8],
        deepest: u16,
        map: &mut Vec<Range<u64>>,
        found: &mut Vec<Stretch>,
    ) -> Option<()> {
        let depth = u16_at(node, 6)?;
        if u16_at(node, 0)? != EXTENT_MAGIC || depth > deepest {
            return None;
        }
        for index in 0..u64::from(u16_at(node, 2)?) {
            if !self.spend() {
                return None;
            }
            let at = 12 + index * 12;
            let first = u64::from(u32_at(node, at)?);
            if depth > 0 {
                let child = halves(u32_at(node, at + 4)?, u32::from(u16_at(node, at + 8)?));
                let Some(range) = self.block(child) else {
                    continue;
                };
                map.push(range.clone());
                let child = slice(self.image, &range);
                // A child is less deep than its parent, whatever it says.
                self.extents(child, depth - 1, map, found);
                continue;
            }
            let length = u32::from(u16_at(node, at + 4)?);
            let start = halves(u32_at(node, at + 8)?, u32::from(u16_at(node, at + 6)?));
            if length <= MAX_EXTENT_BLOCKS {
                self.push(first, start, u64::from(length), found);
            }
        }
        Some(())
    }

    fn push(&self, first: u64, start: u64, count: u64, found: &mut Vec<Stretch>) {
        let size = self.superblock.block_size;
        let last = start.checked_add(count).and_then(|end| end.checked_sub(1));
        let ends = self
            .block(start)
            .zip(last.and_then(|last| self.block(last)));
        if let (Some((first_block, last_block)), Some(at)) = (ends, first.checked_mul(size))
            && count > 0
        {
            found.push(Stretch {
                at,
                image: first_block.start..last_block.end,
            });
        }
    }

    /// The map of ext2 and ext3: twelve pointers, then one each to one, two and three levels.
    fn pointers(&mut self, top: &[u8; 60], map: &mut Vec<Range<u64>>, found: &mut Vec<Stretch>) {
        let per_block = self.superblock.block_size / 4;
        let mut first = 0_u64;
        for index in 0..15_u64 {
            let level = u32::try_from(index.saturating_sub(11)).unwrap_or(0);
            let number = u32_at(top, index * 4).unwrap_or(0);
            self.pointer(number, level, first, map, found);
            first = first.saturating_add(per_block.saturating_pow(level));
        }
    }

    fn pointer(
        &mut self,
        number: u32,
        level: u32,
        first: u64,
        map: &mut Vec<Range<u64>>,
        found: &mut Vec<Stretch>,
    ) {
        if number == 0 || !self.spend() {
            return;
        }
        if level == 0 {
            return self.push(first, u64::from(number), 1, found);
        }
        let Some(range) = self.block(u64::from(number)) else {
            return;
        };
        map.push(range.clone());
        let block = slice(self.image, &range);
        let per_block = self.superblock.block_size / 4;
        let step = per_block.saturating_pow(level - 1);
        for index in 0..per_block {
            let number = u32_at(block, index * 4).unwrap_or(0);
            let first = first.saturating_add(index.saturating_mul(step));
            self.pointer(number, level - 1, first, map, found);
        }
    }

    /// The entries of a directory whose content lies at these places, without `.` and `..`.
    pub(crate) fn entries(&mut self, stretches: &[Stretch]) -> Vec<Entry> {
        let mut found = Vec::new();
        let size = usize::try_from(self.superblock.block_size).unwrap_or(usize::MAX);
        for stretch in stretches {
            for block in slice(self.image, &stretch.image).chunks(size) {
                if !self.spend() {
                    return found;
                }
                let mut at = 0_u64;
                while let Some((entry, next)) = entry(block, at) {
                    if !self.spend() {
                        return found;
                    }
                    found.extend(entry);
                    at = next;
                }
            }
        }
        found
    }
}

/// One entry, if it names something, and where the next one begins.
fn entry(block: &[u8], at: u64) -> Option<(Option<Entry>, u64)> {
    let inode = u32_at(block, at)?;
    let step = u64::from(u16_at(block, at + 4)?);
    let [length] = bytes_at::<1>(block, at + 6)?;
    if step < 8 {
        return None;
    }
    let range = at + 8..at + 8 + u64::from(length);
    let name = String::from_utf8_lossy(slice(block, &range)).into_owned();
    let names = inode != 0 && !name.is_empty() && name != "." && name != "..";
    Some((names.then_some(Entry { inode, name }), at + step))
}

/// The bytes of a range; none when it is not in the image.
pub(crate) fn slice<'a>(image: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    image.get(start..end).unwrap_or_default()
}
