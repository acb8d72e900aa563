//! Small erofs images, as far as this crate looks into them: names and times are left out.

use lzzzz::{lz4, lz4_hc};

use super::squash::files_pair;
use crate::codec::{Codec, Codecs, Tail};

/// What an image is made of. Its blocks have 512 bytes, so that a small file has many.
#[derive(Debug, Clone)]
pub struct Erofs {
    /// What is in its files.
    pub files: Vec<Vec<u8>>,
    /// What fills the blocks.
    pub filler: Filler,
    /// Each block with this remainder by five is packed by another level, as by another version.
    pub strange: Option<usize>,
}

/// What fills the blocks of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filler {
    /// LZ4: the level of the high compressor, 3 to 12; 0 for the fast one.
    Lz4(u8),
    /// zstd with this level, 1 to 22; 0 for the one that mkfs.erofs takes when it is told none.
    Zstd(u8),
}

impl Filler {
    /// With another level.
    fn strange(self) -> Self {
        match self {
            Self::Lz4(_) => Self::Lz4(3),
            Self::Zstd(_) => Self::Zstd(1),
        }
    }

    /// A block that ends with as much of `rest` as it takes, and how much that is.
    fn fill(self, rest: &[u8], codecs: &mut Codecs) -> (usize, Vec<u8>) {
        let mut block = vec![0; BLOCK];
        let level = match self {
            Self::Lz4(level) => level,
            Self::Zstd(level) => return longest(level, rest, codecs).unwrap_or((0, block)),
        };
        let filled = if level == 0 {
            lz4::compress_fill(rest, &mut block)
        } else {
            lz4_hc::compress_fill(rest, &mut block, level.into())
        };
        let (taken, made) = filled.expect("there is something to pack");
        block.rotate_right(BLOCK - made);
        block[..BLOCK - made].fill(0);
        (taken, block)
    }
}

/// The most of `rest` that zstd gets into a block, by halving.
fn longest(level: u8, rest: &[u8], codecs: &mut Codecs) -> Option<(usize, Vec<u8>)> {
    let codec = Codec::PaddedZstd {
        level,
        window: WINDOW,
    };
    let (mut fits, mut too_much) = (0, rest.len() + 1);
    let (mut best, mut out) = (None, Vec::new());
    while fits + 1 < too_much {
        let len = usize::midpoint(fits, too_much);
        let packed = codecs.pack(codec, (rest, len), Tail::default(), BLOCK, &mut out);
        if packed.is_ok() {
            fits = len;
            best = Some((len, out.clone()));
        } else {
            too_much = len;
        }
    }
    best
}

/// The window of zstd, as a power of two.
const WINDOW: u8 = 12;
const BLOCK: usize = 512;
/// Where inodes begin, in blocks.
const META: usize = 4;
const SLOT: usize = 32;
const INODE: usize = 64;

/// A run of a file: where it begins there, whether it is packed, and its block.
struct Run {
    place: usize,
    packed: bool,
    block: Vec<u8>,
}

