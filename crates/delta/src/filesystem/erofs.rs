//! erofs: inodes, and the tables that say where the compressed clusters of a file lie.
//!
//! The words are those of the kernel's `erofs_fs.h`: a *logical cluster* is a block's worth of a
//! file; some of them are *heads*, where a compressed run of blocks begins.

use std::collections::HashSet;

use crate::codec::{Codec, Family, WINDOWS};
use crate::limits::MAX_PLAIN;

use super::{FileStart, Found, Layout, in_order, part, u16_at, u32_at, u64_at};

const START: u64 = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
/// Most logical clusters that are looked at: of 1 TiB in blocks of 4 KiB.
const MOST_CLUSTERS: u64 = 1 << 28;
const INODE_SLOT: u64 = 32;

/// Where the data of a file lies.
mod data {
    pub(super) const PLAIN: u16 = 0;
    pub(super) const FULL_INDEX: u16 = 1;
    pub(super) const INLINE: u16 = 2;
    pub(super) const COMPACT_INDEX: u16 = 3;
}

/// What is said about a file's compression.
mod advise {
    /// Some of its indexes take two bytes.
    pub(super) const TWO_BYTES: u16 = 1;
    /// Its runs have more blocks than one.
    pub(super) const BIG: u16 = 2;
    /// The last run lies behind the inode.
    pub(super) const INLINE: u16 = 8;
    /// The last part lies in another file.
    pub(super) const FRAGMENT: u16 = 32;
}

/// What compresses runs, as files and the superblock number it.
mod algorithm {
    pub(super) const LZ4: u8 = 0;
    pub(super) const ZSTD: u8 = 3;
}

/// What a logical cluster is.
mod kind {
    /// Others that are heads are stored, or packed by a second compressor.
    pub(super) const HEAD: u32 = 1;
    pub(super) const NO_HEAD: u32 = 2;
}

/// Set in the distance of a cluster that is no head when it is the length of the run.
const HAS_LENGTH: u32 = 1 << 11;

/// Reads what an image says about its compressed runs.
pub(super) fn layout(image: &[u8]) -> Option<Layout> {
    let mut reader = Reader::new(image)?;
    let root = u64::from(u16_at(image, START + 14)?);
    let packed = u64_at(image, START + 96).unwrap_or(0);
    reader.tree(&[root, packed]);
    let Reader {
        lz4,
        zstd,
        mut files,
        ..
    } = reader;
    files.sort_unstable();
    files.dedup();
    // A file names its compressor. An image has one of them as a rule, and a delta knows one.
    let bytes = |blocks: &[Found]| {
        blocks
            .iter()
            .map(|block| u64::from(block.packed))
            .sum::<u64>()
    };
    let (family, codecs, mut blocks) = if bytes(&zstd) > bytes(&lz4) {
        (Family::PaddedZstd, of_zstd(image), zstd)
    } else {
        (Family::Lz4, of_lz4(), lz4)
    };
    in_order(&mut blocks, image.len() as u64);
    Some(Layout {
        family,
        codecs,
        blocks,
        files,
    })
}

/// No image says the level. 9 is the default of lz4hc.
fn of_lz4() -> Vec<Codec> {
    let levels = [9, 0, 12, 11, 10, 8, 7, 6, 5, 4, 3];
    levels.map(|level| Codec::Lz4 { level }).to_vec()
}

/// No image says the level, but what it needs for unpacking, which is the window.
fn of_zstd(image: &[u8]) -> Vec<Codec> {
    let window = window(image).filter(|window| WINDOWS.contains(window));
    let window = window.unwrap_or(WINDOW);
    // The one that nobody asked for, the one that the help calls the default, the best ones.
    let others = (1..=22).rev().filter(|level| *level != 3);
    let levels = [0, 3].into_iter().chain(others);
    levels
        .map(|level| Codec::PaddedZstd { level, window })
        .collect()
}

/// The window of mkfs.erofs for clusters of 4 KiB, as a power of two.
const WINDOW: u8 = 15;
/// Said of an image that says what its compressors need.
const SAYS_NEEDS: u32 = 2;

/// The window of zstd, as a power of two. What compressors need follows the superblock: for each
/// that is in use, a length and so many bytes.
fn window(image: &[u8]) -> Option<u8> {
    if u32_at(image, START + 80)? & SAYS_NEEDS == 0 {
        return None;
    }
    let used = u16_at(image, START + 84)?;
    let slots = *image.get(usize::try_from(START).ok()? + 13)?;
    let mut at = START + 128 + 16 * u64::from(slots);
    for number in 0..algorithm::ZSTD {
        if used >> number & 1 == 1 {
            at += 2 + u64::from(u16_at(image, at)?);
        }
    }
    let [_, window] = u16_at(image, at + 2)?.to_le_bytes();
    (used >> algorithm::ZSTD & 1 == 1).then_some(window.checked_add(10)?)
}

