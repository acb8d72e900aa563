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

impl Page {
    /// The content of a sector of this page, if it is present.
    fn sector(&self, index: u64) -> Option<Sector> {
        if self.present & (1 << index) == 0 {
            return None;
        }
        let Some(bytes) = &self.bytes else {
            return Some([0; SECTOR_BYTES]);
        };
        let at = usize::try_from(index).ok()? * SECTOR_BYTES;
        bytes.get(at..at + SECTOR_BYTES)?.try_into().ok()
    }
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
        self.pages
            .get(&(lba / SECTORS_PER_PAGE))?
            .sector(lba % SECTORS_PER_PAGE)
    }

    /// Puts a run of sectors into the cache; whole pages go in as such.
    pub(super) fn put_run(&mut self, lba: u64, bytes: &[u8]) {
        let mut lba = lba;
        let mut rest = bytes;
        while !rest.is_empty() {
            let whole: Option<&[u8; PAGE_BYTES]> = rest.first_chunk();
            if let Some(page) = whole.filter(|_| lba.is_multiple_of(SECTORS_PER_PAGE)) {
                let page = Page {
                    present: u8::MAX,
                    bytes: Some(Box::new(*page)),
                };
                self.pages.insert(lba / SECTORS_PER_PAGE, page);
                lba += SECTORS_PER_PAGE;
                rest = rest.get(PAGE_BYTES..).unwrap_or_default();
            } else {
                self.put(lba, rest.get(..SECTOR_BYTES));
                lba += 1;
                rest = rest.get(SECTOR_BYTES..).unwrap_or_default();
            }
        }
    }

    /// Lays the cached sectors over `bytes`, which were read from the file at sector `lba`.
    pub(super) fn overlay(&self, lba: u64, bytes: &mut [u8]) {
        let sectors = u64::try_from(bytes.len() / SECTOR_BYTES).unwrap_or(0);
        let pages = lba / SECTORS_PER_PAGE..(lba + sectors).div_ceil(SECTORS_PER_PAGE);
        if self.pages.range(pages).next().is_none() {
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
        let mut sectors = Vec::new();
        for (number, page) in std::mem::take(&mut self.pages) {
            for index in 0..SECTORS_PER_PAGE {
                sectors.extend(
                    page.sector(index)
                        .map(|s| (number * SECTORS_PER_PAGE + index, s)),
                );
            }
        }
        sectors
    }

    /// How many sectors would be lost if power went now.
    pub(super) fn len(&self) -> u64 {
        self.pages
            .values()
            .map(|page| u64::from(page.present.count_ones()))
            .sum()
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
    fn a_run_that_covers_whole_pages_and_parts_reads_back_as_written() {
        let mut cache = SectorCache::default();
        cache.put(7, None);
        let bytes: Vec<u8> = (3..23).flat_map(|lba| [lba; SECTOR_BYTES]).collect();
        cache.put_run(3, &bytes);
        assert_eq!(cache.len(), 20);
        let mut read = vec![0; bytes.len()];
        cache.overlay(3, &mut read);
        assert_eq!(read, bytes);
        let taken = cache.take();
        assert!(
            taken
                .iter()
                .all(|(lba, sector)| *lba == u64::from(sector[0]))
        );
        assert_eq!(taken.len(), 20);
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