impl Erofs {
    fn runs(&self, file: &[u8], count: &mut usize) -> Vec<Run> {
        let mut codecs = Codecs::default();
        let mut runs = Vec::new();
        let mut place = 0;
        while place < file.len() {
            let rest = &file[place..];
            let strange = self.strange == Some(*count % 5);
            *count += 1;
            let filler = if strange {
                self.filler.strange()
            } else {
                self.filler
            };
            let (taken, mut block) = filler.fill(rest, &mut codecs);
            let packed = taken > BLOCK && rest.len() > BLOCK;
            let taken = if packed {
                taken
            } else {
                let taken = rest.len().min(BLOCK);
                block.fill(0);
                block[..taken].copy_from_slice(&rest[..taken]);
                taken
            };
            runs.push(Run {
                place,
                packed,
                block,
            });
            place += taken;
        }
        runs
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut count = 0;
        let runs: Vec<Vec<Run>> = self
            .files
            .iter()
            .map(|file| self.runs(file, &mut count))
            .collect();
        // The root directory is the first inode; each file's follows the one before.
        let mut numbers = Vec::new();
        let mut meta = INODE;
        for file in &self.files {
            numbers.push(meta / SLOT);
            meta = (meta + INODE + 16 + file.len().div_ceil(BLOCK) * 8).next_multiple_of(SLOT);
        }
        let names = self.names(&numbers);
        let directory = META + meta.div_ceil(BLOCK);
        let mut next = directory + names.len() / BLOCK;
        let mut out = vec![0; META * BLOCK];
        inode(&mut out, 0, 0x4000, names.len(), directory);
        for ((file, runs), number) in self.files.iter().zip(&runs).zip(&numbers) {
            out.resize(META * BLOCK + number * SLOT, 0);
            inode(&mut out, 1, 0x8000, file.len(), runs.len());
            let mut header = [0; 16];
            header[6] = self.algorithm();
            out.extend_from_slice(&header);
            next = indexes(&mut out, file.len(), runs, next);
        }
        out.resize(directory * BLOCK, 0);
        out.extend_from_slice(&names);
        for run in runs.iter().flatten() {
            out.extend_from_slice(&run.block);
        }
        let word = |value: usize| u32::try_from(value).expect("small").to_le_bytes();
        out[1024..1028].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
        out[1036] = 9;
        out[1064..1068].copy_from_slice(&word(META));
        out[1104..1108].copy_from_slice(&word(1));
        // What compressors need follows the superblock.
        let algorithm = self.algorithm();
        if algorithm > 0 {
            out[1104] = 3;
            out[1108] = 1 << algorithm;
            out[1152..1156].copy_from_slice(&[6, 0, 0, WINDOW - 10]);
        }
        out
    }

    /// Its number in the image.
    fn algorithm(&self) -> u8 {
        match self.filler {
            Filler::Lz4(_) => 0,
            Filler::Zstd(_) => 3,
        }
    }

    /// The blocks of the root directory.
    fn names(&self, numbers: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in numbers.chunks(BLOCK / 16) {
            let names = part.len() * 12;
            for (index, number) in part.iter().enumerate() {
                let name = u16::try_from(names + index * 4).expect("short");
                out.extend_from_slice(&(*number as u64).to_le_bytes());
                out.extend_from_slice(&name.to_le_bytes());
                out.extend_from_slice(&[1, 0]);
            }
            for number in part {
                out.extend_from_slice(format!("{number:04}").as_bytes());
            }
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out
    }
}

fn inode(out: &mut Vec<u8>, data: u16, mode: u16, size: usize, first: usize) {
    let start = out.len();
    for word in [1 | data << 1, 0, mode | 0o644, 0] {
        out.extend_from_slice(&u16::to_le_bytes(word));
    }
    out.extend_from_slice(&(size as u64).to_le_bytes());
    out.extend_from_slice(&u32::try_from(first).expect("small").to_le_bytes());
    out.resize(start + INODE, 0);
}

/// Writes where the runs of a file lie, from block `next` on. Gives the block after them.
fn indexes(out: &mut Vec<u8>, len: usize, runs: &[Run], next: usize) -> usize {
    let mut block = next;
    let mut runs = runs.iter().peekable();
    let mut distance = 1_u16;
    for number in 0..len.div_ceil(BLOCK) {
        let (words, low) = match runs.next_if(|run| run.place < (number + 1) * BLOCK) {
            Some(run) => {
                let inside = u16::try_from(run.place % BLOCK).expect("short");
                let low = u32::try_from(block).expect("small");
                block += 1;
                distance = 1;
                ([u16::from(run.packed), inside], low)
            }
            None => {
                distance += 1;
                ([2, 0], u32::from(distance - 1))
            }
        };
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&low.to_le_bytes());
    }
    block
}

/// A pair of images of the same files as those of [`squash_pair`](super::squash_pair).
#[must_use]
pub fn erofs_pair(seed: u8, filler: Filler) -> (Erofs, Erofs) {
    let (before, after) = files_pair(seed);
    let of = |files| Erofs {
        files,
        filler,
        strange: None,
    };
    (of(before), of(after))
}