struct Reader<'a> {
    image: &'a [u8],
    block_log: u8,
    meta: u64,
    /// What is left to look at.
    budget: u64,
    /// Runs of LZ4.
    lz4: Vec<Found>,
    zstd: Vec<Found>,
    files: Vec<FileStart>,
}

/// One inode.
struct Inode {
    data: u16,
    mode: u16,
    size: u64,
    /// Where its first block lies.
    block: u32,
    /// Where what follows it begins.
    end: u64,
}

impl Inode {
    fn is(&self, kind: u16) -> bool {
        self.mode & 0xF000 == kind
    }
}

const DIRECTORY: u16 = 0x4000;
const REGULAR: u16 = 0x8000;

/// A run of a file: where it begins there, and where in the image.
struct Head {
    place: u64,
    block: u32,
    blocks: u32,
    kind: u32,
}

impl<'a> Reader<'a> {
    fn new(image: &'a [u8]) -> Option<Self> {
        let block_log = *image.get(usize::try_from(START).ok()? + 12)?;
        if u32_at(image, START)? != MAGIC || !(9..=16).contains(&block_log) {
            return None;
        }
        Some(Self {
            image,
            block_log,
            meta: u64::from(u32_at(image, START + 40)?) << block_log,
            budget: MOST_CLUSTERS.min(image.len() as u64 * 16),
            lz4: Vec::new(),
            zstd: Vec::new(),
            files: Vec::new(),
        })
    }

    fn spend(&mut self, count: u64) -> Option<()> {
        self.budget = self.budget.checked_sub(count)?;
        Some(())
    }

    fn block_size(&self) -> u64 {
        1 << self.block_log
    }

    /// Goes through all that can be reached from these inodes. What makes no sense is left out.
    fn tree(&mut self, roots: &[u64]) {
        let mut seen = HashSet::new();
        let mut left = roots.to_vec();
        while let Some(number) = left.pop() {
            if !seen.insert(number) || self.spend(1).is_none() {
                continue;
            }
            let Some(inode) = self.inode(number) else {
                continue;
            };
            if inode.is(DIRECTORY) {
                self.directory(&inode, &mut left);
            } else if inode.is(REGULAR) {
                let _ = self.file(&inode);
            }
        }
    }

    fn inode(&self, number: u64) -> Option<Inode> {
        let at = number.checked_mul(INODE_SLOT)?.checked_add(self.meta)?;
        let image = self.image;
        let format = u16_at(image, at)?;
        let xattrs = u64::from(u16_at(image, at + 2)?);
        let xattrs = xattrs.checked_sub(1).map_or(0, |more| 12 + 4 * more);
        let extended = format & 1 == 1;
        let (len, size) = if extended {
            (64, u64_at(image, at + 8)?)
        } else {
            (32, u32_at(image, at + 8)?.into())
        };
        Some(Inode {
            data: format >> 1 & 7,
            mode: u16_at(image, at + 4)?,
            size,
            block: u32_at(image, at + 16)?,
            end: at + len + xattrs,
        })
    }

    /// Enters what a directory names.
    fn directory(&mut self, inode: &Inode, left: &mut Vec<u64>) {
        let size = self.block_size();
        for block in 0..inode.size.div_ceil(size) {
            if self.spend(1).is_none() {
                return;
            }
            let len = size.min(inode.size - block * size);
            let whole = u64::from(inode.block) + block;
            let last = inode.data == data::INLINE && len < size;
            let at = match inode.data {
                _ if last => inode.end,
                data::PLAIN | data::INLINE => whole << self.block_log,
                _ => return,
            };
            let Some(bytes) = part(self.image, at, len) else {
                return;
            };
            // Names follow the entries, the first one where the entries end.
            let names = u16_at(bytes, 8).map_or(0, u64::from);
            for entry in 0..names / 12 {
                if self.spend(1).is_none() {
                    return;
                }
                left.extend(u64_at(bytes, entry * 12));
            }
        }
    }

    fn file(&mut self, inode: &Inode) -> Option<()> {
        let heads = match inode.data {
            data::PLAIN | data::INLINE => {
                self.files.push(FileStart {
                    offset: u64::from(inode.block) << self.block_log,
                    inside: 0,
                });
                return Some(());
            }
            data::FULL_INDEX | data::COMPACT_INDEX => self.heads(inode)?,
            _ => return None,
        };
        if let Some(first) = heads.first() {
            self.files.push(FileStart {
                offset: u64::from(first.block) << self.block_log,
                inside: 0,
            });
        }
        let ends = heads.iter().skip(1).map(|head| head.place);
        let ends = ends.chain(core::iter::once(inode.size));
        let elsewhere =
            u16_at(self.image, self.header(inode) + 4)? & (advise::INLINE | advise::FRAGMENT) != 0;
        let count = heads.len() - usize::from(elsewhere && !heads.is_empty());
        let algorithm = self.algorithm(inode)?;
        for (head, end) in heads.iter().zip(ends).take(count) {
            let plain = end.checked_sub(head.place);
            let plain = plain.filter(|plain| (1..=MAX_PLAIN as u64).contains(plain));
            let (Some(plain), kind::HEAD) = (plain, head.kind) else {
                continue;
            };
            let left = inode.size.saturating_sub(end);
            let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let found = Found {
                offset: u64::from(head.block) << self.block_log,
                packed: short(u64::from(head.blocks) << self.block_log),
                most: short(plain),
                left: short(left),
            };
            match algorithm {
                algorithm::ZSTD => self.zstd.push(found),
                _ => self.lz4.push(found),
            }
        }
        Some(())
    }

