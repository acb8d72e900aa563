//! Finds the checksums of an ext4 image that the decoder can make itself.

use crate::seal::{Inodes, MOST, Seals, crc32c, inode_places, is_directory};

/// Bytes of the new image that need not be coded: the decoder makes them.
#[derive(Debug, Default)]
pub(crate) struct Free {
    /// Where they are, two or four bytes each, in order.
    places: Vec<(u64, u8)>,
}

impl Free {
    fn within(&self, start: u64, end: u64) -> impl Iterator<Item = usize> {
        let first = self
            .places
            .partition_point(|(at, len)| at + u64::from(*len) <= start);
        self.places[first..]
            .iter()
            .take_while(move |(at, _)| *at < end)
            .flat_map(|(at, len)| *at..*at + u64::from(*len))
            .filter(move |at| (start..end).contains(at))
            .map(move |at| (at - start) as usize)
    }

    /// The bytes of a run, those that are free as in the old image. `start` is their place in the
    /// new image.
    pub(crate) fn as_before(&self, bytes: &[u8], old: &[u8], start: u64) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for at in self.within(start, start + bytes.len() as u64) {
            bytes[at] = old[at];
        }
        bytes
    }

    /// Which bytes of a stretch are free.
    pub(super) fn mask(&self, start: u64, len: usize) -> Vec<bool> {
        let mut mask = vec![false; len];
        for at in self.within(start, start + len as u64) {
            mask[at] = true;
        }
        mask
    }
}

fn number(image: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = image.get(at..at.checked_add(len)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

const SUPER: usize = 1024;
const CHECKSUMS: u64 = 0x400;
const OWN_SEED: u64 = 0x2000;
const WIDE: u64 = 0x80;

/// What of an image's checksums follows from the rest of it, given segments of a size.
pub(crate) fn find(image: &[u8], segment_log: u8) -> (Seals, Free) {
    seals(image, segment_log).unwrap_or_default()
}

fn seals(image: &[u8], segment_log: u8) -> Option<(Seals, Free)> {
    let field = |at: usize, len: usize| number(image, SUPER + at, len);
    if field(0x38, 2)? != 0xEF53 || field(0x64, 4)? & CHECKSUMS == 0 || field(0x175, 1)? != 1 {
        return None;
    }
    let seed = if field(0x60, 4)? & OWN_SEED == 0 {
        crc32c(!0, image.get(SUPER + 0x68..SUPER + 0x78)?)
    } else {
        field(0x270, 4)? as u32
    };
    let block_log = 10 + u8::try_from(field(0x18, 4)?).ok()?;
    let inode_size = field(0x58, 2)? as usize;
    if !(10..=16).contains(&block_log)
        || block_log > segment_log
        || !inode_size.is_power_of_two()
        || !(128..=4096).contains(&inode_size)
    {
        return None;
    }
    let inode_log = inode_size.trailing_zeros() as u8;
    let mut seals = Seals {
        seed,
        inode_log,
        block_log,
        ..Seals::default()
    };
    let mut free = Free::default();
    tables(image, block_log, &mut seals)?;
    prove_inodes(image, &mut seals, &mut free);
    prove_directories(image, &mut seals, &mut free);
    free.places.sort_unstable();
    Some((seals, free))
}

/// All inode tables of an image, as its group descriptors name them.
fn tables(image: &[u8], block_log: u8, seals: &mut Seals) -> Option<()> {
    let field = |at: usize, len: usize| number(image, SUPER + at, len);
    let (inodes, per_group) = (field(0, 4)?, field(0x28, 4)?);
    let first_block = field(0x14, 4)?;
    let wide = field(0x60, 4)? & WIDE != 0;
    let size = if wide { field(0xFE, 2)? as usize } else { 32 };
    let groups = inodes.div_ceil(per_group.max(1)).min(MOST as u64);
    for group in 0..groups {
        let at = ((first_block + 1) << block_log) as usize + group as usize * size;
        let high = if size >= 64 {
            number(image, at + 0x28, 4)?
        } else {
            0
        };
        let block = number(image, at + 8, 4)? | high << 32;
        let offset = block.checked_mul(1 << block_log)?;
        let end = offset.checked_add(per_group << seals.inode_log)?;
        if end > image.len() as u64 {
            return None;
        }
        seals.inodes.push(Inodes {
            offset,
            first: u32::try_from(group * per_group + 1).ok()?,
            count: per_group as u32,
        });
    }
    seals.inodes.sort_unstable_by_key(|part| part.offset);
    Some(())
}

/// Keeps the parts of the tables whose checksums the decoder makes right.
fn prove_inodes(image: &[u8], seals: &mut Seals, free: &mut Free) {
    let size = 1_usize << seals.inode_log;
    let mut proved: Vec<Inodes> = Vec::new();
    for table in std::mem::take(&mut seals.inodes) {
        let start = table.offset as usize;
        let bytes = &image[start..start + table.count as usize * size];
        for (by, was) in (0_u32..).zip(bytes.chunks_exact(size)) {
            let one = Inodes {
                offset: table.offset + u64::from(by) * size as u64,
                first: table.first + by,
                count: 1,
            };
            let mut made = was.to_vec();
            let alone = Seals {
                inodes: vec![one],
                block_log: 0,
                ..seals.clone()
            };
            let (low, high) = inode_places(was);
            let used = was[..128].iter().any(|byte| *byte != 0);
            if used {
                // The old bytes must not matter.
                made[low] ^= 0x55;
                alone.apply(&mut made, one.offset);
            }
            if made != was {
                continue;
            }
            if used {
                let halves = [Some(low), high].into_iter().flatten();
                free.places
                    .extend(halves.map(|at| (one.offset + at as u64, 2)));
            }
            match proved.last_mut() {
                Some(last)
                    if last.offset + u64::from(last.count) * size as u64 == one.offset
                        && last.first + last.count == one.first =>
                {
                    last.count += 1;
                }
                _ => proved.push(one),
            }
        }
    }
    if proved.len() <= MOST {
        seals.inodes = proved;
    } else {
        free.places.clear();
    }
}

/// Lists the directories whose checksums the decoder would make wrong.
fn prove_directories(image: &[u8], seals: &mut Seals, free: &mut Free) {
    let size = 1_usize << seals.block_log;
    let rule = Seals {
        inodes: Vec::new(),
        ..seals.clone()
    };
    let mut except = Vec::new();
    let mut places = Vec::new();
    for (block, at) in image.chunks_exact(size).zip((0_u64..).step_by(size)) {
        if !is_directory(block) {
            continue;
        }
        let mut made = block.to_vec();
        made[size - 1] ^= 0x55;
        rule.apply(&mut made, at);
        if made == block {
            places.push((at + size as u64 - 4, 4));
        } else {
            except.push(at);
        }
    }
    if except.len() <= MOST {
        seals.except = except;
        free.places.append(&mut places);
    } else {
        seals.block_log = 0;
    }
}
