//! Small squashfs images, as far as this crate looks into them: names and times are left out.

use crate::codec::{Codec, Codecs, Filter, Tail};

/// What packs the blocks of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packer {
    /// zstd with this level.
    Zstd(u8),
    /// zlib with this level.
    Gzip(u8),
    /// xz with the dictionary that mksquashfs takes, and its filter for x86 every third time.
    Xz,
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Squash {
    /// What is in its files.
    pub files: Vec<Vec<u8>>,
    /// Bytes of a block.
    pub block_size: usize,
    /// What packs the blocks.
    pub packer: Packer,
    /// Each block with this remainder by five is packed otherwise, as by another version.
    pub strange: Option<usize>,
}

/// Writes images.
struct Writer<'a> {
    of: &'a Squash,
    codecs: Codecs,
    out: Vec<u8>,
    blocks: usize,
}

const STORED: u32 = 1 << 24;
const NONE: u64 = u64::MAX;

impl Squash {
    /// An image of blocks of 4 KiB at mksquashfs's default level.
    #[must_use]
    pub fn of(files: Vec<Vec<u8>>) -> Self {
        Self {
            files,
            block_size: 4096,
            packer: Packer::Zstd(15),
            strange: None,
        }
    }

    /// The image, padded to whole pages.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut writer = Writer {
            of: self,
            codecs: Codecs::default(),
            out: vec![0; 96],
            blocks: 0,
        };
        writer.image();
        let used = writer.out.len();
        writer.out.resize(used.next_multiple_of(4096), 0);
        writer.out
    }
}

