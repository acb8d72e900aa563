//! A disk with a volatile write cache over a backing file, and what is left of it after a cut.

use super::cache::{SECTOR, SectorCache};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What becomes of the writes that were not yet durable when the power goes.
///
/// Every one of these is allowed to a real disk; a program that flushes where it must survives all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survive {
    /// The cache is lost, and so is the request that was under way.
    Nothing,
    /// The disk got everything out in time, the request that was under way included.
    Everything,
    /// Each sector on its own, by coin. The same seed and the same cache give the same result.
    Random {
        /// Start of the pseudo-random sequence.
        seed: u64,
    },
    /// The newest write got as far as its first `sectors` sectors; all other cached ones are lost.
    TornLast {
        /// How many sectors of that write reached the medium.
        sectors: u64,
    },
}

/// What a power cut did to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutReport {
    /// Sectors that were not durable when the power went.
    pub unflushed: u64,
    /// How many of them are on the medium nevertheless.
    pub kept: u64,
}

/// A run of sectors of one write request.
#[derive(Debug, Clone, Copy)]
struct Run {
    lba: u64,
    sectors: u64,
}

/// The backing file (what is durable) and the cache in front of it.
pub(super) struct Disk {
    file: File,
    bytes: u64,
    cache: SectorCache,
    /// The newest write whose sectors are still in the cache.
    newest: Option<Run>,
}

impl Disk {
    pub(super) fn new(file: File, bytes: u64) -> Self {
        Self {
            file,
            bytes,
            cache: SectorCache::default(),
            newest: None,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn unflushed(&self) -> u64 {
        self.cache.len()
    }

    /// Whether a request of this place and size lies on the disk and on sector boundaries.
    pub(super) fn holds(&self, offset: u64, length: u64) -> bool {
        offset.is_multiple_of(SECTOR)
            && length.is_multiple_of(SECTOR)
            && offset
                .checked_add(length)
                .is_some_and(|end| end <= self.bytes)
    }

    /// Reads what the host of this disk would see: the cache over the file.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)?;
        self.cache.overlay(offset / SECTOR, into);
        Ok(())
    }

    /// Takes a write into the cache. `None` writes zeros.
    pub(super) fn write(&mut self, offset: u64, length: u64, bytes: Option<&[u8]>) {
        let (lba, sectors) = (offset / SECTOR, length / SECTOR);
        match bytes {
            Some(bytes) => self.cache.put_run(lba, bytes),
            None => (lba..lba + sectors).for_each(|number| self.cache.put(number, None)),
        }
        self.newest = Some(Run { lba, sectors });
    }

    /// Makes one range durable and nothing else: forced unit access.
    ///
    /// Earlier writes stay in the cache. Real disks may flush more; a program must not count on it.
    pub(super) fn force(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let (lba, sectors) = (offset / SECTOR, length / SECTOR);
        let run: Vec<_> = (lba..lba + sectors)
            .filter_map(|n| Some((n, self.cache.get(n)?)))
            .collect();
        self.store(&run)?;
        (lba..lba + sectors).for_each(|number| self.cache.forget(number));
        self.newest = None;
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let all = self.cache.take();
        self.newest = None;
        self.store(&all)
    }

    /// The power goes: what survives is written to the file, the rest is gone.
    pub(super) fn lose_power(&mut self, survive: Survive) -> io::Result<CutReport> {
        let newest = self.newest.take();
        let mut sectors = self.cache.take();
        let unflushed = count(&sectors);
        match survive {
            Survive::Nothing => sectors.clear(),
            Survive::Everything => {}
            Survive::Random { seed } => {
                let mut coin = Coin(seed);
                sectors.retain(|_| coin.toss());
            }
            Survive::TornLast { sectors: first } => {
                let kept = newest.map_or(0..0, |run| run.lba..run.lba + first.min(run.sectors));
                sectors.retain(|(lba, _)| kept.contains(lba));
            }
        }
        self.store(&sectors)?;
        Ok(CutReport {
            unflushed,
            kept: count(&sectors),
        })
    }

    /// Writes ascending sectors to the file, neighbours in one call.
    fn store(&self, sectors: &[(u64, [u8; 512])]) -> io::Result<()> {
        for run in sectors.chunk_by(|(left, _), (right, _)| left + 1 == *right) {
            let Some((lba, _)) = run.first() else {
                continue;
            };
            let mut bytes = Vec::with_capacity(run.len() * 512);
            run.iter()
                .for_each(|(_, sector)| bytes.extend_from_slice(sector));
            self.file.write_all_at(&bytes, lba * SECTOR)?;
        }
        Ok(())
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// A reproducible coin: the SplitMix64 sequence, one bit of each value.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 63) == 1
    }
}