    /// Where what is said about all of a file's runs lies.
    fn header(&self, inode: &Inode) -> u64 {
        inode.end.next_multiple_of(8)
    }

    /// What compresses a file, if it is known here.
    fn algorithm(&self, inode: &Inode) -> Option<u8> {
        let [algorithms, _] = u16_at(self.image, self.header(inode) + 6)?.to_le_bytes();
        Some(algorithms & 15).filter(|first| matches!(*first, algorithm::LZ4 | algorithm::ZSTD))
    }

    /// All runs of a file, in order.
    fn heads(&mut self, inode: &Inode) -> Option<Vec<Head>> {
        let header = self.header(inode);
        let advice = u16_at(self.image, header + 4)?;
        self.algorithm(inode)?;
        let [_, clusters] = u16_at(self.image, header + 6)?.to_le_bytes();
        // Clusters of several blocks, and files that lie in another one.
        if clusters & 0x87 != 0 {
            return None;
        }
        let count = inode.size.div_ceil(self.block_size());
        self.spend(count)?;
        if inode.data == data::FULL_INDEX {
            self.full(header + 16, count, advice)
        } else {
            self.compact(header + 8, count, advice)
        }
    }

    /// Indexes of eight bytes each.
    fn full(&self, start: u64, count: u64, advice: u16) -> Option<Vec<Head>> {
        let mut walk = Walk::new(advice);
        for number in 0..count {
            let at = start + number * 8;
            let kind = u32::from(u16_at(self.image, at)? & 3);
            let low = if kind == kind::NO_HEAD {
                u16_at(self.image, at + 4)?
            } else {
                walk.block = u32_at(self.image, at + 4)?;
                u16_at(self.image, at + 2)?
            };
            walk.cluster(number << self.block_log, kind, low.into());
        }
        Some(walk.heads)
    }

    /// Indexes in packs: two of two bytes or sixteen of fourteen bits, and the number of a block.
    fn compact(&self, start: u64, count: u64, advice: u16) -> Option<Vec<Head>> {
        // Only blocks of 4 KiB have them.
        if self.block_log != 12 {
            return None;
        }
        let mut walk = Walk::new(advice);
        // Long packs are aligned.
        let before = (start.next_multiple_of(32) - start) / 4;
        let long = if advice & advise::TWO_BYTES != 0 {
            count.saturating_sub(before) / 16 * 16
        } else {
            0
        };
        let (mut number, mut at) = (0, start);
        while number < count {
            let is_long = number >= before && number < before + long;
            let (len, bytes, bits) = if is_long { (16, 32, 14) } else { (2, 8, 16) };
            let pack = part(self.image, at, bytes)?;
            walk.block = u32_at(pack, bytes - 4)?;
            if advice & advise::BIG == 0 {
                walk.block = walk.block.wrapping_add(1);
            }
            for inside in 0..len {
                if number == count {
                    break;
                }
                let bit = inside * bits;
                let word = u32_at(pack, bit / 8)? >> (bit % 8);
                let place = number << self.block_log;
                walk.cluster(place, word >> 12 & 3, word & 0xFFF);
                number += 1;
            }
            walk.pack_ends();
            at += bytes;
        }
        Some(walk.heads)
    }
}

/// Goes through the logical clusters of a file.
struct Walk {
    heads: Vec<Head>,
    big: bool,
    /// The block where the next run begins.
    block: u32,
    /// A run begun in this pack may say its length yet.
    open: bool,
}

impl Walk {
    fn new(advice: u16) -> Self {
        Self {
            heads: Vec::new(),
            big: advice & advise::BIG != 0,
            block: 0,
            open: false,
        }
    }

    fn cluster(&mut self, place: u64, kind: u32, low: u32) {
        if kind == kind::NO_HEAD {
            if self.big && low & HAS_LENGTH != 0 {
                let blocks = low & (HAS_LENGTH - 1);
                if let Some(head) = self.heads.last_mut() {
                    head.blocks = blocks;
                }
                // One was counted for it, if it began in this pack.
                let counted = u32::from(self.open);
                self.block = self.block.wrapping_add(blocks).wrapping_sub(counted);
            }
            self.open = false;
            return;
        }
        self.heads.push(Head {
            place: place + u64::from(low),
            block: self.block,
            blocks: 1,
            kind,
        });
        self.block = self.block.wrapping_add(1);
        self.open = true;
    }

    fn pack_ends(&mut self) {
        self.open = false;
    }
}