impl Writer<'_> {
    fn codec(&self, metadata: bool) -> Codec {
        let strange = self.of.strange == Some(self.blocks % 5);
        match self.of.packer {
            Packer::Zstd(_) if strange => Codec::Zstd { level: 1 },
            Packer::Zstd(level) => Codec::Zstd { level },
            Packer::Gzip(_) if strange => Codec::Zlib {
                level: 1,
                window: 15,
            },
            Packer::Gzip(level) => Codec::Zlib { level, window: 15 },
            Packer::Xz => {
                let size = if metadata { 8192 } else { self.of.block_size };
                let log = u8::try_from(size.trailing_zeros()).expect("small");
                let x86 = !metadata && self.blocks % 3 == 1;
                Codec::Xz {
                    dictionary: 2 * (log - 12),
                    filter: if x86 { Filter::X86 } else { Filter::None },
                }
            }
        }
    }

    fn pack(&mut self, plain: &[u8], metadata: bool) -> Option<Vec<u8>> {
        let codec = self.codec(metadata);
        self.blocks += 1;
        let mut out = Vec::new();
        let source = (plain, plain.len());
        let packed = self
            .codecs
            .pack(codec, source, Tail::default(), 0, &mut out);
        // What grows is not packed by xz.
        (packed.is_ok() && out.len() < plain.len()).then_some(out)
    }

    /// A block of data; its length with the flag.
    fn data(&mut self, plain: &[u8]) -> u32 {
        if plain.iter().all(|byte| *byte == 0) {
            return 0;
        }
        let packed = self.pack(plain, false);
        let stored = if packed.is_none() { STORED } else { 0 };
        let bytes = packed.unwrap_or_else(|| plain.to_vec());
        self.out.extend_from_slice(&bytes);
        u32::try_from(bytes.len()).expect("short") | stored
    }

    /// A table of metadata. Gives where each of its blocks begins.
    fn table(&mut self, plain: &[u8]) -> Vec<u64> {
        let mut starts = Vec::new();
        for part in plain.chunks(8192) {
            starts.push(self.out.len() as u64);
            let packed = self.pack(part, true);
            let stored = if packed.is_none() { 1 << 15 } else { 0 };
            let bytes = packed.unwrap_or_else(|| part.to_vec());
            let header = u16::try_from(bytes.len()).expect("short") | stored;
            self.out.extend_from_slice(&header.to_le_bytes());
            self.out.extend_from_slice(&bytes);
        }
        starts
    }

    /// A table with a list of its blocks behind it; gives where the list begins.
    fn listed(&mut self, plain: &[u8]) -> u64 {
        let starts = self.table(plain);
        let place = self.out.len() as u64;
        for start in starts {
            self.out.extend_from_slice(&start.to_le_bytes());
        }
        place
    }

    fn image(&mut self) {
        let mut inodes = Vec::new();
        let mut names = Vec::new();
        let mut tails: Vec<u8> = Vec::new();
        let mut entries = Vec::new();
        for (number, file) in (1_u32..).zip(&self.of.files) {
            let start = u32::try_from(self.out.len()).expect("a small image");
            let small = file.len() < self.of.block_size && !file.is_empty();
            let mut sizes = Vec::new();
            for block in file.chunks(self.of.block_size) {
                if !small {
                    sizes.push(self.data(block));
                }
            }
            if tails.len() + file.len() > self.of.block_size && small {
                self.fragment(&mut tails, &mut entries);
            }
            let (fragment, inside) = if small {
                (entries.len(), tails.len())
            } else {
                (u32::MAX as usize, 0)
            };
            if small {
                tails.extend_from_slice(file);
            }
            names.extend_from_slice(format!("file-{number:03}").as_bytes());
            inodes.extend_from_slice(&[2, 0, 0xA4, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            let numbers = [
                number,
                start,
                u32::try_from(fragment).expect("few"),
                u32::try_from(inside).expect("short"),
                u32::try_from(file.len()).expect("short"),
            ];
            for word in numbers.iter().chain(&sizes) {
                inodes.extend_from_slice(&word.to_le_bytes());
            }
        }
        self.fragment(&mut tails, &mut entries);
        inodes.extend_from_slice(&[1, 0, 0xED, 1, 0, 0, 0, 0]);
        inodes.resize(inodes.len() + 24, 0);
        let inode_table = self.table(&inodes)[0];
        let directory_table = self.table(&names).first().copied();
        let directory_table = directory_table.unwrap_or(self.out.len() as u64);
        let table: Vec<u8> = entries
            .iter()
            .flat_map(|(start, len)| {
                let mut entry = u64::to_le_bytes(*start).to_vec();
                entry.extend_from_slice(&u32::to_le_bytes(*len));
                entry.resize(16, 0);
                entry
            })
            .collect();
        let fragment_table = self.listed(&table);
        let id_table = self.listed(&[0; 4]);
        let mut head = b"hsqs".to_vec();
        let count = u32::try_from(self.of.files.len() + 1).expect("few");
        let block_size = u32::try_from(self.of.block_size).expect("short");
        let fragments = u32::try_from(entries.len()).expect("few");
        for word in [count, 0, block_size, fragments] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        let log = u16::try_from(block_size.trailing_zeros()).expect("small");
        let compressor = match self.of.packer {
            Packer::Zstd(_) => 6,
            Packer::Gzip(_) => 1,
            Packer::Xz => 4,
        };
        for word in [compressor, log, 0, 1, 4, 0] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        let used = self.out.len() as u64;
        for word in [0, used, id_table, NONE, inode_table, directory_table] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        for word in [fragment_table, NONE] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        self.out[..96].copy_from_slice(&head);
    }

    fn fragment(&mut self, tails: &mut Vec<u8>, entries: &mut Vec<(u64, u32)>) {
        if tails.is_empty() {
            return;
        }
        let start = self.out.len() as u64;
        let len = self.data(tails);
        entries.push((start, len));
        tails.clear();
    }
}

/// A pair of images with most of what they can have: files that changed, moved, or are new, short
/// ones, empty ones, holes, and blocks that come out the same twice.
#[must_use]
pub fn squash_pair(seed: u8) -> (Squash, Squash) {
    let (before, after) = files_pair(seed);
    (Squash::of(before), Squash::of(after))
}

/// What is in the files of both.
pub(super) fn files_pair(seed: u8) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut state = u32::from(seed) | 1 << 16;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut text = |lines: u32| -> Vec<u8> {
        let mut line = |number| format!("line {number}: {} of {}\n", next() % 1000, next() % 50);
        (0..lines).flat_map(|n| line(n).into_bytes()).collect()
    };
    let mut files = vec![text(900), text(30), Vec::new(), text(25), text(700)];
    files.push(vec![0; 9000]);
    files.push(files[0].clone());
    files.extend((0..12).map(|_| text(40)));
    let mut holes = vec![0; 20_000];
    holes[13_000..15_000].copy_from_slice(&text(200)[..2000]);
    files.push(holes);
    let mut after = files.clone();
    after[0].splice(5000..5010, *b"something else, and longer");
    after[3].truncate(100);
    after[10].extend_from_slice(b"more\n");
    after.insert(7, text(300));
    (files, after)
}
