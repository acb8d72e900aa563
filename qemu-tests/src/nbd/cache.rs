//! The disk's volatile write cache: what was written and not yet made durable.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Bytes in a sector. What a power cut keeps or loses is decided sector by sector.
pub(super) const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;
const SECTORS_PER_PAGE: u64 = 8;
const PAGE_BYTES: usize = 4096;

type Sector = [u8; SECTOR_BYTES];

/// Eight neighbouring sectors, some of them present.
struct Page {
    /// Bit *n* set: sector *n* of the page is in the cache.
    present: u8,
    /// `None` while every present sector is zero, so that zeroing a large range costs no memory.
    bytes: Option<Box<[u8; PAGE_BYTES]>>,
}

/// Sectors that have been written and not flushed, in ascending order.
///
/// A map of pages and not of sectors: writing 64 MiB is then 16 thousand insertions, and a guest
/// boots as fast as on a plain file.
#[derive(Default)]
pub(super) struct SectorCache {
    pages: BTreeMap<u64, Page>,
}

/// Where in its page a sector lies.
fn place(lba: u64) -> (u64, u8, usize) {
    let page = lba / SECTORS_PER_PAGE;
    let index = u8::try_from(lba % SECTORS_PER_PAGE).unwrap_or(0);
    (page, 1 << index, usize::from(index) * SECTOR_BYTES)
}

impl SectorCache {
    /// Puts one sector into the cache; `None` is a sector of zeros.
    pub(super) fn put(&mut self, lba: u64, sector: Option<&[u8]>) {
        let (number, bit, at) = place(lba);
        let page = self.pages.entry(number).or_insert(Page {
            present: 0,
            bytes: None,
        });
        page.present |= bit;
        if sector.is_none() && page.bytes.is_none() {
            return;
        }
        let bytes = page.bytes.get_or_insert_with(|| Box::new([0; PAGE_BYTES]));
        let Some(target) = bytes.get_mut(at..at + SECTOR_BYTES) else {
            return;
        };
        match sector {
            Some(source) => target.copy_from_slice(source),
            None => target.fill(0),
        }
    }

    /// The cached content of one sector.
    pub(super) fn get(&self, lba: u64) -> Option<Sector> {
        let (number, bit, at) = place(lba);
        let page = self.pages.get(&number)?;
        if page.present & bit == 0 {
            return None;
        }
        let Some(bytes) = &page.bytes else {
            return Some([0; SECTOR_BYTES]);
        };
        bytes.get(at..at + SECTOR_BYTES)?.try_into().ok()
    }

    /// Lays the cached sectors over `bytes`, which were read from the file at sector `lba`.
    pub(super) fn overlay(&self, lba: u64, bytes: &mut [u8]) {
        let first_page = lba / SECTORS_PER_PAGE;
        let sectors = u64::try_from(bytes.len() / SECTOR_BYTES).unwrap_or(0);
        if sectors == 0 || self.pages.range(first_page..).next().is_none() {
            return;
        }
        for (number, target) in (lba..).zip(bytes.chunks_exact_mut(SECTOR_BYTES)) {
            if let Some(sector) = self.get(number) {
                target.copy_from_slice(&sector);
            }
        }
    }

    /// Forgets one sector, because a newer content of it is durable.
    pub(super) fn forget(&mut self, lba: u64) {
        let (number, bit, _) = place(lba);
        if let Entry::Occupied(mut entry) = self.pages.entry(number) {
            entry.get_mut().present &= !bit;
            if entry.get().present == 0 {
                entry.remove();
            }
        }
    }

    /// Takes everything out, in ascending order.
    pub(super) fn take(&mut self) -> Vec<(u64, Sector)> {
        let lbas: Vec<u64> = self.lbas().collect();
        let sectors = lbas
            .into_iter()
            .filter_map(|lba| Some((lba, self.get(lba)?)))
            .collect();
        self.pages.clear();
        sectors
    }

    /// How many sectors would be lost if power went now.
    pub(super) fn len(&self) -> u64 {
        self.pages
            .values()
            .map(|page| u64::from(page.present.count_ones()))
            .sum()
    }

    fn lbas(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().flat_map(|(number, page)| {
            (0..SECTORS_PER_PAGE)
                .filter(|index| page.present & (1 << index) != 0)
                .map(move |index| number * SECTORS_PER_PAGE + index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_sector_hides_the_file_and_a_forgotten_one_does_not() {
        let mut cache = SectorCache::default();
        cache.put(9, Some(&[7; SECTOR_BYTES]));
        cache.put(10, None);
        let mut bytes = [1; 3 * SECTOR_BYTES];
        cache.overlay(8, &mut bytes);
        assert_eq!((bytes[0], bytes[512], bytes[1024]), (1, 7, 0));
        cache.forget(9);
        let mut bytes = [1; 3 * SECTOR_BYTES];
        cache.overlay(8, &mut bytes);
        assert_eq!((bytes[0], bytes[512], bytes[1024]), (1, 1, 0));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn zeros_over_data_in_the_same_page_read_as_zeros() {
        let mut cache = SectorCache::default();
        cache.put(0, None);
        cache.put(1, Some(&[5; SECTOR_BYTES]));
        cache.put(2, Some(&[6; SECTOR_BYTES]));
        cache.put(2, None);
        let taken: Vec<_> = cache
            .take()
            .into_iter()
            .map(|(lba, bytes)| (lba, bytes[0]))
            .collect();
        assert_eq!(taken, [(0, 0), (1, 5), (2, 0)]);
        assert_eq!(cache.len(), 0);
    }
}
